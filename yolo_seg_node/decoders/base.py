"""What every decoder takes and gives."""

from dataclasses import dataclass
from typing import FrozenSet, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from ..heads import NCHW
from ..masks import MaskBasis
from ..tensors import Quantization


@dataclass(frozen=True)
class DecodeSettings:
    """Limits that may change from frame to frame.

    :ivar score_threshold: in [0, 1]; a detection at exactly this score stays.
    :ivar nms_threshold: IoU in [0, 1] above which the lower score is suppressed.
    :ivar max_detections: at most this many detections a picture, the best ones.
    :ivar max_candidates: at most this many cells go into suppression, the best ones.
    :ivar class_agnostic_nms: boxes of different classes suppress each other.
    :ivar classes: class ids to keep; None keeps all.
    """

    score_threshold: float = 0.25
    nms_threshold: float = 0.7
    max_detections: int = 300
    max_candidates: int = 2000
    class_agnostic_nms: bool = False
    classes: Optional[FrozenSet[int]] = None


@dataclass(frozen=True)
class Boxes:
    """Candidates in model space: parallel arrays.

    :ivar xyxy_model: (n, 4) float32, finite, in pixels of the model input.
    :ivar score: (n,) float32 in [0, 1].
    :ivar class_id: (n,) int32.
    :ivar source: (n,) int64, the decoder's own number of the cell or slot each came from.
    """

    xyxy_model: np.ndarray
    score: np.ndarray
    class_id: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: np.ndarray) -> 'Boxes':
        """The boxes at ``index`` (integers or a bool mask), in that order."""
        return Boxes(self.xyxy_model[index], self.score[index], self.class_id[index],
                     self.source[index])


class Decoder(Protocol):
    """One head family, bound to one model.

    ``suppressed`` says that the model has done its own suppression. ``has_masks`` says that
    ``mask_basis`` may be called.
    """

    suppressed: bool
    has_masks: bool

    def decode(self, outputs: Sequence[np.ndarray], settings: DecodeSettings) -> Boxes:
        """Boxes above the score threshold; non-finite values never give one."""

    def mask_basis(self, outputs: Sequence[np.ndarray], boxes: Boxes) -> MaskBasis:
        """Coefficients of ``boxes`` and the prototypes of the same picture."""

    def describe(self) -> List[Tuple[int, str]]:
        """(output index, role) of each output."""


def folded_basis(coefficients: np.ndarray, proto: np.ndarray, layout: str,
                 quantization: Optional[Quantization]) -> MaskBasis:
    """The scales of the prototypes go into the coefficients, so their many values stay as stored.

    :param coefficients: (n, k) float32 real values.
    :param proto: the stored prototypes (1, k, h, w) or (1, h, w, k), or without the batch.
    """
    proto = proto.reshape(proto.shape[-3:])
    if layout == NCHW:
        proto = proto.transpose(1, 2, 0)
    bias = np.zeros(len(coefficients), np.float32)
    if quantization is not None:
        scale, zero_point = quantization.per_channel(coefficients.shape[1])
        with np.errstate(over='ignore', invalid='ignore'):  # such masks become empty
            coefficients = coefficients * scale
            bias = -(coefficients @ zero_point.astype(np.float32))
    return MaskBasis(coefficients, bias, proto)


def join_boxes(parts: Sequence[Boxes]) -> Boxes:
    """One Boxes with all ``parts`` behind each other; empty without parts."""
    if not parts:
        return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32),
                     np.zeros(0, np.int32), np.zeros(0, np.int64))
    return Boxes(*(np.concatenate([getattr(part, name) for part in parts])
                   for name in ('xyxy_model', 'score', 'class_id', 'source')))


def best_candidates(score: np.ndarray, limit: int) -> np.ndarray:
    """Indices of the ``limit`` highest scores, in no particular order; of equal ones the first."""
    if len(score) <= limit:
        return np.arange(len(score))
    return np.argsort(-score, kind='stable')[:limit]


def usable(boxes: Boxes, classes: Optional[FrozenSet[int]]) -> Boxes:
    """Without boxes that are not finite, have no area, or are not of the wanted classes."""
    keep = np.isfinite(boxes.xyxy_model).all(axis=1) & np.isfinite(boxes.score)
    # Checked before suppression: an inside-out box of a wild model would suppress good ones.
    keep &= (boxes.xyxy_model[:, 2:] > boxes.xyxy_model[:, :2]).all(axis=1)
    if classes is not None:
        keep &= np.isin(boxes.class_id, list(classes))
    return boxes if keep.all() else boxes.take(keep)
