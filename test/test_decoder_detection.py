"""Anchor-free models by parser name: detection, YOLO26, YOLOv10, and every seg export of boards.

The exports are those that were published for the RDK X5 and S100 and for VACC, at 640x640 with the
80 classes of COCO, where a class head on the finest grid has the same length on all three axes.
"""

import numpy as np
import pytest
from heads_factory import Form, make_scene, store
from reference import anchor_free as reference

from yolo_seg_node.config import WorkConfig, make_work_config
from yolo_seg_node.decoders import DecodeSettings, make_decoder
from yolo_seg_node.errors import ConfigError, ModelError
from yolo_seg_node.letterbox import make_letterbox
from yolo_seg_node.masks import instance_masks
from yolo_seg_node.parsers import OTHER_TROS_PARSERS, PARSERS

INTEGER_BOX = Form(dtypes={'box': 'int32'}, per_channel=frozenset(['box']))
INTEGER_BOX_MC = {'dtypes': {'box': 'int32', 'mc': 'int32'},
                  'per_channel': frozenset(['box', 'mc'])}
INTEGER_BOX_MC_PROTO = {**INTEGER_BOX_MC,
                        'dtypes': {'box': 'int32', 'mc': 'int32', 'proto': 'int16'}}
HALF = {role: 'float16' for role in ('cls', 'box', 'mc', 'proto')}

DETECTION_FORMS = {
    'x5 float': Form(),
    'x5 and s100, dequantise removed': INTEGER_BOX,
    'x5 of 2024, boxes then classes': Form(
        order=(1, 3, 5, 0, 2, 4), dtypes={'box': 'int32'}, per_channel=frozenset(['box'])),
    'vacc': Form(order='vacc', layout='NCHW', dtypes=HALF),
}
SEG_FORMS = {
    'x5 yolov8n-seg 2024-09': Form(order='rdk_v8', **INTEGER_BOX_MC),
    'x5 yolo11n-seg 2025-03': Form(**INTEGER_BOX_MC_PROTO),
    'x5 yolo11n-seg 2025-03, boxes first': Form(order=(1, 0, 2, 4, 3, 5, 7, 6, 8, 9),
                                                **INTEGER_BOX_MC_PROTO),
    'x5 2025-07': Form(),
    's100 yolo11n-seg 2025-05': Form(**INTEGER_BOX_MC_PROTO),
    's100 with zero points': Form(**INTEGER_BOX_MC_PROTO,
                                  zero_points=frozenset(['box', 'mc', 'proto'])),
    'vacc': Form(order='vacc', layout='NCHW', dtypes=HALF),
}


def config(parser, scene, **keys):
    """What make_work_config makes of the keys of the scene."""
    values = {'model_file': 'model', 'dnn_Parser': parser, 'class_num': scene.class_num,
              'reg_max': scene.reg_max, 'strides': list(scene.strides), **keys}
    if scene.num_mask:
        values['num_mask'] = scene.num_mask
    return make_work_config(values, require_model=False)


def assert_same_boxes(boxes, expected):
    assert len(boxes) == len(expected) > 0
    assert boxes.class_id.tolist() == [found.class_id for found in expected]
    np.testing.assert_allclose(boxes.xyxy_model, [found.box for found in expected], rtol=0,
                               atol=1e-3)
    np.testing.assert_allclose(boxes.score, [found.score for found in expected], rtol=0, atol=1e-5)


def decoded(parser, stored, threshold=0.25, **keys):
    """Candidates of the decoder and of the reference, both by stride, row and column."""
    scene = stored.scene
    decoder = make_decoder(stored.specs, scene.size_wh, config(parser, scene, **keys))
    boxes = decoder.decode(stored.arrays, DecodeSettings(threshold, max_candidates=100000))
    expected = reference.candidates(stored.real, scene.strides, scene.reg_max, threshold)
    return decoder, boxes.take(np.argsort(boxes.source)), expected


@pytest.mark.parametrize('form', DETECTION_FORMS.values(), ids=list(DETECTION_FORMS))
@pytest.mark.parametrize('parser', ['yolov8', 'yolov11', 'ultralytics_yolo', 'yolov10'])
def test_detection(parser, form):
    stored = store(make_scene(num_mask=None, size_wh=(320, 256)), form)
    decoder, boxes, expected = decoded(parser, stored)
    assert_same_boxes(boxes, expected)
    assert not decoder.has_masks
    assert decoder.suppressed == (parser == 'yolov10')


@pytest.mark.parametrize('reg_max', [1, 8, 20])
def test_reg_max_of_the_config(reg_max):
    stored = store(make_scene(num_mask=None, reg_max=reg_max), INTEGER_BOX)
    _, boxes, expected = decoded('ultralytics_yolo', stored)
    assert_same_boxes(boxes, expected)


@pytest.mark.parametrize('form', DETECTION_FORMS.values(), ids=list(DETECTION_FORMS))
def test_yolo26_detection_has_no_distribution_whatever_the_config_says(form):
    stored = store(make_scene(num_mask=None, reg_max=1), form)
    for keys in ({}, {'reg_max': 16}):
        _, boxes, expected = decoded('yolo26', stored, **keys)
        assert_same_boxes(boxes, expected)


@pytest.mark.parametrize('form', SEG_FORMS.values(), ids=list(SEG_FORMS))
def test_yolo26_seg(form):
    stored = store(make_scene(reg_max=1), form)
    decoder, boxes, expected = decoded('yolo26_seg', stored)
    assert_same_boxes(boxes, expected)
    assert_same_masks(decoder, stored, boxes, expected)


@pytest.mark.parametrize('form', SEG_FORMS.values(), ids=list(SEG_FORMS))
def test_seg_exports_at_their_real_size(form):
    stored = store(make_scene(size_wh=(640, 640), class_num=80), form)
    decoder, boxes, expected = decoded('yolov8_seg', stored)
    assert_same_boxes(boxes, expected)
    assert_same_masks(decoder, stored, boxes, expected)


def assert_same_masks(decoder, stored, boxes, expected):
    """Logits of the first instances over the whole proto, against real coefficients and proto."""
    proto = stored.real['proto', 4]
    basis = decoder.mask_basis(stored.arrays, boxes.take(np.arange(3)))
    logits = np.asarray(basis.proto, np.float32) @ basis.coefficients.T + basis.bias
    for i, found in enumerate(expected[:3]):
        coefficients = stored.real['mc', found.stride][found.row, found.column]
        np.testing.assert_allclose(logits[..., i], proto @ coefficients, rtol=0, atol=2e-3)
    xyxy = np.clip(boxes.xyxy_model[:3], 0, np.tile(stored.scene.size_wh, 2))
    letterbox = make_letterbox(stored.scene.size_wh, stored.scene.size_wh)
    assert (instance_masks(basis, xyxy, letterbox).area() > 100).all()


def test_yolov10_keeps_boxes_that_suppression_would_take():
    """Each object of the scene is seen by several cells; only top_k limits them."""
    stored = store(make_scene(num_mask=None))
    work = config('yolov10', stored.scene, top_k=7)
    assert (work.decode_settings().max_detections, work.nms_top_k) == (7, 7)
    assert config('yolov10', stored.scene).nms_top_k == 300
    assert make_decoder(stored.specs, stored.scene.size_wh, work).suppressed


@pytest.mark.parametrize('parser', ['yolov8', 'yolo26'])
def test_a_misfit_names_the_heads_and_their_sizes(parser):
    stored = store(make_scene(num_mask=None, reg_max=4))
    with pytest.raises(ModelError) as error:
        make_decoder(stored.specs, stored.scene.size_wh, config(parser, stored.scene, reg_max=2))
    assert f'expected box_8    32x32x{4 if parser == "yolo26" else 8}' in str(error.value)


@pytest.mark.parametrize('size_wh, stride', [((260, 256), 8), ((272, 256), 32), ((256, 264), 16)])
def test_the_first_stride_that_does_not_divide_the_model_is_named(size_wh, stride):
    stored = store(make_scene(num_mask=None))
    with pytest.raises(ModelError, match=f'{size_wh[0]}x{size_wh[1]}, which stride {stride} does'):
        make_decoder(stored.specs, size_wh, WorkConfig('model', 'yolov8', class_num=5))


def test_parsers_of_tros_are_all_known():
    """The names that dnn_node_example accepts: run here, or refused as what they are."""
    tros = ('yolov2', 'yolov3', 'yolov5', 'yolov5x', 'yolov8', 'yolov10', 'yolov11', 'yolov8_seg',
            'ultralytics_yolo', 'yolo26_seg', 'yolo26e_seg', 'classification', 'ssd',
            'efficient_det', 'fcos', 'unet', 'stdc')
    assert set(tros) == {*PARSERS, *OTHER_TROS_PARSERS} - {'yolov4', 'yolo26'}


@pytest.mark.parametrize('parser', OTHER_TROS_PARSERS)
def test_parsers_of_other_models_are_refused_by_name(parser):
    with pytest.raises(ConfigError, match=f'"{parser}", a parser of TROS .* supported are: '
                                          'yolov8_seg, '):
        make_work_config({'model_file': 'm', 'dnn_Parser': parser}, require_model=False)


@pytest.mark.parametrize('parser', PARSERS)
def test_model_output_count_may_be_left_out(parser):
    assert make_work_config({'model_file': 'm', 'dnn_Parser': parser}, require_model=False)
