"""Small ONNX models for tests, written byte by byte as onnx.proto defines them, without ``onnx``.

A message is its fields one after the other; a field is its number and wire type, then a number
(wire type 0) or a length and that many bytes (wire type 2).
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

# TensorProto.DataType
TYPES = {'float32': 1, 'uint8': 2, 'int16': 5, 'int32': 6, 'int64': 7, 'float16': 10}


def varint(number: int) -> bytes:
    out = b''
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def value_info(name: str, dtype: str, shape) -> bytes:
    """ValueInfoProto; a size is a number, or a text for a dynamic one."""
    dims = b''.join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, TYPES[dtype]) + field(2, dims)))


def tensor(name: str, array: np.ndarray) -> bytes:
    """TensorProto."""
    dims = b''.join(field(1, size) for size in array.shape)
    return (dims + field(2, TYPES[array.dtype.name]) + field(8, name) + field(9, array.tobytes()))


def ints(name: str, values) -> bytes:
    """AttributeProto of integers."""
    return field(1, name) + b''.join(field(8, value) for value in values) + field(20, 7)


def int_of(name: str, value: int) -> bytes:
    """AttributeProto of one integer."""
    return field(1, name) + field(3, value) + field(20, 2)


def node(kind: str, inputs, outputs, *attributes: bytes) -> bytes:
    """NodeProto."""
    return (b''.join(field(1, name) for name in inputs) + b''.join(field(2, n) for n in outputs)
            + field(4, kind) + b''.join(field(5, attribute) for attribute in attributes))


def write_model(path: Path, nodes, inputs, outputs, constants=None) -> Path:
    """ModelProto of opset 13.

    :param inputs: (name, dtype, shape) of each; likewise ``outputs``.
    :param constants: name -> array.
    """
    graph = (b''.join(field(1, one) for one in nodes) + field(2, 'test')
             + b''.join(field(5, tensor(*item)) for item in (constants or {}).items())
             + b''.join(field(11, value_info(*one)) for one in inputs)
             + b''.join(field(12, value_info(*one)) for one in outputs))
    path.write_bytes(field(1, 7) + field(7, graph) + field(8, field(2, 13)))
    return path


def write_bright_finder(path: Path, size_wh, dynamic: bool = False) -> Path:
    """A YOLO26-style detector of one class and stride 8 that finds bright cells.

    Logit of a cell: 40 * (mean of its pixels in 0..1 - 0.5). Box of a cell: the cell itself.
    """
    mean = np.full((1, 3, 8, 8), 40 / 192, np.float32)
    constants = {'mean': mean, 'offset': np.float32([-20]),
                 'none': np.zeros((4, 3, 8, 8), np.float32), 'half': np.full(4, 0.5, np.float32)}
    stride, kernel = ints('strides', [8, 8]), ints('kernel_shape', [8, 8])
    width, height = ('w', 'h') if dynamic else size_wh
    grid = ('gh', 'gw') if dynamic else (height // 8, width // 8)
    return write_model(
        path, [node('Conv', ['images', 'mean', 'offset'], ['cls'], stride, kernel),
               node('Conv', ['images', 'none', 'half'], ['box'], stride, kernel)],
        [('images', 'float32', (1, 3, height, width))],
        [('cls', 'float32', (1, 1, *grid)), ('box', 'float32', (1, 4, *grid))], constants)
