"""Masks against the float64 reference over the whole picture."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.geometry import place
from reference.masks import full_mask, mask_iou, proto_grid

from yolo_seg_node.letterbox import MODES, make_letterbox
from yolo_seg_node.masks import MaskBasis, instance_masks

pytestmark = pytest.mark.filterwarnings('error')

MODEL = (640, 640)
SIZES = [(1280, 720), (1366, 768), (640, 480), (641, 479), (31, 17), (720, 1280), (1920, 1080),
         (16, 16), (640, 640), (1000, 601), (3, 500), (160, 90), (161, 91), (80, 45), (5, 3)]
# parts of the picture: middle, each border touched, whole, thin, less than a pixel of most sizes
BOXES = [(0.3, 0.2, 0.8, 0.9), (0, 0.1, 0.4, 0.6), (0.5, 0.5, 1, 1), (0, 0, 1, 1),
         (0.35, 0, 0.37, 1), (0.61, 0.61, 0.6105, 0.6105)]


def smooth_prototypes(model_wh=MODEL, channels=8, seed=0):
    """(ph, pw, channels) waves of several cells' length, so that edges are not all noise."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((model_wh[1] // 4, model_wh[0] // 4))
    waves = [np.sin(x * a + y * b + c) for a, b, c in
             zip(rng.uniform(-0.5, 0.5, channels), rng.uniform(-0.5, 0.5, channels),
                 rng.uniform(0, 6, channels))]
    return np.stack(waves, -1) + rng.normal(0, 0.05, (*y.shape, channels))


def boxes_in(image_wh, parts=BOXES):
    return np.array(parts) * np.tile(image_wh, 2)


def full_size(masks, i):
    """Mask i on its whole grid."""
    crop, (x, y) = masks.crops[i], masks.origin_xy[i]
    canvas = np.zeros(masks.size_wh[::-1], bool)
    part = canvas[y:y + crop.shape[0], x:x + crop.shape[1]]
    assert part.shape == crop.shape, 'the crop reaches over the grid'
    part[:] = crop
    return canvas


def assert_matches(image_wh, model_wh, mode, at_source, xyxy, coefficients, proto, least=0.999):
    letterbox = make_letterbox(image_wh, model_wh, mode)
    basis = MaskBasis(coefficients.astype(np.float32), np.zeros(len(xyxy), np.float32),
                      proto.astype(np.float32))
    masks = instance_masks(basis, xyxy, letterbox, at_source)
    placement = place(image_wh, model_wh, mode)
    grid = image_wh if at_source else proto_grid(placement, (model_wh[0] // 4, model_wh[1] // 4))
    assert masks.size_wh == tuple(grid) and len(masks.crops) == len(xyxy)
    for i, box in enumerate(xyxy):
        expected = full_mask(coefficients[i], proto, box, placement, grid)
        found = full_size(masks, i)
        # one pixel of a tiny mask may lie on the edge to the last digit
        assert mask_iou(found, expected) >= least or np.count_nonzero(found ^ expected) <= 1, i


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('at_source', [True, False])
@pytest.mark.parametrize('image_wh', SIZES)
def test_masks_are_those_of_the_reference(image_wh, at_source, mode):
    rng = np.random.default_rng(1)
    coefficients = rng.normal(0, 1, (len(BOXES), 8))
    assert_matches(image_wh, MODEL, mode, at_source, boxes_in(image_wh), coefficients,
                   smooth_prototypes())


def test_masks_of_a_4k_picture():
    rng = np.random.default_rng(2)
    coefficients = rng.normal(0, 1, (2, 8))
    assert_matches((3840, 2160), MODEL, 'letterbox', True,
                   boxes_in((3840, 2160), BOXES[:1] + BOXES[3:4]), coefficients,
                   smooth_prototypes())


@settings(max_examples=150)
@given(st.tuples(*[st.integers(1, 700)] * 2), st.tuples(*[st.integers(1, 12)] * 2),
       st.sampled_from(MODES), st.booleans(), st.integers(0, 1000),
       st.tuples(*[st.floats(0, 1)] * 4))
def test_masks_of_any_picture_model_and_box(image_wh, model_32, mode, at_source, seed, parts):
    model_wh = (32 * model_32[0], 32 * model_32[1])
    parts = [min(parts[::2]), min(parts[1::2]), max(parts[::2]), max(parts[1::2])]
    coefficients = np.random.default_rng(seed).normal(0, 1, (1, 8))
    assert_matches(image_wh, model_wh, mode, at_source, boxes_in(image_wh, [parts]), coefficients,
                   smooth_prototypes(model_wh, seed=seed))


@pytest.mark.parametrize('dtype, zero_point', [(np.int16, 0), (np.int16, -3000), (np.int8, 17),
                                               (np.uint8, 128), (np.int32, 100000)])
def test_integer_prototypes_with_a_zero_point(dtype, zero_point):
    proto = smooth_prototypes()
    scale = 4.4 / min(np.iinfo(dtype).max, 20000) / 2
    stored = np.clip(np.round(proto / scale) + zero_point, np.iinfo(dtype).min,
                     np.iinfo(dtype).max).astype(dtype)
    real = (stored.astype(float) - zero_point) * scale
    image_wh, placement = (1366, 768), place((1366, 768), MODEL)
    coefficients = np.random.default_rng(3).normal(0, 1, (len(BOXES), 8))
    folded = (coefficients * scale).astype(np.float32)
    bias = -folded.sum(axis=1) * np.float32(zero_point)
    xyxy = boxes_in(image_wh)
    masks = instance_masks(MaskBasis(folded, bias, stored), xyxy,
                           make_letterbox(image_wh, MODEL))
    for i, box in enumerate(xyxy):
        expected = full_mask(coefficients[i], real, box, placement)
        assert mask_iou(full_size(masks, i), expected) >= 0.999


def test_prototypes_in_any_memory_order():
    proto = smooth_prototypes()
    xyxy, letterbox = boxes_in((640, 480)), make_letterbox((640, 480), MODEL)
    coefficients = np.random.default_rng(4).normal(0, 1, (len(BOXES), 8)).astype(np.float32)
    bias = np.zeros(len(BOXES), np.float32)
    last = np.ascontiguousarray(proto, np.float32)
    first = np.ascontiguousarray(proto.transpose(2, 0, 1), np.float32).transpose(1, 2, 0)
    padded = np.zeros((160, 160, 11), np.float32)
    padded[..., :8] = proto
    drawn = [instance_masks(MaskBasis(coefficients, bias, p), xyxy, letterbox)
             for p in (last, first, padded[..., :8])]
    for other in drawn[1:]:
        for i in range(len(xyxy)):
            assert np.count_nonzero(full_size(other, i) ^ full_size(drawn[0], i)) <= 1


def test_a_mask_never_leaves_its_box():
    letterbox = make_letterbox((640, 480), MODEL)
    everywhere = MaskBasis(np.ones((1, 1), np.float32), np.zeros(1, np.float32),
                           np.ones((160, 160, 1), np.float32))
    masks = instance_masks(everywhere, np.array([[10.2, 20.7, 13.0, 22.1]]), letterbox)
    assert masks.origin_xy.tolist() == [[11, 21]]
    assert masks.crops[0].tolist() == [[True, True]] * 2  # columns 11 and 12, rows 21 and 22


def test_boxes_between_pixel_columns_have_no_mask_pixels():
    letterbox = make_letterbox((640, 480), MODEL)
    everywhere = MaskBasis(np.ones((2, 1), np.float32), np.zeros(2, np.float32),
                           np.ones((160, 160, 1), np.float32))
    masks = instance_masks(everywhere, np.array([[5.1, 5.1, 5.9, 9.0], [639.5, 2, 640, 9]]),
                           letterbox)
    assert masks.area().tolist() == [0, 0]
    assert not masks.draw(np.array([1, 2], np.uint8), np.uint8).any()


def test_no_instances():
    masks = instance_masks(MaskBasis(np.zeros((0, 8), np.float32), np.zeros(0, np.float32),
                                     np.zeros((160, 160, 8), np.float32)),
                           np.zeros((0, 4)), make_letterbox((640, 480), MODEL))
    assert masks.crops == () and masks.origin_xy.shape == (0, 2)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('image_wh', [(1280, 720), (1366, 768), (641, 479)])
def test_what_is_not_finite_is_no_object(bad, image_wh):
    proto = np.ones((160, 160, 2), np.float32)
    proto[75:80, 60:70, 0] = bad
    coefficients = np.array([[1, 0.5], [bad, 0.5], [1, bad], [-1, 0.1]], np.float32)
    masks = instance_masks(MaskBasis(coefficients, np.zeros(4, np.float32), proto),
                           boxes_in(image_wh, [(0, 0, 1, 1)] * 4), make_letterbox(image_wh, MODEL))
    area = masks.area()
    assert area[1] == area[2] == area[3] == 0
    whole = full_size(masks, 0)
    letterbox = make_letterbox(image_wh, MODEL)
    hole = letterbox.image_from_model(4 * np.array([[60, 75, 70, 80]]))[0]
    x0, y0, x1, y1 = hole.round().astype(int)
    assert not whole[y0:y1, x0:x1].any()
    near = 4 * letterbox.image_wh[0] / letterbox.content_wh[0] + 1  # half a cell, and rounding
    lost = np.argwhere(~whole)
    assert lost.min(axis=0)[0] >= y0 - near and lost.max(axis=0)[0] <= y1 + near
    assert lost.min(axis=0)[1] >= x0 - near and lost.max(axis=0)[1] <= x1 + near


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('dtype', [np.float32, np.int16])
def test_coefficients_that_are_not_finite_make_an_empty_crop(bad, dtype):
    basis = MaskBasis(np.float32([[bad, 1], [1, 1]]), np.zeros(2, np.float32),
                      np.ones((160, 160, 2), dtype))
    masks = instance_masks(basis, np.array([[10, 20, 30, 40.0]] * 2), make_letterbox(MODEL, MODEL))
    assert [crop.size for crop in masks.crops] == [0, 400]
