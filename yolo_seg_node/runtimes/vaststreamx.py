"""VastAI VACC cards through vaststreamx: the card takes whole pictures and resizes them itself."""

import queue
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InferenceError, ModelError, RuntimeMissingError
from ..model_input import NV12, PICTURE, InputFormat
from ..paths import vacc_files
from ..picture_input import BGR, BGR_PLANAR, RGB, RGB_PLANAR
from ..tensors import TensorSpec
from .base import check_outputs
from .vdsp_params import VdspParams, read_vdsp_params

if TYPE_CHECKING:
    from ..config import WorkConfig

IMAGE_FORMATS = {NV12: 'YUV_NV12', RGB_PLANAR: 'RGB_PLANAR', BGR_PLANAR: 'BGR_PLANAR',
                 RGB: 'RGB_INTERLEAVE', BGR: 'BGR_INTERLEAVE'}
Outputs = List[np.ndarray]


class VaststreamxRuntime:
    """A VACC model, three files that share a prefix, with the pre-processing of its JSON file."""

    name = 'vaststreamx'
    files = 'the prefix of .so, .json and .params'
    releases_gil = True

    def __init__(self, config: 'WorkConfig', model_path: Path) -> None:
        """Open the model and run it once.

        :param model_path: the prefix.
        :raises RuntimeMissingError: vaststreamx is not installed, or there is no card.
        :raises ModelError: a file is missing or broken, or the device does not exist.
        """
        self._vsx = self.find_sdk()
        params_path = _check_files(config, model_path)
        params = read_vdsp_params(params_path)
        self._device, self._thread = config.device_id, threading.local()
        self._model, graph, operator = self._open(model_path, params_path)
        size_wh = _size_wh(self._model, params)
        self.input_format = InputFormat(PICTURE, size_wh, mode=params.mode, pixels=params.pixels)
        self.outputs = tuple(
            TensorSpec(f'output_{i}', tuple(int(side) for side in shape), np.dtype(np.float32))
            for i, shape in enumerate(self._model.output_shape))
        stream = self._guarded(lambda: _build_stream(self._vsx, graph, operator))
        self._stream: Any = (
            _AsyncStream(self._vsx, stream, operator, self._on_device)
            if config.stream_mode == 'async' else _SyncStream(self._vsx, stream))
        self.effective = (f'vaststreamx VACC die {self._device}, {config.stream_mode}, '
                          f'{params.pixels} {params.mode} {params.normalisation}')
        try:
            check_outputs(self)
        except ModelError:
            self.close()
            raise

    @staticmethod
    def takes(path: Path) -> bool:
        """See ``Runtime``. A prefix has no suffix as a rule; a folder holds recordings."""
        named = path.suffix == '' and not path.is_dir()
        return named or any(file.is_file() for file in vacc_files(path))

    @staticmethod
    def find_sdk() -> Any:
        """See ``Runtime``."""
        try:
            import vaststreamx
            cards = vaststreamx.get_all_cards_count()
        except (ImportError, OSError, RuntimeError) as error:
            raise RuntimeMissingError(f'vaststreamx cannot be used ({error})') from None
        if cards < 1:
            raise RuntimeMissingError('vaststreamx finds no VACC card')
        return vaststreamx

    def infer(self, arrays: Sequence[np.ndarray]) -> Outputs:
        """See ``Runtime``. ``arrays`` is one picture in ``input_format.pixels``."""
        try:
            self._on_device()
            found = self._stream.run(self._image(arrays[0]))
            if len(found) != len(self.outputs):
                raise InferenceError(f'vaststreamx failed on a frame: it gave {len(found)} in '
                                     f'place of {len(self.outputs)} outputs.')
            # The rank is that of the SDK; the model knows the shape.
            return [array.reshape(spec.shape) for array, spec in zip(found, self.outputs)]
        except InferenceError:
            raise
        # The SDK is closed and does not say which classes it raises.
        except Exception as error:
            raise InferenceError(f'vaststreamx failed on a frame: {error!r}') from error

    def close(self) -> None:
        """See ``Runtime``."""
        self._stream.close()
        self._model = None

    def _open(self, prefix: Path, params_path: Path) -> Tuple[Any, Any, Any]:
        """The model, the graph of pre-processing and model, and the model's operator in it."""
        def load() -> Tuple[Any, Any, Any]:
            self._on_device()
            model = self._vsx.Model(str(prefix), 1)
            operator = self._vsx.ModelOperator(model)
            graph = self._vsx.Graph(self._vsx.GraphOutputType.GRAPH_OUTPUT_TYPE_NCHW_DEVICE)
            graph.add_operators(*self._vsx.Operator.load_ops_from_json_file(str(params_path)),
                                operator)
            return model, graph, operator
        return self._guarded(load)

    def _guarded(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        # See infer.
        except Exception as error:
            raise ModelError(f'vaststreamx cannot open the model; its files may be truncated or '
                             f'made for another card or SDK: {error}') from error

    def _on_device(self) -> None:
        """Bind the calling thread to the die, which the SDK wants of every thread."""
        if not getattr(self._thread, 'bound', False):
            status = self._vsx.set_device(self._device)
            if status != 0:
                raise RuntimeError(f'die {self._device} ("device_id") cannot be used, set_device '
                                   f'gave {status}')
            self._thread.bound = True

    def _image(self, picture: np.ndarray) -> Any:
        pixels = self.input_format.pixels
        if pixels == NV12:
            height, width = picture.shape[0] * 2 // 3, picture.shape[1]
        else:
            height, width = picture.shape[1:] if pixels.endswith('planar') else picture.shape[:2]
        image_format = getattr(self._vsx.ImageFormat, IMAGE_FORMATS[pixels])
        return self._vsx.create_image(picture, image_format, width, height, self._device)


def _check_files(config: 'WorkConfig', prefix: Path) -> Path:
    """The vdsp_params file, after a check that the files of the model are there."""
    missing = [path.name for path in vacc_files(prefix) if not path.is_file()]
    if missing:
        raise ModelError(f'The VACC model lacks {", ".join(missing)}; "model_file" is the prefix '
                         f'of three files ({prefix})')
    if config.vdsp_params is None:
        raise ModelError('A VACC model needs "vdsp_params", the JSON file that tells the card how '
                         'to resize and normalise the picture.')
    found = config.find(config.vdsp_params)
    if found is None:
        raise ModelError(f'"vdsp_params" is {config.vdsp_params!r}, but there is no such file.')
    return found


def _size_wh(model: Any, params: VdspParams) -> Tuple[int, int]:
    shapes = [tuple(int(side) for side in shape) for shape in model.input_shape]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][:2] != (1, 3):
        raise ModelError(f'A VACC model must have one input (1, 3, h, w), but this one has: '
                         f'{shapes}.')
    size_wh = (shapes[0][3], shapes[0][2])
    if params.size_wh not in (None, size_wh):
        raise ModelError(f'"vdsp_params" resizes to {params.size_wh}, but the model takes '
                         f'{size_wh}; mend "OimageWidth" and "OimageHeight".')
    return size_wh


def _as_arrays(vsx: Any, tensors: Sequence[Any]) -> Outputs:
    """Float32 copies: tensors are float16 on the card and their memory is used again."""
    return [np.array(vsx.as_numpy(tensor), np.float32) for tensor in tensors]


def _build_stream(vsx: Any, graph: Any, operator: Any) -> Any:
    stream = vsx.Stream(graph, vsx.StreamBalanceMode.RUN)
    stream.register_operator_output(operator)
    stream.build()
    return stream


class _SyncStream:
    """One picture at a time: the next run may overwrite the outputs, so they are copied first."""

    def __init__(self, vsx: Any, stream: Any) -> None:
        self._vsx, self._lock = vsx, threading.Lock()
        self._stream: Optional[Any] = stream

    def run(self, image: Any) -> Outputs:
        with self._lock:
            if self._stream is None:
                raise InferenceError('vaststreamx: the model is closed.')
            return _as_arrays(self._vsx, self._stream.run_sync([image])[0])

    def close(self) -> None:
        with self._lock:
            self._stream = None


class _AsyncStream:
    """Several pictures in the card's queue.

    Results come in the order of submission and without a mark, so callers queue up in the same
    order. Once a result is lost nobody can tell whose the next one is: then all callers are
    refused until the model is opened again.
    """

    def __init__(self, vsx: Any, stream: Any, operator: Any, on_device: Callable[[], None]) -> None:
        self._vsx, self._operator, self._on_device = vsx, operator, on_device
        self._stream: Optional[Any] = stream
        self._waiting: 'queue.Queue[Future]' = queue.Queue()
        self._submission, self._broken = threading.Lock(), ''
        self._collector = threading.Thread(target=self._collect, args=(stream,), daemon=True)
        self._collector.start()

    def run(self, image: Any) -> Outputs:
        result: 'Future[Outputs]' = Future()
        with self._submission:
            if self._broken:
                raise InferenceError(f'vaststreamx: {self._broken}.')
            self._stream.run_async([image])
            self._waiting.put(result)
        return result.result()

    def close(self) -> None:
        with self._submission:
            stream, self._stream = self._stream, None
            if self._broken:  # nothing can be awaited of it
                return
            self._broken = 'the model is closed'
            stream.close_input()
        self._collector.join()
        stream.wait_until_done()

    def _collect(self, stream: Any) -> None:
        """Hand each result to the caller whose turn it is, until the input is closed and empty."""
        try:
            self._on_device()
            while True:
                tensors = stream.get_operator_output(self._operator)[0]
                self._hand_over(tensors, self._waiting.get())
        # ValueError is the end of a closed stream. Anything else lost a result; see the class.
        except Exception as error:
            with self._submission:
                self._broken = self._broken or f'the stream broke: {error!r}'
            while not self._waiting.empty():
                self._waiting.get().set_exception(
                    InferenceError(f'vaststreamx failed on a frame: {error!r}'))

    def _hand_over(self, tensors: Sequence[Any], result: 'Future[Outputs]') -> None:
        try:
            result.set_result(_as_arrays(self._vsx, tensors))
        except Exception as error:  # this result is bad, but the order is not
            result.set_exception(error)
