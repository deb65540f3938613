"""Models that suppress their own boxes, as VACC compiles them: lists instead of grids.

Three outputs, or five with masks: class id (1, n), score (1, n), box (1, n, 4) as x1 y1 x2 y2 in
pixels of the model input, then mask coefficients (1, n, k) and prototypes (1, k, h / 4, w / 4).
Class id and score may have a last axis of 1. Unused rows are filled with -1.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InferenceError
from ..heads import NCHW, NHWC, PROTO_STRIDE
from ..letterbox import SizeWH
from ..masks import MaskBasis
from ..tensors import TensorSpec, dequantize
from .base import Boxes, DecodeSettings, folded_basis, usable

NAMES = ('class id', 'score', 'box', 'mc', 'proto')


def row_count(spec: TensorSpec, channels: int) -> Optional[int]:
    """Number of rows when the output is a list of rows of so many channels, else None."""
    axes = spec.shape if channels == 1 else spec.shape[:-1]
    count = int(np.prod(axes))
    fits = len(axes) > 0 and count == max(axes) and (channels == 1 or spec.shape[-1] == channels)
    return count if fits and count else None


class Places(NamedTuple):
    """Index of each output, by the names in ``NAMES``; ``proto_layout`` is that of the last."""

    indices: Tuple[int, ...]
    proto_layout: Optional[str]


def find_places(outputs: Sequence[TensorSpec], size_wh: SizeWH, num_mask: Optional[int],
                output_order: Optional[Sequence[int]] = None) -> Optional[Places]:
    """Where the lists are, or None when the outputs are something else.

    Class id and score look the same, so the order of the compiler counts, or ``output_order``.

    :param num_mask: mask coefficients of a row, or None for a model without masks.
    """
    indices = tuple(output_order or range(len(outputs)))
    if len(indices) != len(outputs) or len(indices) != (5 if num_mask else 3):
        return None
    ordered = [outputs[i] for i in indices]
    counts = {row_count(spec, channels)
              for spec, channels in zip(ordered, (1, 1, 4, num_mask) if num_mask else (1, 1, 4))}
    layout = proto_layout(ordered[4].shape, size_wh, num_mask) if num_mask else None
    if len(counts) != 1 or None in counts or (num_mask and layout is None):
        return None
    return Places(indices, layout)


def proto_layout(shape: Tuple[int, ...], size_wh: SizeWH, num_mask: int) -> Optional[str]:
    """NHWC or NCHW of prototypes, or None when the shape is not theirs."""
    height, width = size_wh[1] // PROTO_STRIDE, size_wh[0] // PROTO_STRIDE
    # With the same length on all axes the last entry counts: the compiler writes channels first.
    layouts = {(height, width, num_mask): NHWC, (num_mask, height, width): NCHW}
    return layouts.get(tuple(shape[-3:])) if len(shape) in (3, 4) else None


def expected(num_mask: Optional[int]) -> str:
    """The shapes of this form, for messages."""
    masks = f', mc 1xNx{num_mask}, proto 1x{num_mask}x(height/4)x(width/4)' if num_mask else ''
    return f'class id 1xN, score 1xN, box 1xNx4{masks}'


class SuppressedDecoder:
    """Decoder of one model that gives finished boxes."""

    suppressed = True

    def __init__(self, outputs: Sequence[TensorSpec], places: Places, class_num: int) -> None:
        self.outputs, self.places, self.class_num = tuple(outputs), places, class_num
        self.has_masks = len(places.indices) == len(NAMES)

    def describe(self) -> List[Tuple[int, str]]:
        """(output index, role) of each output, by index."""
        layouts = ('', '', '', '', f' {self.places.proto_layout}')
        return sorted((index, name + layout) for index, name, layout
                      in zip(self.places.indices, NAMES, layouts))

    def decode(self, outputs: Sequence[np.ndarray], settings: DecodeSettings) -> Boxes:
        """Boxes above the score threshold; see ``Decoder``.

        :raises InferenceError: a class id that the work config does not have; no shape shows the
            number of classes beforehand.
        """
        class_id, score = self._rows(outputs, 0, 1)[:, 0], self._rows(outputs, 1, 1)[:, 0]
        slot = np.flatnonzero(np.isfinite(class_id) & (class_id >= 0)
                              & (score >= settings.score_threshold))
        found = np.rint(class_id[slot])
        if len(found) and found.max() >= self.class_num:
            raise InferenceError(f'The model gave class id {found.max():.0f}, but "class_num" of '
                                 f'the work config is {self.class_num}; set it to that of the '
                                 'model.')
        boxes = Boxes(self._rows(outputs, 2, 4)[slot], score[slot], found.astype(np.int32), slot)
        return usable(boxes, settings.classes)

    def _rows(self, outputs: Sequence[np.ndarray], role: int, channels: int) -> np.ndarray:
        """(n, channels) float32 real values of one list."""
        index = self.places.indices[role]
        return dequantize(outputs[index].reshape(-1, channels), self.outputs[index].quantization)

    def mask_basis(self, outputs: Sequence[np.ndarray], boxes: Boxes) -> MaskBasis:
        """Coefficients of ``boxes``, and the prototypes."""
        index, spec = self.places.indices[4], self.outputs[self.places.indices[4]]
        channels = spec.shape[-3 if self.places.proto_layout == NCHW else -1]
        coefficients = self._rows(outputs, 3, channels)[boxes.source]
        return folded_basis(coefficients, outputs[index], self.places.proto_layout,
                            spec.quantization)
