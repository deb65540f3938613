"""Models exported with their decoding and without suppression, as Ultralytics writes them.

One list of all cells, (1, 4 + classes, n), in TROS also (1, 4 + classes, n, 1): centre x and y,
width and height in pixels of the model input, then the score of each class in 0 .. 1. Models with
masks have the mask coefficients after the scores, and the prototypes as a second output.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..heads import NCHW, NHWC
from ..letterbox import SizeWH
from ..masks import MaskBasis
from ..tensors import TensorSpec, dequantize
from .anchor_based import channels_spec
from .base import Boxes, DecodeSettings, best_candidates, folded_basis, usable
from .scores import ClassScan
from .suppressed import proto_layout

BOX = 4


class ListPlaces(NamedTuple):
    """Index of the list and of the prototypes, and how the list lies in memory.

    :ivar rows_first: a row per cell, (1, n, channels).
    """

    rows: int
    rows_first: bool
    proto: Optional[int]
    proto_layout: Optional[str]


def find_list(outputs: Sequence[TensorSpec], size_wh: SizeWH, strides: Sequence[int],
              class_num: int, num_mask: Optional[int]) -> Optional[ListPlaces]:
    """Where the list and the prototypes are, or None when the outputs are something else.

    :param num_mask: mask coefficients of a cell, or None for a model without masks.
    """
    cells = sum((size_wh[0] // stride) * (size_wh[1] // stride) for stride in strides)
    channels = BOX + class_num + (num_mask or 0)
    forms = {(channels, cells): False, (cells, channels): True}
    if len(outputs) != (2 if num_mask else 1):
        return None
    for rows, spec in enumerate(outputs):
        shape = tuple(size for size in spec.shape if size != 1)
        proto = 1 - rows if num_mask else None
        layout = proto_layout(outputs[proto].shape, size_wh, num_mask) if num_mask else None
        if shape in forms and _scales_fit(spec, channels) and (layout or not num_mask):
            return ListPlaces(rows, forms[shape], proto, layout)
    return None


def _scales_fit(spec: TensorSpec, channels: int) -> bool:
    return spec.quantization is None or spec.quantization.scale.size in (1, channels)


def expected_list(class_num: int, num_mask: Optional[int]) -> str:
    """The shapes of this form, for messages."""
    proto = f' and proto 1x{num_mask}x(height/4)x(width/4)' if num_mask else ''
    return f'a list 1x{BOX + class_num + (num_mask or 0)}x(cells of all strides){proto}'


class CombinedDecoder:
    """Decoder of one model that gives the boxes and scores of all its cells."""

    def __init__(self, outputs: Sequence[TensorSpec], places: ListPlaces, class_num: int,
                 suppressed: bool = False) -> None:
        self.outputs, self.places, self.suppressed = tuple(outputs), places, suppressed
        self.has_masks = places.proto is not None
        self.scores = slice(BOX, BOX + class_num)
        spec = outputs[places.rows]
        sizes = [size for size in spec.shape if size != 1]
        self.channels = sizes[1 if places.rows_first else 0]
        self.scan = ClassScan(channels_spec(spec, self.channels, self.scores), class_num,
                              NHWC if places.rows_first else NCHW)

    def describe(self) -> List[Tuple[int, str]]:
        """(output index, role) of each output, by index."""
        kinds = 'boxes, scores' + (', mask coefficients' if self.has_masks else '')
        roles = [(self.places.rows, f'{kinds} of all cells')]
        if self.has_masks:
            roles.append((self.places.proto, f'proto {self.places.proto_layout}'))
        return sorted(roles)

    def decode(self, outputs: Sequence[np.ndarray], settings: DecodeSettings) -> Boxes:
        """Boxes above the score threshold, before suppression; see ``Decoder``."""
        table = self._table(outputs)
        scores = table[:, self.scores]
        head = scores if self.places.rows_first else scores.T[..., None]
        cells, class_id, score = self.scan.hits(head, settings.score_threshold)
        xywh = self._real(table[cells])[:, :BOX]
        with np.errstate(over='ignore', invalid='ignore'):  # what is not finite is dropped below
            xyxy_model = np.concatenate([xywh[:, :2] - xywh[:, 2:] / 2,
                                         xywh[:, :2] + xywh[:, 2:] / 2], 1)
        boxes = usable(Boxes(xyxy_model, score, class_id, cells), settings.classes)
        return boxes.take(best_candidates(boxes.score, settings.max_candidates))

    def mask_basis(self, outputs: Sequence[np.ndarray], boxes: Boxes) -> MaskBasis:
        """Coefficients of ``boxes``, and the prototypes."""
        rows = self._real(self._table(outputs)[boxes.source])
        return folded_basis(rows[:, self.scores.stop:], outputs[self.places.proto],
                            self.places.proto_layout,
                            self.outputs[self.places.proto].quantization)

    def _table(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """(cells, channels) view of the stored list."""
        rows = outputs[self.places.rows]
        if self.places.rows_first:
            return rows.reshape(-1, self.channels)
        return rows.reshape(self.channels, -1).T

    def _real(self, rows: np.ndarray) -> np.ndarray:
        return dequantize(rows, self.outputs[self.places.rows].quantization)
