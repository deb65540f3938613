"""YOLOv3 heads as TROS takes them, against the formulas, with anchors in cells."""

import numpy as np
import pytest
from reference import anchor_based_reference
from test_decoder_anchor_based import assert_same, stored_float
from test_decoder_yolov4 import CLASSES, SIZE_WH, heads

from yolo_seg_node.config import make_work_config
from yolo_seg_node.decoders import DecodeSettings, make_decoder

STRIDES = (32, 16, 8)
# the table of the work config that TROS ships, and the published anchors in pixels
CELLS = [[[3.625, 2.8125], [4.875, 6.1875], [11.65625, 10.1875]],
         [[1.875, 3.8125], [3.875, 2.8125], [3.6875, 7.4375]],
         [[1.25, 1.625], [2, 3.75], [4.125, 2.875]]]
PIXELS = [((116, 90), (156, 198), (373, 326)), ((30, 61), (62, 45), (59, 119)),
          ((10, 13), (16, 30), (33, 23))]


@pytest.mark.parametrize('keys', [{}, {'anchors_table': CELLS}, {'strides': [8, 16, 32]}])
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('swapped', [False, True])
def test_boxes_of_the_formula(keys, layout, swapped):
    outputs, specs, real = stored_float(heads()[::-1], np.float32, layout)
    expected = anchor_based_reference.decode(
        real, STRIDES, PIXELS, 0.3, anchor_based_reference.yolov4_centre_size)
    config = make_work_config({'model_file': 'm', 'dnn_Parser': 'yolov3', 'class_num': CLASSES,
                               **keys}, require_model=False)
    if swapped:
        outputs, specs = outputs[::-1], specs[::-1]
    boxes = make_decoder(specs, SIZE_WH, config).decode(outputs, DecodeSettings(0.3))
    assert len(expected) > 10
    assert_same(boxes, expected)


def test_defaults_are_those_of_tros():
    config = make_work_config({'model_file': 'm', 'dnn_Parser': 'yolov3'}, require_model=False)
    assert (config.score_threshold, config.nms_threshold, config.nms_top_k) == (0.3, 0.45, 500)
    assert config.strides == STRIDES
