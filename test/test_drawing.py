"""Overlays: what is drawn where, and in which colour."""

import numpy as np
import pytest

from yolo_seg_node.detections import Detections, Masks
from yolo_seg_node.drawing import MASK_OPACITY, class_colour, draw_overlay

NAMES = ('box', 'ball')
GREY = 90


def one_detection(image_wh=(200, 120), xyxy=(40, 50, 100, 100), masks=None, class_id=1):
    return Detections(image_wh, np.array([xyxy], np.float32), np.array([0.87], np.float32),
                      np.array([class_id], np.int32), masks)


def grey_picture(image_wh=(200, 120)):
    return np.full((image_wh[1], image_wh[0], 3), GREY, np.uint8)


def changed(picture, overlay):
    return (picture != overlay).any(axis=2)


def test_nothing_found_changes_nothing():
    picture = grey_picture()
    empty = Detections((200, 120), np.zeros((0, 4), np.float32), np.zeros(0, np.float32),
                       np.zeros(0, np.int32))
    overlay = draw_overlay(picture, empty, NAMES)
    np.testing.assert_array_equal(overlay, picture)
    assert overlay is not picture


def test_the_picture_itself_stays_as_it_is():
    picture = grey_picture()
    picture.flags.writeable = False
    overlay = draw_overlay(picture, one_detection(), NAMES)
    assert changed(picture, overlay).any()


def test_the_box_is_where_the_detection_is_and_of_its_class():
    picture = grey_picture()
    drawn = draw_overlay(picture, one_detection(), NAMES)
    for x, y in [(40, 75), (99, 75), (70, 99)]:
        np.testing.assert_array_equal(drawn[y, x], class_colour(1))
    below = changed(picture, drawn)[51:]
    rows, columns = np.flatnonzero(below.any(axis=1)) + 51, np.flatnonzero(below.any(axis=0))
    assert (rows[-1], columns[0], columns[-1]) == (99, 40, 99)
    np.testing.assert_array_equal(drawn[75, 70], [GREY] * 3)


def test_all_sides_of_a_box_as_large_as_the_picture_are_seen():
    drawn = draw_overlay(grey_picture(), one_detection(xyxy=(0, 0, 200, 120)), NAMES)
    for x, y in [(0, 60), (199, 60), (100, 0), (100, 119)]:
        np.testing.assert_array_equal(drawn[y, x], class_colour(1))


def test_the_mask_is_tinted_and_the_rest_of_the_box_is_not():
    crop = np.zeros((40, 40), bool)
    crop[:, :20] = True
    picture = grey_picture()
    drawn = draw_overlay(picture, one_detection(masks=Masks(
        (crop,), np.array([[50, 55]], np.int32), (200, 120))), NAMES)
    expected = GREY * (1 - MASK_OPACITY) + MASK_OPACITY * np.array(class_colour(1))
    np.testing.assert_allclose(drawn[75, 60], expected, atol=1)
    np.testing.assert_array_equal(drawn[75, 80], [GREY] * 3)


def test_a_coarse_mask_covers_the_same_part_of_the_picture():
    picture = grey_picture()
    drawn = draw_overlay(picture, one_detection(masks=Masks(
        (np.ones((10, 10), bool),), np.array([[12, 14]], np.int32), (50, 30))), NAMES)
    tinted = changed(picture, drawn)
    assert tinted[57:95, 49:87].all()
    assert not tinted[57:95, 92:98].any()


@pytest.mark.parametrize('image_wh', [(1, 1), (16, 9), (64, 48), (4000, 30)])
@pytest.mark.parametrize('crop', [np.zeros((0, 3), bool), np.ones((1, 1), bool)])
def test_tiny_pictures_and_empty_masks(image_wh, crop):
    masks = Masks((crop,), np.array([[0, 0]], np.int32), image_wh)
    found = one_detection(image_wh, (0, 0, *image_wh), masks)
    drawn = draw_overlay(grey_picture(image_wh), found, NAMES)
    assert drawn.shape == (image_wh[1], image_wh[0], 3)


def test_labels_stay_inside_the_picture():
    """The text of a box in any corner can be read: its background is not cut."""
    picture = grey_picture((400, 300))
    areas = set()
    for xyxy in [(0, 0, 30, 20), (370, 0, 400, 20), (0, 280, 30, 300), (370, 280, 400, 300)]:
        drawn = draw_overlay(picture, one_detection((400, 300), xyxy), NAMES)
        label = (drawn == class_colour(1)).all(axis=2) | (drawn == 255).all(axis=2) | (
            drawn == 0).all(axis=2)
        areas.add(int(np.flatnonzero(label.any(axis=0)).size))
    assert len(areas) == 1 and areas.pop() > 60


def test_a_class_without_a_name_shows_its_number():
    unnamed = draw_overlay(grey_picture(), one_detection(class_id=7), NAMES)
    named = draw_overlay(grey_picture(), one_detection(class_id=7), tuple('01234567'))
    np.testing.assert_array_equal(unnamed, named)


def test_the_better_detection_lies_on_top():
    both = Detections((200, 120), np.array([[40, 50, 100, 100]] * 2, np.float32),
                      np.array([0.9, 0.5], np.float32), np.array([0, 1], np.int32))
    drawn = draw_overlay(grey_picture(), both, NAMES)
    np.testing.assert_array_equal(drawn[75, 40], class_colour(0))


def test_neighbouring_classes_have_colours_of_their_own():
    colours = np.array([class_colour(i) for i in range(80)], int)
    distance = np.abs(colours[:, None] - colours[None]).sum(axis=2)
    assert (distance[np.triu_indices(80, 1)] > 0).all()
    assert np.diagonal(distance, 1).min() > 150
