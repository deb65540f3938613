"""ONNX models on any machine through onnxruntime."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InferenceError, ModelError, RuntimeMissingError
from ..model_input import NCHW, NHWC, InputFormat
from ..tensors import TensorSpec
from .base import first_outputs

if TYPE_CHECKING:
    from ..config import WorkConfig

_DTYPES = {'tensor(float)': np.float32, 'tensor(float16)': np.float16, 'tensor(uint8)': np.uint8}


class OnnxRuntime:
    """An ONNX model; sessions are thread-safe and run without the interpreter lock."""

    name = 'onnxruntime'
    files = '.onnx'
    releases_gil = True

    def __init__(self, config: 'WorkConfig', model_path: Path) -> None:
        """Open the model and run it once.

        :raises RuntimeMissingError: onnxruntime is not installed.
        :raises ModelError: the model cannot be loaded, its input is no picture, or none of
            ``providers`` is active.
        """
        self._session: Optional[Any] = _open_session(self.find_sdk(), config, model_path)
        self.effective = f'onnxruntime {_active_provider(self._session, config)}'
        self.input_format = _input_format(self._session, config)
        self._input_name = self._session.get_inputs()[0].name
        self._output_names = [output.name for output in self._session.get_outputs()]
        # The first run also shows the shapes of dynamic models.
        self.outputs = tuple(TensorSpec(name, array.shape, array.dtype)
                             for name, array in zip(self._output_names, first_outputs(self)))

    @staticmethod
    def takes(path: Path) -> bool:
        """See ``Runtime``."""
        return path.suffix.lower() == '.onnx'

    @staticmethod
    def find_sdk() -> Any:
        """See ``Runtime``."""
        # From version 1.29 on it would send Microsoft the names and hashes of models.
        os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
        try:
            import onnxruntime
        except (ImportError, OSError) as error:
            raise RuntimeMissingError(f'onnxruntime cannot be imported ({error}); `pip install '
                                      'onnxruntime`, or choose another "runtime".') from None
        return onnxruntime

    def infer(self, arrays: Sequence[np.ndarray]) -> List[np.ndarray]:
        """See ``Runtime``."""
        session = self._session
        if session is None:
            raise InferenceError('onnxruntime: the model is closed.')
        try:
            return session.run(self._output_names, {self._input_name: arrays[0]})
        # onnxruntime raises classes of its own that derive from Exception or RuntimeError.
        except Exception as error:
            raise InferenceError(f'onnxruntime failed on a frame: {error}') from error

    def close(self) -> None:
        """See ``Runtime``."""
        self._session = None


def _open_session(onnxruntime: Any, config: 'WorkConfig', model_path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.intra_op_threads
    # Waiting threads that spin take the cores that the rest of a robot needs.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    available = onnxruntime.get_available_providers()
    wanted = [name for name in config.providers if name in available]
    if not wanted:
        raise ModelError(f'None of the "providers" {list(config.providers)} is in this build of '
                         f'onnxruntime, which has {available}.')
    try:
        return onnxruntime.InferenceSession(str(model_path), options, providers=wanted)
    except Exception as error:
        raise ModelError(f'onnxruntime cannot load the model: {error} ({model_path})') from error


def _active_provider(session: Any, config: 'WorkConfig') -> str:
    """The provider that runs the model; CPU is a fallback only if the config names it."""
    active = session.get_providers()[0]
    if active not in config.providers:
        raise ModelError(f'onnxruntime fell back to {active}, but "providers" allows only '
                         f'{list(config.providers)}; add {active}, or mend the installation.')
    return active


def _input_format(session: Any, config: 'WorkConfig') -> InputFormat:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 4:
        found = ', '.join(f'{i.name} {i.shape} {i.type}' for i in inputs)
        raise ModelError('The model must have one float32, float16 or uint8 input of four '
                         f'dimensions, but has: {found}.')
    shape = [size if isinstance(size, int) else None for size in inputs[0].shape]
    kind = NHWC if shape[3] == 3 and shape[1] != 3 else NCHW
    if shape[1 if kind == NCHW else 3] not in (3, None):
        raise ModelError(f'The model input has shape {inputs[0].shape}, but a picture has 3 '
                         'channels.')
    height, width = shape[2:] if kind == NCHW else shape[1:3]
    return InputFormat(
        kind, _size_wh(width, height, config), np.dtype(_DTYPES[inputs[0].type]),
        config.input_color == 'rgb', config.input_mean, config.input_scale,
        config.resize_mode, config.pad_value)


def _size_wh(width: Optional[int], height: Optional[int],
             config: 'WorkConfig') -> Tuple[int, int]:
    size = config.input_size or (width, height)
    if None in size or any(m not in (s, None) for m, s in zip((width, height), size)):
        raise ModelError(
            f'The model input is {width or "any"}x{height or "any"} and "input_size" is '
            f'{config.input_size}; set "input_size" [width, height] for a dynamic model, and leave '
            'it out for a fixed one.')
    return size
