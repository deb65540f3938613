"""See fake_pyeasy_dnn.py."""
from fake_pyeasy_dnn import Model, TensorProperties, load, pyDNNTensor

__all__ = ['Model', 'TensorProperties', 'load', 'pyDNNTensor']
