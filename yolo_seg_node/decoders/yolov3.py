"""YOLOv3 (Redmon and Farhadi 2018): the heads of YOLOv4 here, with anchors in cells of the grid.

TROS gives ``anchors_table`` of this parser in cells, unlike that of YOLOv5, which is in pixels.
"""

from typing import Optional, Sequence

from ..letterbox import SizeWH
from ..tensors import TensorSpec
from .anchor_based import YOLOV5_ANCHORS, AnchorBasedDecoder, Anchors, make_anchor_based
from .yolov4 import yolov4_boxes

# YOLOv5 took over the anchors that YOLOv3 was published with.
YOLOV3_ANCHORS = YOLOV5_ANCHORS[:1]


def make_yolov3(outputs: Sequence[TensorSpec], size_wh: SizeWH, *, class_num: int,
                strides: Sequence[int], anchors_table: Optional[Sequence[Anchors]],
                output_order: Optional[Sequence[int]] = None) -> AnchorBasedDecoder:
    """Bind a decoder to a model.

    :param anchors_table: (width, height) in cells of each anchor, per entry of ``strides``; None
        takes the published ones.
    :raises ModelError: the outputs do not fit these numbers, or there are no published anchors.
    """
    in_pixels = anchors_table and [
        [(width * stride, height * stride) for width, height in anchors]
        for stride, anchors in zip(strides, anchors_table)]
    return make_anchor_based(
        outputs, size_wh, class_num=class_num, strides=strides, anchors_table=in_pixels,
        default_anchors=YOLOV3_ANCHORS, formula=yolov4_boxes, output_order=output_order)
