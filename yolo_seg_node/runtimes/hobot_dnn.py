"""RDK X3, Ultra and X5 through pyeasy_dnn, the binding that holds the interpreter lock.

One ``forward`` blocks every Python thread of the process for the whole inference, and a model has a
single input and a single output memory. So ``releases_gil`` is False and workers are processes; a
lock per model keeps threads that share one from mixing their pictures.
"""

import importlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InferenceError, ModelError, RuntimeMissingError
from ..model_input import NV12, InputFormat
from ..tensors import TensorSpec, make_quantization
from .base import check_outputs

if TYPE_CHECKING:
    from ..config import WorkConfig

MODULES = ('hobot_dnn.pyeasy_dnn', 'hobot_dnn_rdkx5.pyeasy_dnn')
# Depending on the version a failure raises one of these or gives None.
SDK_ERRORS = (RuntimeError, TypeError, ValueError, SystemError)
# The binding hands out every other type as int8, whatever it is.
DTYPES = ('int8', 'int16', 'int32', 'float32')
# Other image types have no path through the binding that leaves the pixels intact.
IMAGE_TYPES = ('NV12', 'NV12_SEPARATE')


class HobotDnnRuntime:
    """The first model of a ``.bin`` file on the BPU, fed with one packed NV12 picture.

    ``estimate_latency`` of the binding is a constant, and ``alignedShape`` and ``validShape`` leak
    memory at each access on X5: none of them is used.
    """

    name = 'hobot_dnn'
    files = '.bin'
    releases_gil = False

    def __init__(self, config: 'WorkConfig', model_path: Path) -> None:
        """Open the model and run it once.

        :raises RuntimeMissingError: the binding is not installed.
        :raises ModelError: the model cannot be loaded, its input is no NV12 picture, or its outputs
            are of a kind that the binding cannot hand out.
        """
        sdk = self.find_sdk()
        self._lock = threading.Lock()
        self._model: Optional[Any] = _load(sdk, config, model_path)
        # Each access to these lists makes new wrapper objects, so they are read once.
        inputs, outputs = list(self._model.inputs), list(self._model.outputs)
        self.effective = f'hobot_dnn BPU ({sdk.__name__}, model {self._model.name})'
        self.input_format = InputFormat(NV12, _size_wh(inputs), mode=config.resize_mode,
                                        pad_value=config.pad_value)
        self.outputs = tuple(map(_spec, outputs))
        self._options = _options(config)
        check_outputs(self)

    @staticmethod
    def takes(path: Path) -> bool:
        """See ``Runtime``."""
        return path.suffix.lower() == '.bin'

    @staticmethod
    def find_sdk() -> Any:
        """See ``Runtime``."""
        reasons = []
        for module in MODULES:
            try:
                return importlib.import_module(module)
            except (ImportError, OSError, RuntimeError) as error:
                reasons.append(str(error))
        raise RuntimeMissingError(f'the binding of RDK X3, Ultra and X5 cannot be imported '
                                  f'({"; ".join(reasons)})')

    def infer(self, arrays: Sequence[np.ndarray]) -> List[np.ndarray]:
        """See ``Runtime``. ``arrays`` is one flat NV12 picture."""
        picture = self._checked(arrays[0])
        with self._lock:
            if self._model is None:
                raise InferenceError('hobot_dnn: the model is closed.')
            try:
                tensors = self._model.forward(picture, *self._options)
                # Each access to ``buffer`` copies the whole tensor, so there is one per frame.
                outputs = None if tensors is None else [_owned(t.buffer) for t in tensors]
            except SDK_ERRORS as error:
                raise InferenceError(f'hobot_dnn failed on a frame: {_reason(error)}') from error
        return self._complete(outputs)

    def close(self) -> None:
        """See ``Runtime``."""
        with self._lock:
            self._model = None

    def _checked(self, picture: np.ndarray) -> np.ndarray:
        """The binding copies from the bare pointer and checks nothing, so it is done here."""
        width, height = self.input_format.size_wh
        needed = width * height * 3 // 2
        if (picture.dtype != np.uint8 or picture.shape != (needed,)
                or not picture.flags.c_contiguous):
            raise InferenceError(f'hobot_dnn needs one flat contiguous uint8 array of {needed} '
                                 f'bytes, not {picture.dtype} {picture.shape}.')
        return picture

    def _complete(self, outputs: Optional[List[np.ndarray]]) -> List[np.ndarray]:
        if outputs is None or len(outputs) != len(self.outputs):
            found = 'nothing' if outputs is None else f'{len(outputs)} output(s)'
            raise InferenceError(f'hobot_dnn failed on a frame: it gave {found} in place of '
                                 f'{len(self.outputs)} outputs; its own log says why.')
        return outputs


def _load(sdk: Any, config: 'WorkConfig', model_path: Path) -> Any:
    try:
        models = sdk.load(str(model_path))
    except SDK_ERRORS as error:
        raise ModelError('hobot_dnn cannot load the model; it may be truncated or made for another '
                         f'board: {_reason(error)} ({model_path})') from error
    if not models:
        raise ModelError(f'hobot_dnn loads no model and does not say why ({model_path})')
    if config.model_name not in ('', models[0].name):
        raise ModelError(f'"model_name" is {config.model_name!r}, but hobot_dnn opens only the '
                         f'first model of a file, which is {models[0].name!r} ({model_path})')
    return models[0]


def _reason(error: BaseException) -> str:
    """The binding's own words; a SystemError only wraps the error that has them."""
    return str(error.__cause__ or error)


def _size_wh(inputs: List[Any]) -> Tuple[int, int]:
    found = ', '.join(f'{i.name} {tuple(i.properties.shape)} {i.properties.tensor_type}'
                      for i in inputs)
    shape = tuple(inputs[0].properties.shape) if inputs else ()
    if (len(inputs) != 1 or inputs[0].properties.tensor_type not in IMAGE_TYPES
            or len(shape) != 4 or 3 not in (shape[1], shape[3])):
        raise ModelError('hobot_dnn takes models with one NV12 input (1, 3, h, w) or (1, h, w, 3), '
                         f'but this one has: {found}; compile it with input_type_rt nv12.')
    height, width = shape[2:] if shape[1] == 3 else shape[1:3]
    if height % 2 or width % 16:
        raise ModelError(f'The NV12 input is {width}x{height}, but its height must be even and its '
                         'width a multiple of 16; compile the model for another size.')
    return width, height


def _spec(tensor: Any) -> TensorSpec:
    properties = tensor.properties
    if properties.dtype not in DTYPES:
        raise ModelError(f'Output {tensor.name!r} is of type {properties.dtype}, which hobot_dnn '
                         f'cannot hand out; it can {", ".join(DTYPES)}. Compile the model without '
                         'quantised output of that type.')
    spec = TensorSpec(tensor.name, tuple(properties.shape), np.dtype(properties.dtype))
    scale = np.array(properties.scale_data, np.float32)
    # The binding does not say whether an output is quantised: an integer one with scales is.
    if spec.dtype.kind != 'i' or scale.size == 0:
        return spec
    return TensorSpec(spec.name, spec.shape, spec.dtype, make_quantization(spec, scale))


def _options(config: 'WorkConfig') -> Tuple[int, ...]:
    """Arguments of ``forward`` after the picture: core (0 any, 1 first, 2 second) and priority."""
    if any(core > 1 for core in config.bpu_cores):
        raise ModelError(f'"bpu_cores" is {list(config.bpu_cores)}, but hobot_dnn knows cores 0 '
                         'and 1.')
    core = config.bpu_cores[0] + 1 if len(config.bpu_cores) == 1 else 0
    return (core, config.priority) if core or config.priority else ()


def _owned(array: np.ndarray) -> np.ndarray:
    """Old versions may give a view of the model's memory, which the next inference overwrites."""
    return array if array.flags.owndata else array.copy()
