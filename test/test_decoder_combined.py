"""Models exported with their decoding: one list of all cells, as Ultralytics and TROS have it."""

import numpy as np
import pytest
from heads_factory import make_scene
from reference import anchor_free as reference

from yolo_seg_node.config import make_work_config
from yolo_seg_node.decoders import DecodeSettings, make_decoder
from yolo_seg_node.decoders.combined import CombinedDecoder
from yolo_seg_node.errors import ModelError
from yolo_seg_node.tensors import Quantization, TensorSpec

SIZE_WH = (192, 128)
PROTO = ('proto', 4)


def scene_of(masks=True):
    return make_scene(size_wh=SIZE_WH, num_mask=32 if masks else None)


def listed(scene):
    """(cells, 4 + classes + coefficients) float64: what the heads of a scene decode to."""
    rows = []
    for stride in scene.strides:
        for row, column in np.ndindex(*scene.real['cls', stride].shape[:2]):
            x0, y0, x1, y1 = reference.cell_box(list(scene.real['box', stride][row, column]),
                                                scene.reg_max, row, column, stride)
            scores = [reference.sigmoid(x) for x in scene.real['cls', stride][row, column]]
            coefficients = scene.real['mc', stride][row, column] if scene.num_mask else []
            rows.append([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, *scores, *coefficients])
    return np.array(rows)


def outputs_of(scene, form='1CN', dtype=np.float32):
    rows = listed(scene).astype(dtype)
    array = {'1CN': rows.T[None], '1CN1': rows.T[None, :, :, None], '1NC': rows[None]}[form]
    proto = [scene.real[PROTO].astype(dtype).transpose(2, 0, 1)[None]] if scene.num_mask else []
    return [np.ascontiguousarray(one) for one in [array, *proto]]


def specs_of(outputs, quantizations=(None, None)):
    return [TensorSpec(f'output{i}', out.shape, out.dtype, quantization)
            for i, (out, quantization) in enumerate(zip(outputs, quantizations))]


def config(parser, scene, **keys):
    return make_work_config({'model_file': 'model', 'dnn_Parser': parser,
                             'class_num': scene.class_num, **keys}, require_model=False)


def assert_same(boxes, expected, tolerance=1e-3):
    assert len(boxes) == len(expected) > 0
    assert boxes.class_id.tolist() == [found.class_id for found in expected]
    np.testing.assert_allclose(boxes.xyxy_model, [found.box for found in expected], rtol=0,
                               atol=tolerance)
    np.testing.assert_allclose(boxes.score, [found.score for found in expected], rtol=0, atol=1e-3)


def expected_of(scene, threshold):
    return reference.candidates(scene.real, scene.strides, scene.reg_max, threshold)


@pytest.mark.parametrize('form', ['1CN', '1CN1', '1NC'])
@pytest.mark.parametrize('parser', ['yolo26e_seg', 'yolov8_seg', 'yolo26_seg'])
def test_segmentation(parser, form):
    scene = scene_of()
    outputs = outputs_of(scene, form)
    decoder = make_decoder(specs_of(outputs), SIZE_WH, config(parser, scene))
    boxes = decoder.decode(outputs, DecodeSettings(0.25))
    expected = expected_of(scene, 0.25)
    assert isinstance(decoder, CombinedDecoder)
    assert (decoder.suppressed, decoder.has_masks) == (False, True)
    assert_same(boxes, expected)
    assert_mask_logits(decoder.mask_basis(outputs, boxes), scene, expected)


def assert_mask_logits(basis, scene, expected, tolerance=1e-3):
    logits = np.asarray(basis.proto, np.float32) @ basis.coefficients.T + basis.bias
    for i, found in enumerate(expected):
        coefficients = scene.real['mc', found.stride][found.row, found.column]
        np.testing.assert_allclose(logits[..., i], scene.real[PROTO] @ coefficients, rtol=0,
                                   atol=tolerance)


@pytest.mark.parametrize('parser', ['yolov8', 'yolov11', 'ultralytics_yolo', 'yolov10'])
def test_detection(parser):
    scene = scene_of(masks=False)
    outputs = outputs_of(scene)
    decoder = make_decoder(specs_of(outputs), SIZE_WH, config(parser, scene))
    assert_same(decoder.decode(outputs, DecodeSettings(0.25)), expected_of(scene, 0.25))
    assert (decoder.suppressed, decoder.has_masks) == (parser == 'yolov10', False)


def test_half_precision():
    scene = scene_of()
    outputs = outputs_of(scene, dtype=np.float16)
    decoder = make_decoder(specs_of(outputs), SIZE_WH, config('yolo26e_seg', scene))
    found = decoder.decode(outputs, DecodeSettings(0.25))
    assert_same(found, expected_of(scene, 0.25), tolerance=0.2)


@pytest.mark.parametrize('form', ['1CN1', '1NC'])
@pytest.mark.parametrize('per_channel', [True, False])
def test_integers_with_scales(form, per_channel):
    scene = scene_of()
    real = outputs_of(scene, form)
    axis = 1 if form == '1CN1' else 2
    channels = real[0].shape[axis]
    scale = np.geomspace(1e-5, 4e-5, channels) if per_channel else np.array([1e-5])
    shape = [1] * real[0].ndim
    shape[axis] = -1
    zero_point = np.int32([5]) if per_channel else np.int32([0])
    stored = [np.round(real[0] / scale.reshape(shape) + 5 * per_channel).astype(np.int32),
              np.round(real[1] / 1e-4).astype(np.int16)]
    quantization = Quantization(scale.astype(np.float32),
                                np.resize(zero_point, scale.size) if per_channel else None,
                                axis if per_channel else None)
    specs = specs_of(stored, (quantization, Quantization(np.float32([1e-4]))))
    decoder = make_decoder(specs, SIZE_WH, config('yolo26e_seg', scene))
    boxes, expected = decoder.decode(stored, DecodeSettings(0.25)), expected_of(scene, 0.25)
    assert_same(boxes, expected, tolerance=2e-3)
    assert_mask_logits(decoder.mask_basis(stored, boxes), scene, expected, tolerance=0.01)


def test_the_list_may_come_second_and_the_proto_channels_last():
    scene = scene_of()
    rows, proto = outputs_of(scene)
    outputs = [np.ascontiguousarray(proto.transpose(0, 2, 3, 1)), rows]
    decoder = make_decoder(specs_of(outputs), SIZE_WH, config('yolov8_seg', scene))
    boxes, expected = decoder.decode(outputs, DecodeSettings(0.25)), expected_of(scene, 0.25)
    assert_same(boxes, expected)
    assert_mask_logits(decoder.mask_basis(outputs, boxes), scene, expected)
    assert decoder.describe() == [(0, 'proto NHWC'),
                                  (1, 'boxes, scores, mask coefficients of all cells')]


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_give_no_box(bad):
    scene = scene_of()
    outputs = outputs_of(scene)
    decoder = make_decoder(specs_of(outputs), SIZE_WH, config('yolov8_seg', scene))
    good = decoder.decode(outputs, DecodeSettings(0.25)).source.tolist()
    outputs[0][0, 0, good[0]] = bad
    outputs[0][0, 4:4 + scene.class_num, good[1]] = bad
    assert decoder.decode(outputs, DecodeSettings(0.25)).source.tolist() == good[2:]


def test_wanted_classes_and_best_candidates():
    scene = scene_of()
    outputs = outputs_of(scene)
    decoder = make_decoder(specs_of(outputs), SIZE_WH, config('yolov8_seg', scene))
    wanted = scene.objects[0].class_id
    settings = DecodeSettings(0.25, max_candidates=2, classes=frozenset([wanted]))
    expected = sorted((one for one in expected_of(scene, 0.25) if one.class_id == wanted),
                      key=lambda one: -one.score)[:2]
    boxes = decoder.decode(outputs, settings)
    assert_same(boxes.take(np.argsort(-boxes.score)), expected)


@pytest.mark.parametrize('keys', [{'class_num': 6}, {'strides': [8, 16]}, {'num_mask': 16}])
def test_what_does_not_fit_is_refused(keys):
    scene = scene_of()
    outputs = outputs_of(scene)
    with pytest.raises(ModelError) as error:
        make_decoder(specs_of(outputs), SIZE_WH, config('yolov8_seg', scene, **keys))
    channels = 4 + keys.get('class_num', scene.class_num) + keys.get('num_mask', 32)
    assert f'or, decoded in the model: a list 1x{channels}x(cells of all strides)' in str(
        error.value)


def test_a_scale_count_that_is_not_that_of_the_channels_is_refused():
    scene = scene_of()
    outputs = [out.astype(np.int32) for out in outputs_of(scene)]
    cells = Quantization(np.full(outputs[0].shape[2], 1e-4, np.float32), None, 2)
    with pytest.raises(ModelError, match='decoded in the model'):
        make_decoder(specs_of(outputs, (cells, Quantization(np.float32([1.0])))), SIZE_WH,
                     config('yolov8_seg', scene))


@pytest.mark.parametrize('count', [2, 5, 10])
def test_model_output_count_of_the_tros_parser(count):
    assert config('yolo26e_seg', scene_of(), model_output_count=count).num_mask == 32
