"""YOLOv4 of Tianxiaomo: raw heads, end-to-end outputs, and the lists of the VACC compiler."""

import numpy as np
import pytest
from reference import anchor_based_reference, yolov4_reference
from test_decoder_anchor_based import assert_same, random_heads, stored_float, stored_int

from yolo_seg_node.config import WorkConfig, make_work_config
from yolo_seg_node.decoders import DecodeSettings, make_decoder
from yolo_seg_node.decoders.suppressed import SuppressedDecoder
from yolo_seg_node.decoders.yolov4 import YOLOV4_ANCHORS, EndToEndDecoder
from yolo_seg_node.errors import ConfigError, ModelError
from yolo_seg_node.tensors import Quantization, TensorSpec

CLASSES = 7
SIZE_WH = (192, 128)
STRIDES = (8, 16, 32)
ANCHORS = [YOLOV4_ANCHORS[0][stride] for stride in STRIDES]


def config(**keys):
    return WorkConfig('model', 'yolov4', **{'class_num': CLASSES, **keys})


def heads(classes=CLASSES):
    """Raw heads with sizes of boxes as in training: exp(t) within a factor of four."""
    random = random_heads(classes=classes, seed=4)
    for head in random:
        head.reshape(3, 5 + classes, *head.shape[1:])[:, 2:4] *= 0.3
    return random


def specs_of(outputs, quantization=None):
    return [TensorSpec(f'output_{i}', out.shape, out.dtype, quantization)
            for i, out in enumerate(outputs)]


def expected_of(real, threshold):
    return anchor_based_reference.decode(real, STRIDES, ANCHORS, threshold,
                                         anchor_based_reference.yolov4_centre_size)


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_raw_float_heads(layout, dtype):
    outputs, specs, real = stored_float(heads(), dtype, layout)
    boxes = make_decoder(specs, SIZE_WH, config()).decode(outputs, DecodeSettings(0.3))
    assert_same(boxes, expected_of(real, 0.3))


def test_raw_int32_heads():
    outputs, specs, real = stored_int(heads())
    boxes = make_decoder(specs, SIZE_WH, config()).decode(outputs, DecodeSettings(0.3))
    assert_same(boxes, expected_of(real, 0.3))


def test_sizes_beyond_every_float_give_no_box():
    random = heads()
    for head in random:
        head.reshape(3, 5 + CLASSES, *head.shape[1:])[:, 2:4] = 1e4
    outputs, specs, _ = stored_float(random, np.float32, 'NCHW')
    assert len(make_decoder(specs, SIZE_WH, config()).decode(outputs, DecodeSettings(0.3))) == 0


@pytest.mark.parametrize('swapped', [False, True])
def test_end_to_end(swapped):
    boxes, confs = yolov4_reference.end_to_end(heads(), STRIDES, ANCHORS, SIZE_WH)
    assert boxes.shape == (1, 3 * (24 * 16 + 12 * 8 + 6 * 4), 1, 4)
    outputs = [confs, boxes] if swapped else [boxes, confs]
    decoder = make_decoder(specs_of(outputs), SIZE_WH, config())
    found = decoder.decode(outputs, DecodeSettings(0.3))
    assert_same(found, yolov4_reference.decode(boxes, confs, SIZE_WH, 0.3))
    assert [text.split()[0] for _, text in decoder.describe()] == (
        ['scores', 'boxes,'] if swapped else ['boxes,', 'scores'])


def test_end_to_end_is_what_the_raw_heads_give():
    outputs, specs, real = stored_float(heads(), np.float32, 'NCHW')
    raw = make_decoder(specs, SIZE_WH, config()).decode(outputs, DecodeSettings(0.3))
    lists = yolov4_reference.end_to_end(real, STRIDES, ANCHORS, SIZE_WH)
    decoder = make_decoder(specs_of(lists), SIZE_WH, config())
    assert_same(decoder.decode(lists, DecodeSettings(0.3)),
                np.column_stack([raw.xyxy_model, raw.score, raw.class_id]).tolist())


def test_end_to_end_in_float16_and_without_the_axis_of_one():
    boxes, confs = (out.astype(np.float16) for out in
                    yolov4_reference.end_to_end(heads(), STRIDES, ANCHORS, SIZE_WH))
    decoder = make_decoder(specs_of([boxes[:, :, 0], confs]), SIZE_WH, config())
    found = decoder.decode([boxes[:, :, 0], confs], DecodeSettings(0.3))
    assert_same(found, yolov4_reference.decode(boxes, confs, SIZE_WH, 0.3))


def test_end_to_end_with_scales():
    one = Quantization(np.float32([1 / 30000]))
    boxes, confs = (np.round(out * 30000).astype(np.int32) for out in
                    yolov4_reference.end_to_end(heads(), STRIDES, ANCHORS, SIZE_WH))
    decoder = make_decoder(specs_of([boxes, confs], one), SIZE_WH, config())
    found = decoder.decode([boxes, confs], DecodeSettings(0.3005))
    scale = float(one.scale[0])
    assert_same(found, yolov4_reference.decode(boxes * scale, confs * scale, SIZE_WH, 0.3005))


def test_four_classes_look_like_boxes_so_the_order_counts():
    boxes, confs = yolov4_reference.end_to_end(heads(4), STRIDES, ANCHORS, SIZE_WH)
    outputs = [boxes[:, :, 0], confs]
    usual = make_decoder(specs_of(outputs), SIZE_WH, config(class_num=4))
    assert (usual.boxes, usual.confs) == (0, 1)
    told = make_decoder(specs_of(outputs), SIZE_WH, config(class_num=4, output_order=(1, 0)))
    assert (told.boxes, told.confs) == (1, 0)


def test_one_class():
    boxes, confs = yolov4_reference.end_to_end(heads(1), STRIDES, ANCHORS, SIZE_WH)
    decoder = make_decoder(specs_of([boxes, confs]), SIZE_WH, config(class_num=1))
    assert isinstance(decoder, EndToEndDecoder)
    found = decoder.decode([boxes, confs], DecodeSettings(0.3))
    assert_same(found, yolov4_reference.decode(boxes, confs, SIZE_WH, 0.3))


def test_candidates_and_classes_are_limited():
    boxes, confs = yolov4_reference.end_to_end(heads(), STRIDES, ANCHORS, SIZE_WH)
    decoder = make_decoder(specs_of([boxes, confs]), SIZE_WH, config())
    found = decoder.decode([boxes, confs], DecodeSettings(0.3, max_candidates=5))
    expected = sorted(yolov4_reference.decode(boxes, confs, SIZE_WH, 0.3), key=lambda b: -b.score)
    assert_same(found, expected[:5])
    wanted = DecodeSettings(0.3, max_candidates=3, classes=frozenset([1]))
    assert_same(decoder.decode([boxes, confs], wanted),
                [b for b in expected if b.class_id == 1][:3])


def test_compiled_form():
    """Three lists, whatever the size of the grids."""
    ids, scores = np.full((1, 6, 1), -1, np.float16), np.full((1, 6, 1), -1, np.float16)
    boxes = np.full((1, 6, 4), -1, np.float16)
    ids[0, :2, 0], scores[0, :2, 0] = [3, 0], [0.75, 0.5]
    boxes[0, :2] = [[10, 20, 30, 40], [0, 0, 5, 5]]
    decoder = make_decoder(specs_of([ids, scores, boxes]), SIZE_WH, config())
    assert isinstance(decoder, SuppressedDecoder)
    found = decoder.decode([ids, scores, boxes], DecodeSettings(0.0))
    assert_same(found, [(10, 20, 30, 40, 0.75, 3), (0, 0, 5, 5, 0.5, 0)])


def test_what_fits_no_form_is_refused_with_all_of_them():
    outputs = [np.zeros((1, 100, 1, 4), np.float32), np.zeros((1, 99, CLASSES), np.float32)]
    with pytest.raises(ModelError) as error:
        make_decoder(specs_of(outputs), SIZE_WH, config())
    text = str(error.value)
    assert 'expected anchors_32 4x6x36' in text
    assert 'end to end: boxes 1xNx1x4, confs 1xNx7' in text
    assert 'suppression in the model: class id 1xN, score 1xN, box 1xNx4' in text
    assert 'output_1 (1, 99, 7) float32' in text


@pytest.mark.parametrize(('count', 'fits'), [(2, True), (3, True), (5, False), (10, False)])
def test_model_output_count_of_every_form(count, fits):
    keys = {'model_file': 'm', 'dnn_Parser': 'yolov4', 'model_output_count': count}
    if fits:
        assert make_work_config(keys, require_model=False).parser == 'yolov4'
    else:
        with pytest.raises(ConfigError, match='with 3 strides has 3 or 2 outputs'):
            make_work_config(keys, require_model=False)
