"""RDK S100, S600 and newer X5 through hbm_runtime.

The binding of the S boards lets go of the interpreter lock and allows concurrent ``run`` calls, so
there workers are threads. The one of X5 refuses a second ``run`` and does not say what it does with
the interpreter lock, so there a lock serialises the calls and workers are processes.
"""

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InferenceError, ModelError, RuntimeMissingError
from ..model_input import NV12, Y_UV, InputFormat
from ..tensors import TensorSpec, make_quantization
from .base import check_outputs

if TYPE_CHECKING:
    from ..config import WorkConfig

SDK_ERRORS = (RuntimeError, TypeError, ValueError, SystemError)
IMAGE_TYPES = ('NV12', 'NV12_SEPARATE')
DTYPES = {'S8': np.int8, 'U8': np.uint8, 'S16': np.int16, 'U16': np.uint16, 'S32': np.int32,
          'U32': np.uint32, 'S64': np.int64, 'U64': np.uint64, 'F16': np.float16,
          'F32': np.float32, 'F64': np.float64}
SCALE = 1


class HbmRuntime:
    """One model of a ``.hbm`` or ``.bin`` file on the BPU, fed with NV12 in one or two arrays."""

    name = 'hbm_runtime'
    files = '.hbm, .bin'
    releases_gil = True  # of an instance: only with the binding that documents it

    def __init__(self, config: 'WorkConfig', model_path: Path) -> None:
        """Open the model and run it once.

        :raises RuntimeMissingError: the binding is not installed.
        :raises ModelError: the model cannot be loaded, is not in the file, or its inputs are no
            NV12 picture.
        """
        sdk = self.find_sdk()
        self._runtime: Optional[Any] = _load(sdk, model_path)
        self.model_name = _model_name(self._runtime, config)
        self._input_names = list(self._runtime.input_names[self.model_name])
        self._output_names = list(self._runtime.output_names[self.model_name])
        self.input_format = _input_format(self._runtime, self.model_name, config)
        self.outputs = tuple(_spec(self._runtime, self.model_name, name)
                             for name in self._output_names)
        # Only the manual that allows concurrent run() calls also documents this attribute.
        self.releases_gil = hasattr(self._runtime, 'compile_bpu_core_num')
        self._turn: ContextManager = (contextlib.nullcontext() if self.releases_gil
                                      else threading.Lock())
        self.effective = f'hbm_runtime BPU (model {self.model_name})'
        _schedule(self._runtime, self.model_name, config)
        check_outputs(self)

    @staticmethod
    def takes(path: Path) -> bool:
        """See ``Runtime``."""
        return path.suffix.lower() in ('.hbm', '.bin')

    @staticmethod
    def find_sdk() -> Any:
        """See ``Runtime``."""
        try:
            import hbm_runtime
        # It raises RuntimeError where the libraries of the board are missing.
        except (ImportError, OSError, RuntimeError) as error:
            raise RuntimeMissingError(f'the binding of RDK S100, S600 and X5 cannot be imported '
                                      f'({error})') from None
        return hbm_runtime

    def infer(self, arrays: Sequence[np.ndarray]) -> List[np.ndarray]:
        """See ``Runtime``. ``arrays`` has one array per input of the model."""
        inputs = dict(zip(self._input_names, arrays))
        with self._turn:
            runtime = self._runtime
            if runtime is None:
                raise InferenceError('hbm_runtime: the model is closed.')
            try:
                outputs = runtime.run(inputs, model_name=self.model_name)[self.model_name]
                # Outputs are views of device memory, with gaps between rows or channels.
                return [np.array(outputs[name], order='C') for name in self._output_names]
            except (*SDK_ERRORS, KeyError) as error:
                raise InferenceError(f'hbm_runtime failed on a frame: {error!r}') from error

    def close(self) -> None:
        """See ``Runtime``."""
        with self._turn:
            self._runtime = None


def _load(sdk: Any, model_path: Path) -> Any:
    try:
        runtime = sdk.HB_HBMRuntime(str(model_path))
    except SDK_ERRORS as error:
        raise ModelError('hbm_runtime cannot load the model; it may be truncated or made for '
                         f'another board: {error} ({model_path})') from error
    if not runtime.model_names:
        raise ModelError(f'hbm_runtime finds no model in the file ({model_path})')
    return runtime


def _model_name(runtime: Any, config: 'WorkConfig') -> str:
    names = list(runtime.model_names)
    if config.model_name not in ('', *names):
        raise ModelError(f'"model_name" is {config.model_name!r}, but the model file holds: '
                         f'{", ".join(names)}.')
    return config.model_name or names[0]


def _input_format(runtime: Any, model: str, config: 'WorkConfig') -> InputFormat:
    names = list(runtime.input_names[model])
    shapes = [tuple(runtime.input_shapes[model][name]) for name in names]
    types = [_enum_name(runtime.input_dtypes[model][name]) for name in names]
    size_wh = _packed_size(shapes, types) or _two_plane_size(shapes, types)
    if size_wh is None:
        found = ', '.join(map(str, zip(names, shapes, types)))
        raise ModelError(
            'hbm_runtime takes models with one NV12 input (1, 3, h, w), or with two U8 inputs '
            f'(1, h, w, 1) and (1, h/2, w/2, 2), but this one has: {found}.')
    kind = NV12 if len(names) == 1 else Y_UV
    return InputFormat(kind, size_wh, mode=config.resize_mode, pad_value=config.pad_value)


def _packed_size(shapes: List[Tuple[int, ...]], types: List[str]) -> Optional[Tuple[int, int]]:
    """Width and height of a model with one packed NV12 input."""
    if len(shapes) != 1 or types[0] not in IMAGE_TYPES or len(shapes[0]) != 4:
        return None
    _, a, b, c = shapes[0]
    height, width = (b, c) if a == 3 else (a, b)
    return (width, height) if 3 in (a, c) and not (width % 2 or height % 2) else None


def _two_plane_size(shapes: List[Tuple[int, ...]], types: List[str]) -> Optional[Tuple[int, int]]:
    """Width and height of a model with a luma and a chroma input; their names vary."""
    if types != ['U8', 'U8'] or len(shapes[0]) != 4:
        return None
    _, height, width, _ = shapes[0]
    expected = [(1, height, width, 1), (1, height // 2, width // 2, 2)]
    return (width, height) if shapes == expected and not (width % 2 or height % 2) else None


def _spec(runtime: Any, model: str, name: str) -> TensorSpec:
    type_name = _enum_name(runtime.output_dtypes[model][name])
    if type_name not in DTYPES:
        raise ModelError(f'Output {name!r} is of type {type_name}; supported are '
                         f'{", ".join(DTYPES)}.')
    spec = TensorSpec(name, tuple(runtime.output_shapes[model][name]), np.dtype(DTYPES[type_name]))
    quant = runtime.output_quants[model][name]
    if spec.dtype.kind not in 'iu' or not _is_scaled(quant):
        return spec
    quantization = make_quantization(spec, quant.scale, quant.zero_point, quant.axis)
    return TensorSpec(name, spec.shape, spec.dtype, quantization)


def _is_scaled(quant: Any) -> bool:
    """Whether ``quant_type``, an enum or in some versions a bare integer, is SCALE."""
    named = _enum_name(quant.quant_type) == 'SCALE' or quant.quant_type == SCALE
    return named and np.size(quant.scale) > 0


def _enum_name(value: Any) -> str:
    return str(getattr(value, 'name', value))


def _schedule(runtime: Any, model: str, config: 'WorkConfig') -> None:
    """Hand over what the work config sets; a binding of an old version may lack the call."""
    wanted: Dict[str, Dict[str, Any]] = {}
    if config.priority:
        wanted['priority'] = {model: config.priority}
    if config.bpu_cores:
        wanted['bpu_cores'] = {model: list(config.bpu_cores)}
    if not wanted:
        return
    try:
        runtime.set_scheduling_params(**wanted)
    except (*SDK_ERRORS, AttributeError) as error:
        raise ModelError(f'hbm_runtime refuses {wanted}: {error}; change "priority" or '
                         '"bpu_cores".') from error
