"""YOLOv4 of Tianxiaomo/pytorch-YOLOv4: raw heads, and the end-to-end form ``boxes`` and ``confs``.

Raw heads have the channels of YOLOv5, but x and y are plain sigmoids (``scale_x_y`` is 1 in that
code) and w and h exponentials. The end-to-end form is the decoded list of all anchors, with
corners as parts of the model input and the products of objectness and class.
"""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import ModelError
from ..heads import NHWC
from ..letterbox import SizeWH
from ..masks import MaskBasis
from ..tensors import TensorSpec, dequantize
from .anchor_based import Anchors, make_anchor_based
from .base import Boxes, DecodeSettings, Decoder, best_candidates, usable
from .scores import ClassScan, sigmoid
from .suppressed import row_count

YOLOV4_ANCHORS: Tuple[Dict[int, Anchors], ...] = (
    {8: ((12, 16), (19, 36), (40, 28)),
     16: ((36, 75), (76, 55), (72, 146)),
     32: ((142, 110), (192, 243), (459, 401))},
)


def yolov4_boxes(logits: np.ndarray, cell_xy: np.ndarray, stride: int,
                 anchor_wh: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Centres and sizes of raw heads; see ``anchor_based.BoxFormula``."""
    return (sigmoid(logits[:, :2]) + cell_xy) * stride, np.exp(logits[:, 2:]) * anchor_wh


class EndToEndDecoder:
    """Decoder of ``boxes`` (1, n, 1, 4) in 0 .. 1 and ``confs`` (1, n, classes) in 0 .. 1."""

    suppressed = False
    has_masks = False

    def __init__(self, outputs: Sequence[TensorSpec], size_wh: SizeWH, class_num: int, boxes: int,
                 confs: int) -> None:
        """Bind to the outputs with the indices ``boxes`` and ``confs``."""
        self.boxes, self.confs, self.class_num = boxes, confs, class_num
        self.box_quantization = outputs[boxes].quantization
        self.size_xyxy = np.tile(np.array(size_wh, np.float32), 2)
        self.scan = ClassScan(outputs[confs], class_num, NHWC)

    def describe(self) -> List[Tuple[int, str]]:
        """(output index, role) of each output, by index."""
        return sorted([(self.boxes, 'boxes, x1 y1 x2 y2 as parts of the model input'),
                       (self.confs, 'scores per class')])

    def decode(self, outputs: Sequence[np.ndarray], settings: DecodeSettings) -> Boxes:
        """Boxes above the score threshold, before suppression; see ``Decoder``."""
        confs = outputs[self.confs].reshape(-1, self.class_num)
        slot, class_id, score = self.scan.hits(confs, settings.score_threshold)
        xyxy = outputs[self.boxes].reshape(-1, 4)[slot]
        xyxy_model = dequantize(xyxy, self.box_quantization) * self.size_xyxy
        boxes = usable(Boxes(xyxy_model, score, class_id, slot), settings.classes)
        return boxes.take(best_candidates(boxes.score, settings.max_candidates))

    def mask_basis(self, outputs: Sequence[np.ndarray], boxes: Boxes) -> MaskBasis:
        """Never called: these models have no masks."""
        raise NotImplementedError('YOLOv4 models have no masks')


def make_yolov4(outputs: Sequence[TensorSpec], size_wh: SizeWH, *, class_num: int,
                strides: Sequence[int], anchors_table: Optional[Sequence[Anchors]],
                output_order: Optional[Sequence[int]] = None) -> Decoder:
    """Bind the decoder of whichever form the outputs have.

    :raises ModelError: the outputs have neither.
    """
    places = _end_to_end_places(outputs, class_num, output_order)
    if places is not None:
        return EndToEndDecoder(outputs, size_wh, class_num, *places)
    try:
        return make_anchor_based(
            outputs, size_wh, class_num=class_num, strides=strides, anchors_table=anchors_table,
            default_anchors=YOLOV4_ANCHORS, formula=yolov4_boxes, output_order=output_order)
    except ModelError as error:
        raise ModelError(f'{error}\n  or, end to end: boxes 1xNx1x4, confs 1xNx{class_num}'
                         ) from None


def _end_to_end_places(outputs: Sequence[TensorSpec], class_num: int,
                       output_order: Optional[Sequence[int]]) -> Optional[Tuple[int, int]]:
    """Indices of ``boxes`` and ``confs``, or None when the outputs are something else.

    With four classes both may fit both; then the order of the exporter counts, boxes first.
    """
    if len(outputs) != 2:
        return None
    for boxes, confs in [tuple(output_order)] if output_order else [(0, 1), (1, 0)]:
        count = row_count(outputs[boxes], 4)
        if count and count == row_count(outputs[confs], class_num):
            return boxes, confs
    return None
