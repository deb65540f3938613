"""Frame -> Detections: the only way through, for the node and for every tool."""

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple, TypeVar

import numpy as np

from .config import WorkConfig
from .decoders import DecodeSettings, Decoder, make_decoder
from .decoders.base import Boxes
from .detections import Detections, Masks
from .errors import ModelError
from .frame import Frame
from .letterbox import Letterbox, SizeWH
from .masks import instance_masks
from .model_input import Preprocessor
from .nms import nms
from .runtimes import Runtime, open_runtime
from .scales import unscaled_integers, with_scales
from .tensors import TensorSpec

NO_MASKS = 'none'
SOURCE_MASKS = 'source'
PROTO_MASKS = 'proto'
STAGES = ('preprocess', 'infer', 'decode', 'masks')

T = TypeVar('T')


@dataclass
class StageTimes:
    """Nanoseconds that each stage of one frame took, by the names in ``STAGES``."""

    ns: Dict[str, int] = field(default_factory=dict)

    def run(self, stage: str, function: Callable[..., T], *args: Any) -> T:
        """Call a function and note how long it took."""
        start = time.perf_counter_ns()
        try:
            return function(*args)
        finally:
            self.ns[stage] = time.perf_counter_ns() - start


@dataclass(frozen=True)
class Result:
    """What one frame gave."""

    detections: Detections
    times: StageTimes


class Facts(NamedTuple):
    """What is known of an opened model.

    :ivar model_path: the file; on a machine that needs it, that of the fallback model.
    :ivar effective: what really runs, see ``Runtime``.
    :ivar model_wh: width and height of the model input in pixels.
    """

    model_path: Path
    effective: str
    model_wh: SizeWH
    has_masks: bool


class Pipeline:
    """One opened model with its decoder; ``process`` may be called from several threads."""

    def __init__(self, config: WorkConfig, runtime: Runtime) -> None:
        """Bind the decoder to the model.

        :raises ModelError: the model does not fit the work config.
        """
        self.config = config
        self.settings: DecodeSettings = config.decode_settings()
        self._local = threading.local()
        self._bind(runtime)

    def _bind(self, runtime: Runtime) -> None:
        self.outputs: Tuple[TensorSpec, ...] = _scaled_outputs(self.config, runtime)
        self.decoder: Decoder = make_decoder(
            self.outputs, runtime.input_format.size_wh, self.config)
        self.runtime = runtime

    @classmethod
    def open(cls, config: WorkConfig) -> 'Pipeline':
        """Open the model that the work config names.

        :raises ConfigError: a file is missing.
        :raises ModelError: the model cannot be opened or does not fit.
        """
        runtime = open_runtime(config)
        try:
            return cls(config, runtime)
        except Exception:
            runtime.close()
            raise

    @property
    def facts(self) -> Facts:
        """What runs here, for the log and diagnostics."""
        runtime = self.runtime
        return Facts(runtime.path, runtime.effective, runtime.input_format.size_wh,
                     self.decoder.has_masks)

    def reopen(self) -> None:
        """Close the model and open it again; frames that are under way may raise InferenceError.

        :raises ConfigError: the model file is gone.
        :raises ModelError: the model cannot be opened or does not fit any more.
        """
        self.runtime.close()
        runtime = open_runtime(self.config)
        try:
            self._bind(runtime)
        except Exception:
            runtime.close()
            raise

    def close(self) -> None:
        """Let go of the model."""
        self.runtime.close()

    def update(self, **limits: object) -> None:
        """Change fields of ``settings``; frames that are under way keep the old ones."""
        self.settings = replace(self.settings, **limits)

    def process(self, frame: Frame, masks: str = SOURCE_MASKS) -> Result:
        """Detections of one frame.

        :param masks: ``none``, ``source`` for masks at the picture's resolution, or ``proto`` for
            the resolution of the prototypes.
        :raises InferenceError: the runtime failed on this frame.
        """
        settings, times = self.settings, StageTimes()
        arrays, letterbox = times.run('preprocess', self._preprocessor().prepare, frame)
        outputs = times.run('infer', self.runtime.infer, arrays)
        return self.decode(outputs, letterbox, masks, settings, times)

    def decode(self, outputs: Sequence[np.ndarray], letterbox: Letterbox, masks: str,
               settings: DecodeSettings, times: StageTimes) -> Result:
        """Detections from the raw outputs of the model; see ``process``."""
        boxes, xyxy_image = times.run('decode', self._boxes, outputs, letterbox, settings)
        drawn = None
        if masks != NO_MASKS and self.decoder.has_masks:
            drawn = times.run('masks', self._masks, outputs, boxes, xyxy_image, letterbox, masks)
        detections = Detections(letterbox.image_wh, xyxy_image.astype(np.float32), boxes.score,
                                boxes.class_id, drawn)
        return Result(detections, times)

    def _preprocessor(self) -> Preprocessor:
        """The buffers of this thread."""
        input_format = self.runtime.input_format
        preprocessor = getattr(self._local, 'preprocessor', None)
        if preprocessor is None or preprocessor.format is not input_format:
            preprocessor = self._local.preprocessor = Preprocessor(input_format)
        return preprocessor

    def _boxes(self, outputs: Sequence[np.ndarray], letterbox: Letterbox,
               settings: DecodeSettings) -> Tuple[Boxes, np.ndarray]:
        """Kept boxes by falling score, and their (n, 4) float64 place inside the picture."""
        boxes = self.decoder.decode(outputs, settings)
        boxes = boxes.take(_kept(boxes, self.decoder.suppressed, settings))
        xyxy_image = letterbox.clip_to_image(letterbox.image_from_model(boxes.xyxy_model))
        # Boxes that lie in the padding alone have no area in the picture; they go before the cut.
        inside = (xyxy_image[:, 2:] > xyxy_image[:, :2]).all(axis=1)
        index = np.flatnonzero(inside)[:settings.max_detections]
        return boxes.take(index), xyxy_image[index]

    def _masks(self, outputs: Sequence[np.ndarray], boxes: Boxes, xyxy_image: np.ndarray,
               letterbox: Letterbox, masks: str) -> Masks:
        basis = self.decoder.mask_basis(outputs, boxes)
        return instance_masks(basis, xyxy_image, letterbox, masks == SOURCE_MASKS)


def _kept(boxes: Boxes, suppressed: bool, settings: DecodeSettings) -> np.ndarray:
    if suppressed:
        return np.argsort(-boxes.score, kind='stable')
    return nms(boxes.xyxy_model, boxes.score, boxes.class_id, settings.nms_threshold,
               settings.class_agnostic_nms)


def _scaled_outputs(config: WorkConfig, runtime: Runtime) -> Tuple[TensorSpec, ...]:
    outputs = runtime.outputs
    # The same work config may also serve a runtime that reports its scales, or a float model.
    if config.scales_file and unscaled_integers(outputs):
        outputs = with_scales(outputs, config.find(config.scales_file))
    strange = [str(spec) for spec in outputs if np.dtype(spec.dtype).kind not in 'iuf']
    if strange:
        raise ModelError(f'The model has output(s) that are no numbers: {", ".join(strange)}.')
    missing: List[TensorSpec] = unscaled_integers(outputs)
    if missing:
        names = ', '.join(str(spec) for spec in missing)
        raise ModelError(f'The model has integer output(s) without scales: {names}. Set '
                         '"scales_file" to their sidecar, or to the text that '
                         '`hrt_model_exec model_info` prints.')
    return outputs
