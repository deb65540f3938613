"""Placement of a picture in the model input, and coordinates there and back."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_seg_node.letterbox import LETTERBOX, MODES, STRETCH, TOP_LEFT, make_letterbox

# worked out by hand: picture, model, mode, align, content, padding
PLACEMENTS = [
    ((1280, 720), (640, 640), LETTERBOX, 1, (640, 360), (0, 140)),
    ((1920, 1080), (640, 640), LETTERBOX, 2, (640, 360), (0, 140)),
    ((720, 1280), (640, 640), LETTERBOX, 1, (360, 640), (140, 0)),
    ((1366, 768), (640, 640), LETTERBOX, 1, (640, 360), (0, 140)),
    ((641, 479), (640, 640), LETTERBOX, 1, (640, 478), (0, 81)),
    ((641, 479), (640, 640), LETTERBOX, 2, (640, 478), (0, 80)),
    ((31, 17), (640, 640), LETTERBOX, 1, (640, 351), (0, 144)),
    ((31, 17), (640, 640), LETTERBOX, 2, (640, 350), (0, 144)),
    ((16, 16), (640, 384), LETTERBOX, 1, (384, 384), (128, 0)),
    ((640, 640), (640, 640), LETTERBOX, 2, (640, 640), (0, 0)),
    ((1, 1), (320, 320), LETTERBOX, 1, (320, 320), (0, 0)),
    ((10000, 1), (640, 640), LETTERBOX, 1, (640, 1), (0, 319)),
    ((10000, 1), (640, 640), LETTERBOX, 2, (640, 2), (0, 318)),
    ((1280, 720), (640, 640), TOP_LEFT, 1, (640, 360), (0, 0)),
    ((720, 1280), (640, 384), TOP_LEFT, 2, (216, 384), (0, 0)),
    ((1280, 720), (640, 640), STRETCH, 1, (640, 640), (0, 0)),
    ((31, 17), (640, 384), STRETCH, 2, (640, 384), (0, 0)),
]

sizes = st.tuples(st.integers(1, 8192), st.integers(1, 8192))
model_sizes = st.tuples(*[st.integers(1, 64).map(lambda n: 32 * n)] * 2)
modes = st.sampled_from(MODES)
aligns = st.sampled_from([1, 2])


@pytest.mark.parametrize('image, model, mode, align, content, pad', PLACEMENTS)
def test_placement(image, model, mode, align, content, pad):
    placed = make_letterbox(image, model, mode, align)
    assert (placed.content_wh, placed.pad_xy) == (content, pad)


@given(sizes, model_sizes, modes, aligns,
       st.lists(st.tuples(*[st.floats(-2, 3)] * 4), min_size=2, max_size=5))
def test_there_and_back_is_the_same_place(image, model, mode, align, parts):
    letterbox = make_letterbox(image, model, mode, align)
    xyxy_image = np.array(parts) * np.tile(image, 2)
    back = letterbox.image_from_model(letterbox.model_from_image(xyxy_image))
    np.testing.assert_allclose(back, xyxy_image, atol=1e-3, rtol=0)


@given(sizes, model_sizes, modes, aligns)
def test_corners_of_the_picture_are_corners_of_the_content(image, model, mode, align):
    letterbox = make_letterbox(image, model, mode, align)
    corners = letterbox.model_from_image(np.array([[0, 0, *image]]))[0]
    (x, y), (width, height) = letterbox.pad_xy, letterbox.content_wh
    np.testing.assert_allclose(corners, [x, y, x + width, y + height], rtol=1e-12)


@given(sizes, model_sizes, modes, aligns)
def test_content_is_aligned_and_inside_the_model_input(image, model, mode, align):
    letterbox = make_letterbox(image, model, mode, align)
    for pad, content, limit in zip(letterbox.pad_xy, letterbox.content_wh, model):
        assert pad >= 0 and content >= 1 and pad + content <= limit
        assert pad % align == content % align == 0
        assert mode != LETTERBOX or abs((limit - content) - 2 * pad) < 2 * align


@given(sizes, model_sizes, aligns)
def test_letterbox_keeps_the_aspect_and_touches_one_pair_of_borders(image, model, align):
    letterbox = make_letterbox(image, model, LETTERBOX, align)
    gain = min(m / i for m, i in zip(model, image))
    assert any(c == m for c, m in zip(letterbox.content_wh, model))
    for content, size in zip(letterbox.content_wh, image):
        assert abs(content - size * gain) <= align


def test_boxes_are_cut_at_the_picture():
    letterbox = make_letterbox((100, 50), (640, 640))
    boxes = np.array([[-5, -5, 300, 300], [10, 20, 30, 40]], np.float32)
    np.testing.assert_array_equal(letterbox.clip_to_image(boxes),
                                  [[0, 0, 100, 50], [10, 20, 30, 40]])


def test_float32_boxes_are_mapped_in_float64():
    letterbox = make_letterbox((1366, 768), (640, 640))
    boxes = np.array([[100, 200, 300, 400], [0, 140, 640, 500]], np.float32)
    assert letterbox.image_from_model(boxes).dtype == np.float64
    assert letterbox.model_from_image(boxes).dtype == np.float64
