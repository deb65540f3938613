"""YOLOv8, YOLO11 and YOLO26 heads, detection and segmentation: one point per cell, no anchors.

Box of a cell: distances left, top, right, bottom from the cell's centre, in cells. With
``reg_max`` > 1 each is the expectation of a distribution over 0 .. reg_max - 1 (Distribution Focal
Loss, Li et al. 2020); with ``reg_max`` 1 it is given directly.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..heads import (NCHW, PROTO, PROTO_STRIDE, Assignment, HeadRequest, Place, Role,
                     assign_heads)
from ..letterbox import SizeWH
from ..masks import MaskBasis
from ..tensors import TensorSpec, dequantize
from .base import (Boxes, DecodeSettings, best_candidates, folded_basis, join_boxes,
                   usable)
from .scores import ClassScan, cells_by_channel, logit, sigmoid

# float32 exp overflows at 88; logits within this limit need no shift by their maximum.
SAFE_LOGIT = 60.0


class _Level(NamedTuple):
    """One stride: its heads, its grid and the number of its first cell among all cells."""

    stride: int
    grid_wh: SizeWH
    first_cell: int
    scan: ClassScan
    places: Dict[str, Place]


class AnchorFreeDecoder:
    """Decoder of one model with anchor-free heads."""

    def __init__(self, outputs: Sequence[TensorSpec], assignment: Assignment, size_wh: SizeWH,
                 reg_max: int, suppressed: bool = False) -> None:
        self.outputs, self.reg_max, self.suppressed = tuple(outputs), reg_max, suppressed
        self.assignment = assignment
        self.proto = assignment.get(Role(PROTO, PROTO_STRIDE))
        self.has_masks = self.proto is not None
        self.levels = self._make_levels(size_wh)
        self.cells = self.levels[-1].first_cell + _cell_count(self.levels[-1].grid_wh)
        self.bins = np.arange(reg_max, dtype=np.float32)

    def _make_levels(self, size_wh: SizeWH) -> List[_Level]:
        levels, first_cell = [], 0
        for stride in sorted({role.stride for role in self.assignment if role.name != PROTO}):
            places = {role.name: place for role, place in self.assignment.items()
                      if role.stride == stride and role.name != PROTO}
            grid_wh = (size_wh[0] // stride, size_wh[1] // stride)
            spec = self.outputs[places['cls'].index]
            channels = int(np.prod(spec.shape)) // _cell_count(grid_wh)
            scan = ClassScan(spec, channels, places['cls'].layout)
            levels.append(_Level(stride, grid_wh, first_cell, scan, places))
            first_cell += _cell_count(grid_wh)
        return levels

    def describe(self) -> List[Tuple[int, str]]:
        """(output index, role and layout) of each output, by index."""
        return sorted((place.index, f'{role.name} stride {role.stride} {place.layout}')
                      for role, place in self.assignment.items())

    def decode(self, outputs: Sequence[np.ndarray], settings: DecodeSettings) -> Boxes:
        """Boxes above the score threshold, before suppression; see ``Decoder``."""
        limit = logit(settings.score_threshold)
        hits = [level.scan.hits(outputs[level.places['cls'].index], limit)
                for level in self.levels]
        if settings.classes is not None:  # before the cut, so that others do not fill it up
            hits = [_of_classes(hit, list(settings.classes)) for hit in hits]
        hits = _limited(hits, settings.max_candidates)
        with np.errstate(over='ignore', invalid='ignore'):  # what is not finite is dropped below
            boxes = join_boxes([self._boxes(level, outputs, *hit)
                                for level, hit in zip(self.levels, hits) if len(hit[0])])
        return usable(boxes, None)

    def _boxes(self, level: _Level, outputs: Sequence[np.ndarray], cells: np.ndarray,
               class_id: np.ndarray, logits: np.ndarray) -> Boxes:
        ltrb = self._distances(self._gather(outputs, level.places['box'], cells))
        centre = np.stack([cells % level.grid_wh[0], cells // level.grid_wh[0]], 1) + 0.5
        xyxy_cells = np.concatenate([centre - ltrb[:, :2], centre + ltrb[:, 2:]], 1)
        return Boxes((xyxy_cells * level.stride).astype(np.float32),
                     sigmoid(logits).astype(np.float32), class_id, cells + level.first_cell)

    def _gather(self, outputs: Sequence[np.ndarray], place: Place,
                cells: np.ndarray) -> np.ndarray:
        """Real values (k, channels) float32 of some cells of one head."""
        table = cells_by_channel(outputs[place.index], place.layout)
        return dequantize(table[cells], self.outputs[place.index].quantization)

    def _distances(self, raw: np.ndarray) -> np.ndarray:
        """(k, 4) distances in cells from (k, 4 * reg_max) real head values."""
        if self.reg_max == 1:
            return raw
        raw = raw.reshape(-1, self.reg_max)
        if raw.size and not np.abs(raw).max() <= SAFE_LOGIT:
            raw = np.where(np.isfinite(raw), raw, np.nan)  # a bin at -inf would pass as finite
            raw = raw - raw.max(axis=1, keepdims=True)
        weight = np.exp(raw)
        return (weight @ self.bins / weight.sum(axis=1)).reshape(-1, 4)

    def mask_basis(self, outputs: Sequence[np.ndarray], boxes: Boxes) -> MaskBasis:
        """Coefficients of ``boxes`` with the prototypes' scale folded in, and the prototypes."""
        coefficients = self._coefficients(outputs, boxes.source)
        return folded_basis(coefficients, outputs[self.proto.index], self.proto.layout,
                            self.outputs[self.proto.index].quantization)

    def _coefficients(self, outputs: Sequence[np.ndarray], source: np.ndarray) -> np.ndarray:
        channels = self._proto_channels()
        coefficients = np.empty((len(source), channels), np.float32)
        for level in self.levels:
            cells = source - level.first_cell
            here = (cells >= 0) & (cells < _cell_count(level.grid_wh))
            coefficients[here] = self._gather(outputs, level.places['mc'], cells[here])
        return coefficients

    def _proto_channels(self) -> int:
        shape = self.outputs[self.proto.index].shape
        return shape[-3] if self.proto.layout == NCHW else shape[-1]


def make_anchor_free(outputs: Sequence[TensorSpec], size_wh: SizeWH, *, class_num: int,
                     reg_max: int, strides: Sequence[int], num_mask: Optional[int],
                     output_order: Optional[Sequence[int]] = None,
                     suppressed: bool = False) -> AnchorFreeDecoder:
    """Bind a decoder to a model.

    :param num_mask: mask coefficients per detection, or None for a detection model.
    :param suppressed: the heads give one box an object (YOLOv10), so none is to be suppressed.
    :raises ModelError: the outputs do not fit these numbers, see ``assign_heads``.
    """
    channels = {'cls': class_num, 'box': 4 * reg_max}
    if num_mask:
        channels['mc'] = num_mask
    strides = tuple(sorted(strides))
    request = HeadRequest(channels, strides, num_mask, _orders(tuple(channels), strides))
    assignment = assign_heads(outputs, request, size_wh, output_order)
    return AnchorFreeDecoder(outputs, assignment, size_wh, reg_max, suppressed)


def _orders(names: Tuple[str, ...], strides: Tuple[int, ...]) -> Tuple[Tuple[Role, ...], ...]:
    """The orders in which known exporters write the heads; the proto comes last in all of them.

    TROS and YOLO11 on RDK: class, box(, coefficients) per stride. YOLOv8-seg on RDK of 2024: all
    coefficients, all boxes, all classes. VACC: box and class per stride, then all coefficients.
    RDK detection of 2024: all boxes, all classes.
    """
    proto = [Role(PROTO, PROTO_STRIDE)] if 'mc' in names else []

    def per_stride(*wanted: str) -> List[Role]:
        return [Role(name, stride) for stride in strides for name in wanted]

    def per_kind(*wanted: str) -> List[Role]:
        return [Role(name, stride) for name in wanted for stride in strides]

    coefficients = per_kind('mc') if 'mc' in names else []
    orders = [per_stride(*names), coefficients + per_kind('box', 'cls'),
              per_stride('box', 'cls') + coefficients, per_kind(*names)]
    return tuple(dict.fromkeys(tuple(order + proto) for order in orders))


def _cell_count(grid_wh: SizeWH) -> int:
    return grid_wh[0] * grid_wh[1]


def _of_classes(hit: Tuple[np.ndarray, ...], classes: List[int]) -> Tuple[np.ndarray, ...]:
    keep = np.isin(hit[1], classes)
    return tuple(array[keep] for array in hit)


def _limited(hits: 'list[tuple[np.ndarray, ...]]', limit: int) -> 'list[tuple[np.ndarray, ...]]':
    """The best ``limit`` hits of all levels together."""
    counts = [len(hit[0]) for hit in hits]
    if sum(counts) <= limit:
        return hits
    best = np.zeros(sum(counts), bool)
    best[best_candidates(np.concatenate([hit[2] for hit in hits]), limit)] = True
    parts = np.split(best, np.cumsum(counts)[:-1])
    return [tuple(array[keep] for array in hit) for hit, keep in zip(hits, parts)]
