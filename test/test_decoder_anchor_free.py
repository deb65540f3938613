"""Anchor-free segmentation heads: golden tensors of every form against the plain decoder."""
import numpy as np
import pytest
from heads_factory import Form, make_scene, store
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import anchor_free as reference

from yolo_seg_node.decoders import DecodeSettings
from yolo_seg_node.decoders.anchor_free import make_anchor_free
from yolo_seg_node.decoders.base import usable
from yolo_seg_node.decoders.scores import ClassScan, logit, sigmoid
from yolo_seg_node.tensors import Quantization, TensorSpec

pytestmark = pytest.mark.filterwarnings('error')

ROLES = ('cls', 'box', 'mc', 'proto')
ALL = 100000


def decoder_of(stored, output_order=None):
    scene = stored.scene
    return make_anchor_free(
        stored.specs, scene.size_wh, class_num=scene.class_num, reg_max=scene.reg_max,
        strides=scene.strides, num_mask=scene.num_mask, output_order=output_order)


def decoded(stored, output_order=None, **limits):
    """Candidates by stride, row and column."""
    limits = {'score_threshold': 0.25, 'max_candidates': ALL, **limits}
    boxes = decoder_of(stored, output_order).decode(stored.arrays, DecodeSettings(**limits))
    return boxes.take(np.argsort(boxes.source))


def assert_same(boxes, expected, pixels=1e-3):
    assert len(boxes) == len(expected)
    assert boxes.class_id.tolist() == [found.class_id for found in expected]
    xyxy = np.array([found.box for found in expected]).reshape(-1, 4)
    np.testing.assert_allclose(boxes.xyxy_model, xyxy, rtol=0, atol=pixels)
    np.testing.assert_allclose(boxes.score, [found.score for found in expected], rtol=0, atol=1e-5)
    assert boxes.xyxy_model.dtype == boxes.score.dtype == np.float32
    assert (boxes.class_id.dtype, boxes.source.dtype) == (np.int32, np.int64)


def assert_golden(stored, threshold=0.25, output_order=None):
    """Boxes, and the mask logits of some of them over the whole proto."""
    scene = stored.scene
    expected = reference.candidates(stored.real, scene.strides, scene.reg_max, threshold)
    assert expected
    boxes = decoded(stored, output_order, score_threshold=threshold)
    assert_same(boxes, expected)
    if not scene.num_mask:
        return
    basis = decoder_of(stored, output_order).mask_basis(stored.arrays, boxes)
    logits = np.asarray(basis.proto, np.float32) @ basis.coefficients[-3:].T + basis.bias[-3:]
    for i, found in enumerate(expected[-3:]):
        coefficients = stored.real['mc', found.stride][found.row, found.column]
        np.testing.assert_allclose(logits[..., i], stored.real['proto', 4] @ coefficients, rtol=0,
                                   atol=5e-3)


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('order', ['tros', 'rdk_v8', 'vacc', 'kinds', 'reversed',
                                   (4, 2, 9, 0, 7, 5, 3, 8, 6, 1)])
@pytest.mark.parametrize('batch', [True, False])
def test_layouts_and_orders(layout, order, batch):
    assert_golden(store(make_scene(size_wh=(352, 224)), Form(order, layout, batch=batch)))


@pytest.mark.parametrize('layout, proto_layout', [('NHWC', 'NCHW'), ('NCHW', 'NHWC')])
def test_prototypes_of_the_other_layout(layout, proto_layout):
    assert_golden(store(make_scene(size_wh=(320, 256)), Form('tros', layout, proto_layout)))


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('per_channel', [frozenset(), frozenset(ROLES), frozenset(['box', 'mc'])],
                         ids=['per tensor', 'per channel', 'box and mc per channel'])
@pytest.mark.parametrize('zero_points', [frozenset(), frozenset(ROLES)], ids=['no zero', 'zero'])
@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'int16', 'uint16', 'int32'])
def test_integer_heads(dtype, zero_points, per_channel, layout):
    form = Form('tros', layout, dtypes=dict.fromkeys(ROLES, dtype), per_channel=per_channel,
                zero_points=zero_points)
    assert_golden(store(make_scene(size_wh=(224, 160)), form))


@pytest.mark.parametrize('dtypes', [
    dict.fromkeys(ROLES, 'float16'), {'box': 'int32', 'mc': 'int32'},
    {'box': 'int32', 'mc': 'int32', 'proto': 'int16'}, {'proto': 'int8'}, {'cls': 'int8'},
    {'box': 'float16', 'mc': 'int16', 'proto': 'uint8'}, dict.fromkeys(ROLES, 'float64')])
def test_mixed_dtypes(dtypes):
    assert_golden(store(make_scene(), Form('tros', dtypes=dtypes, per_channel=frozenset(['mc']))))


@pytest.mark.parametrize('class_num', [1, 2, 3, 4, 32, 64, 80])
@pytest.mark.parametrize('reg_max', [1, 8, 16])
def test_class_counts_and_distributions(class_num, reg_max):
    order = None if class_num not in (4, 32, 64) else range(10)
    assert_golden(store(make_scene(class_num=class_num, reg_max=reg_max)), output_order=order)


@pytest.mark.parametrize('strides', [(8,), (8, 16), (8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64)])
@pytest.mark.parametrize('num_mask', [None, 12, 32])
def test_strides(strides, num_mask):
    assert_golden(store(make_scene(strides=strides, num_mask=num_mask, size_wh=(256, 192))))


@pytest.mark.parametrize('size_wh', [(64, 64), (32, 96), (640, 384), (96, 544), (1280, 32)])
def test_input_sizes(size_wh):
    assert_golden(store(make_scene(size_wh=size_wh), Form('tros', 'NCHW')), threshold=0.1)


def test_strides_in_any_order_are_sorted():
    stored = store(make_scene())
    scene = stored.scene
    decoder = make_anchor_free(stored.specs, scene.size_wh, class_num=scene.class_num,
                               reg_max=16, strides=(32, 8, 16), num_mask=32)
    assert [level.stride for level in decoder.levels] == [8, 16, 32]


def test_describe_names_the_role_of_each_output():
    roles = decoder_of(store(make_scene(), Form('tros', 'NHWC', 'NCHW'))).describe()
    assert roles[:2] == [(0, 'cls stride 8 NHWC'), (1, 'box stride 8 NHWC')]
    assert roles[-1] == (9, 'proto stride 4 NCHW') and [i for i, _ in roles] == list(range(10))


INTEGER_CLASSES = Form('tros', dtypes={'cls': 'int8'}, per_channel=frozenset(['cls']),
                       zero_points=frozenset(['cls']))


@settings(max_examples=40)
@given(st.integers(0, 1000), st.floats(0.01, 0.99),
       st.sampled_from([Form(), Form(layout='NCHW'), INTEGER_CLASSES,
                        Form(dtypes={'cls': 'float16'})]))
def test_any_threshold_keeps_the_cells_that_reach_it(seed, threshold, form):
    stored = store(make_scene(seed, size_wh=(64, 64)), form)
    scene = stored.scene
    expected = reference.candidates(stored.real, scene.strides, scene.reg_max, threshold)
    scores = [found.score for found in reference.candidates(stored.real, scene.strides, 16, 0)]
    if min(abs(score - threshold) for score in scores) > 1e-6:  # else rounding decides
        assert_same(decoded(stored, score_threshold=threshold), expected)


@pytest.mark.parametrize('form', [Form(), INTEGER_CLASSES, Form(layout='NCHW')])
@pytest.mark.parametrize('threshold, count', [(0, 84), (1, 0)])
def test_the_ends_of_the_threshold(form, threshold, count):
    """64x64 pixels are 64 + 16 + 4 cells."""
    stored = store(make_scene(size_wh=(64, 64)), form)
    assert len(decoded(stored, score_threshold=threshold)) == count


def test_a_score_at_the_threshold_stays():
    stored = store(make_scene(objects=0, num_mask=None, size_wh=(32, 32), strides=(8,)))
    stored.arrays[0][0, 1, 2, 3] = 0.0
    assert decoded(stored, score_threshold=0.5).score.tolist() == [0.5]
    assert len(decoded(stored, score_threshold=0.5000001)) == 0


def test_of_equal_classes_the_first_counts():
    stored = store(make_scene(objects=0, num_mask=None, size_wh=(32, 32), strides=(8,)))
    stored.arrays[0][0, 1, 2, [1, 3]] = 2.0
    assert decoded(stored).class_id.tolist() == [1]


def test_the_class_filter():
    stored = store(make_scene(class_num=3, objects=9))
    expected = reference.candidates(stored.real, (8, 16, 32), 16, 0.25, classes={0, 2})
    assert {found.class_id for found in expected} == {0, 2}
    assert_same(decoded(stored, classes=frozenset([0, 2])), expected)
    assert len(decoded(stored, classes=frozenset())) == 0


@pytest.mark.parametrize('limit', [1, 5, 12])
def test_only_the_best_candidates_go_on(limit):
    stored = store(make_scene())
    found = reference.candidates(stored.real, (8, 16, 32), 16, 0.25)
    best = sorted(found, key=lambda one: -one.score)[:limit]
    assert_same(decoded(stored, max_candidates=limit), [one for one in found if one in best])


def test_the_class_filter_goes_before_the_limit():
    stored = store(make_scene(class_num=3, objects=9))
    found = reference.candidates(stored.real, (8, 16, 32), 16, 0.25, classes={1})
    best = sorted(found, key=lambda one: -one.score)[:3]
    assert_same(decoded(stored, max_candidates=3, classes=frozenset([1])),
                [one for one in found if one in best])


@pytest.mark.parametrize('size', [59, 100, 1e4, 3e38])
def test_large_box_logits_do_not_overflow(size):
    stored = store(make_scene(num_mask=None))
    for s in (8, 16, 32):
        box = stored.arrays[stored.places['box', s]]
        box *= np.float32(size) / np.abs(box).max()
        stored.real['box', s] = box[0].astype(float)
    expected = reference.candidates(stored.real, (8, 16, 32), 16, 0.25)
    assert_same(decoded(stored), expected)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
def test_a_class_that_is_not_finite_is_not_seen(bad, layout):
    """The other classes of the cell still count."""
    scene = make_scene()
    for s in scene.strides:
        scene.real['cls', s][..., 0] = bad
    stored = store(scene, Form('tros', layout))
    expected = reference.candidates(stored.real, (8, 16, 32), 16, 0.25)
    assert expected and 0 not in {found.class_id for found in expected}
    assert_same(decoded(stored), expected)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('reg_max', [1, 16])
def test_a_box_that_is_not_finite_is_no_detection(bad, reg_max):
    scene = make_scene(reg_max=reg_max)
    expected = reference.candidates(scene.real, (8, 16, 32), reg_max, 0.25)
    broken = expected[::2]
    for found in broken:
        scene.real['box', found.stride][found.row, found.column, found.row % 4 * reg_max] = bad
    assert_same(decoded(store(scene)), [found for found in expected if found not in broken])


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_outputs_full_of_what_is_not_finite_give_nothing(bad, dtype):
    stored = store(make_scene(), Form(dtypes=dict.fromkeys(ROLES, dtype)))
    for array in stored.arrays:
        array[:] = bad
    assert len(decoded(stored, score_threshold=0)) == 0


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_a_cell_without_a_finite_class_is_no_detection_at_any_threshold(bad):
    stored = store(make_scene(num_mask=None))
    for s in (8, 16, 32):
        stored.arrays[stored.places['cls', s]][:] = bad
    stored.arrays[0][0, 5, 6, 1] = -9.0
    assert decoded(stored, score_threshold=0).source.tolist() == [5 * 32 + 6]


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from(['NHWC', 'NCHW']),
       st.sampled_from([1, 16]))
def test_any_bits_in_the_outputs_give_usable_boxes(seed, threshold, layout, reg_max):
    rng = np.random.default_rng(seed)
    stored = store(make_scene(size_wh=(64, 32), reg_max=reg_max), Form('tros', layout))
    for array in stored.arrays:
        array.view(np.uint32)[:] = rng.integers(0, 2**32, array.shape, np.uint32)
    boxes = decoded(stored, score_threshold=threshold)
    assert np.isfinite(boxes.xyxy_model).all() and np.isfinite(boxes.score).all()
    assert (boxes.xyxy_model[:, 2:] > boxes.xyxy_model[:, :2]).all()
    assert ((boxes.score >= threshold - 1e-6) & (boxes.score <= 1)).all()


@pytest.mark.parametrize('sides', [(-3, 1, 2, 1), (1, 1, -1, 1), (0.5, -2, 0.5, 2)])
def test_boxes_without_area_are_dropped(sides):
    """Without a distribution a model may give a box that is inside out."""
    stored = store(make_scene(objects=0, num_mask=None, reg_max=1, size_wh=(32, 32), strides=(8,)))
    stored.arrays[0][0, 1, 1:3, 0] = 3.0
    stored.arrays[1][0, 1, 1], stored.arrays[1][0, 1, 2] = sides, (1, 1, 1, 1)
    assert decoded(stored).xyxy_model.tolist() == [[12, 4, 28, 20]]


def test_masks_of_boxes_in_another_order():
    stored = store(make_scene(), Form(dtypes={'mc': 'int32', 'proto': 'int16'},
                                      per_channel=frozenset(['mc'])))
    decoder, boxes = decoder_of(stored), decoded(stored)
    some = np.array([7, 0, len(boxes) - 1, 3, 3])
    whole = decoder.mask_basis(stored.arrays, boxes)
    part = decoder.mask_basis(stored.arrays, boxes.take(some))
    np.testing.assert_array_equal(part.coefficients, whole.coefficients[some])
    assert decoder.mask_basis(stored.arrays, boxes.take(some[:0])).coefficients.shape == (0, 32)


def test_prototypes_are_not_copied():
    for layout in ('NHWC', 'NCHW'):
        stored = store(make_scene(), Form('tros', layout))
        basis = decoder_of(stored).mask_basis(stored.arrays, decoded(stored))
        assert np.shares_memory(basis.proto, stored.arrays[9]) and basis.proto.shape == (64, 64, 32)


def test_padded_outputs_are_read_by_their_strides():
    """Boards give views with a stride per pixel that is longer than the channels."""
    stored = store(make_scene(), Form(dtypes={'box': 'int32'}, per_channel=frozenset(['box'])))
    expected = decoded(stored)
    for i, array in enumerate(stored.arrays):
        padded = np.full((*array.shape[:-1], array.shape[-1] + 5), 77, array.dtype)
        padded[..., :-5] = array
        stored.arrays[i] = padded[..., :-5]
    boxes = decoded(stored)
    np.testing.assert_array_equal(boxes.xyxy_model, expected.xyxy_model)


@pytest.mark.parametrize('probability', [1e-9, 0.2, 0.5, 0.9, 1 - 1e-9])
def test_logit_and_sigmoid_undo_each_other(probability):
    assert sigmoid(np.float64(logit(probability))) == pytest.approx(probability, rel=1e-9)


def test_logit_and_sigmoid_at_their_ends():
    assert (logit(0), logit(1)) == (-np.inf, np.inf)
    assert sigmoid(np.float32([-1e30, -200, 0, 200, 1e30])).tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'int16', 'int32', 'uint32', 'int64'])
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('limit', [-1e12, -2.5, 0, 0.3, 7.7, 1e12])
def test_limits_beyond_the_integers_of_a_head(dtype, layout, limit):
    rng = np.random.default_rng(2)
    info, shape = np.iinfo(dtype), (1, 5, 6, 3) if layout == 'NHWC' else (1, 3, 5, 6)
    low, high = max(info.min, -2**31), min(info.max, 2**31 - 1)
    head = rng.integers(low, high + 1, shape, np.int64).astype(dtype)
    scale = np.float32([0.1, 1e-9, 5e-7])
    spec = TensorSpec('cls', shape, head.dtype, Quantization(scale, np.int32([3, 0, -9]),
                                                             3 if layout == 'NHWC' else 1))
    table = head[0] if layout == 'NHWC' else head[0].transpose(1, 2, 0)
    real = reference.dequantise(table, scale, [3, 0, -9], -1).reshape(-1, 3)
    cells, class_id, value = ClassScan(spec, 3, layout).hits(head, limit)
    expected = np.flatnonzero(real.max(axis=1) >= limit)
    assert cells.tolist() == expected.tolist()
    assert class_id.tolist() == real.argmax(axis=1)[expected].tolist()
    np.testing.assert_allclose(value, real.max(axis=1)[expected], rtol=1e-6)


@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'int16', 'int32', 'uint32', 'int64'])
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
def test_integer_cells_exactly_at_the_limit(dtype, layout):
    head = np.full((1, 4, 4, 4), 24, dtype)  # one unit below
    head[0, 1, 2, 3] = 25
    quantization = Quantization(np.float32([0.5]), np.int32([23]))
    spec = TensorSpec('cls', head.shape, head.dtype, quantization)
    cells, class_id, value = ClassScan(spec, 4, layout).hits(head, 1.0)
    cell, channel = (6, 3) if layout == 'NHWC' else (11, 1)
    assert (cells.tolist(), class_id.tolist(), value.tolist()) == ([cell], [channel], [1.0])


def test_usable_keeps_what_is_fine():
    stored = store(make_scene())
    boxes = decoded(stored)
    assert usable(boxes, None) is boxes
    only = usable(boxes, frozenset([int(boxes.class_id[0])]))
    assert set(only.class_id.tolist()) == {int(boxes.class_id[0])}
