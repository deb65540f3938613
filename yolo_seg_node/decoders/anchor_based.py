"""Heads with anchors: YOLOv5 of Ultralytics and mmyolo, and what YOLOv4 shares with them.

One head per stride. Each cell has a few anchors, and each anchor the logits x, y, w, h, objectness
and one per class, anchor after anchor. Score of a box: objectness times its best class.
"""

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import ModelError
from ..heads import NHWC, Assignment, HeadRequest, Place, Role, assign_heads
from ..letterbox import SizeWH
from ..masks import MaskBasis
from ..tensors import Quantization, TensorSpec, dequantize
from .base import Boxes, DecodeSettings, best_candidates, join_boxes, usable
from .scores import ClassScan, cells_by_channel, logit, sigmoid

HEAD = 'anchors'
OBJECTNESS = 4
BOX_AND_OBJECTNESS = 5

Anchors = Sequence[Tuple[float, float]]
# (k, 4) logits, (k, 2) cell x and y, stride, (k, 2) anchor sizes -> (k, 2) centres and (k, 2)
# sizes, all in model pixels.
BoxFormula = Callable[[np.ndarray, np.ndarray, int, np.ndarray], Tuple[np.ndarray, np.ndarray]]

# Width and height in model pixels, as published with the COCO models (and their P6 variants).
YOLOV5_ANCHORS: Tuple[Dict[int, Anchors], ...] = (
    {8: ((10, 13), (16, 30), (33, 23)),
     16: ((30, 61), (62, 45), (59, 119)),
     32: ((116, 90), (156, 198), (373, 326))},
    {8: ((19, 27), (44, 40), (38, 94)),
     16: ((96, 68), (86, 152), (180, 137)),
     32: ((140, 301), (303, 264), (238, 542)),
     64: ((436, 615), (739, 380), (925, 792))},
)


def yolov5_boxes(logits: np.ndarray, cell_xy: np.ndarray, stride: int,
                 anchor_wh: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Centres and sizes as YOLOv5 defines them since v2.0; see ``BoxFormula``."""
    part = sigmoid(logits)
    return (2 * part[:, :2] - 0.5 + cell_xy) * stride, (2 * part[:, 2:]) ** 2 * anchor_wh


class _Level(NamedTuple):
    """One stride: its head, its grid and the number of its first anchor among all anchors."""

    stride: int
    grid_wh: SizeWH
    first_anchor: int
    anchors_wh: np.ndarray
    place: Place
    scan: ClassScan


class AnchorBasedDecoder:
    """Decoder of one model whose heads have anchors."""

    suppressed = False
    has_masks = False

    def __init__(self, outputs: Sequence[TensorSpec], assignment: Assignment, size_wh: SizeWH,
                 anchors: Dict[int, Anchors], formula: BoxFormula) -> None:
        self.outputs, self.formula = tuple(outputs), formula
        self.levels: List[_Level] = []
        first_anchor = 0
        for role, place in assignment.items():
            level = self._level(role.stride, place, size_wh, first_anchor, anchors[role.stride])
            self.levels.append(level)
            first_anchor += level.grid_wh[0] * level.grid_wh[1] * len(level.anchors_wh)

    def _level(self, stride: int, place: Place, size_wh: SizeWH, first_anchor: int,
               anchors: Anchors) -> _Level:
        grid_wh = (size_wh[0] // stride, size_wh[1] // stride)
        spec = self.outputs[place.index]
        channels = int(np.prod(spec.shape)) // (grid_wh[0] * grid_wh[1])
        objectness = slice(OBJECTNESS, None, channels // len(anchors))
        scan = ClassScan(channels_spec(spec, channels, objectness), len(anchors), place.layout)
        return _Level(stride, grid_wh, first_anchor, np.array(anchors, np.float32), place, scan)

    def describe(self) -> List[Tuple[int, str]]:
        """(output index, role and layout) of each output, by index."""
        return sorted((level.place.index, f'{len(level.anchors_wh)} anchors stride {level.stride} '
                                          f'{level.place.layout}') for level in self.levels)

    def decode(self, outputs: Sequence[np.ndarray], settings: DecodeSettings) -> Boxes:
        """Boxes above the score threshold, before suppression; see ``Decoder``."""
        with np.errstate(over='ignore', invalid='ignore'):  # what is not finite is dropped below
            boxes = join_boxes([self._boxes(level, outputs[level.place.index],
                                            settings.score_threshold) for level in self.levels])
        boxes = usable(boxes, settings.classes)
        return boxes.take(best_candidates(boxes.score, settings.max_candidates))

    def _boxes(self, level: _Level, head: np.ndarray, threshold: float) -> Boxes:
        # A score is at most its objectness, so cells without an objectness above the threshold
        # have no box, and only the others are gathered.
        count = len(level.anchors_wh)
        cells = level.scan.hits(_objectness(head, level.place.layout, count), logit(threshold))[0]
        logits = self._gather(level.place, head, cells)
        logits = logits.reshape(len(cells), count, logits.shape[1] // count)
        row, anchor, class_id, score = _scored(logits, threshold)
        cells = cells[row]
        cell_xy = np.stack([cells % level.grid_wh[0], cells // level.grid_wh[0]], 1)
        centre, size = self.formula(logits[row, anchor, :OBJECTNESS], cell_xy.astype(np.float32),
                                    level.stride, level.anchors_wh[anchor])
        xyxy_model = np.concatenate([centre - size / 2, centre + size / 2], 1)
        return Boxes(xyxy_model, score, class_id, level.first_anchor + cells * count + anchor)

    def _gather(self, place: Place, head: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Real values (k, channels) float32 of some cells."""
        table = cells_by_channel(head, place.layout)
        return dequantize(table[cells], self.outputs[place.index].quantization)

    def mask_basis(self, outputs: Sequence[np.ndarray], boxes: Boxes) -> MaskBasis:
        """Never called: these models have no masks."""
        raise NotImplementedError('models with anchors have no masks')


def _scored(logits: np.ndarray,
            threshold: float) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Anchors that reach the threshold: index of cell and of anchor, class id and score.

    :param logits: (k, anchors, 5 + classes) real values; those that are not finite score 0.
    """
    scores = logits[..., OBJECTNESS:]
    scores = sigmoid(np.where(np.isfinite(scores), scores, -np.inf))
    class_id = scores[..., 1:].argmax(axis=2)
    score = scores[..., 0] * scores[..., 1:].max(axis=2)
    row, anchor = np.nonzero((score >= threshold) & (score > 0))
    return row, anchor, class_id[row, anchor].astype(np.int32), score[row, anchor]


def _objectness(head: np.ndarray, layout: str, anchors: int) -> np.ndarray:
    """The objectness channels of a head, a view in the layout of the head."""
    if layout == NHWC:
        return head[..., OBJECTNESS::head.shape[-1] // anchors]
    return head[..., OBJECTNESS::head.shape[-3] // anchors, :, :]


def channels_spec(spec: TensorSpec, channels: int, part: slice) -> TensorSpec:
    """``spec`` with the scales of some of its channels alone, for a scan of these."""
    quantization = spec.quantization
    if quantization is not None:
        scale, zero_point = (values[part] for values in quantization.per_channel(channels))
        quantization = Quantization(scale, zero_point, quantization.axis)
    return TensorSpec(spec.name, spec.shape, spec.dtype, quantization)


def make_anchor_based(
        outputs: Sequence[TensorSpec], size_wh: SizeWH, *, class_num: int,
        strides: Sequence[int], anchors_table: Optional[Sequence[Anchors]],
        default_anchors: Sequence[Dict[int, Anchors]] = YOLOV5_ANCHORS,
        formula: BoxFormula = yolov5_boxes,
        output_order: Optional[Sequence[int]] = None) -> AnchorBasedDecoder:
    """Bind a decoder to a model.

    :param anchors_table: (width, height) in model pixels of each anchor, per entry of ``strides``;
        None takes the one of ``default_anchors`` that has these strides.
    :raises ModelError: the outputs do not fit these numbers, or there are no default anchors.
    """
    anchors = _anchors_by_stride(strides, anchors_table, default_anchors)
    per_cell = len(anchors[strides[0]])
    order = tuple(Role(HEAD, stride) for stride in strides)
    request = HeadRequest({HEAD: per_cell * (BOX_AND_OBJECTNESS + class_num)}, tuple(strides),
                          None, (order, order[::-1]))
    assignment = assign_heads(outputs, request, size_wh, output_order)
    return AnchorBasedDecoder(outputs, assignment, size_wh, anchors, formula)


def _anchors_by_stride(strides: Sequence[int], table: Optional[Sequence[Anchors]],
                       defaults: Sequence[Dict[int, Anchors]]) -> Dict[int, Anchors]:
    if table is not None:
        return dict(zip(strides, table))
    for anchors in defaults:
        if sorted(anchors) == sorted(strides):
            return anchors
    known = ' and '.join(str(list(anchors)) for anchors in defaults)
    raise ModelError(f'There are no default anchors for strides {list(strides)}, only for {known}; '
                     'set "anchors_table".')
