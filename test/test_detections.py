"""Maps of the masks: who wins where they overlap, and which type holds the numbers."""
import numpy as np
import pytest

from yolo_seg_node.detections import Detections, Masks


def detections(crops, origins, size_wh, class_id=None, image_wh=None):
    count = len(crops)
    masks = Masks(tuple(crops), np.array(origins, np.int32).reshape(-1, 2), size_wh)
    return Detections(image_wh or size_wh, np.zeros((count, 4), np.float32),
                      np.linspace(1, 0.5, count, dtype=np.float32),
                      np.array(class_id if class_id is not None else [0] * count, np.int32), masks)


def square(size=2):
    return np.ones((size, size), bool)


def test_the_higher_score_wins_where_masks_overlap():
    found = detections([square(), square(3), square()], [(1, 1), (2, 1), (0, 0)], (5, 4),
                       class_id=[4, 0, 9])
    np.testing.assert_array_equal(found.instance_map(), [
        [3, 3, 0, 0, 0],
        [3, 1, 1, 2, 2],
        [0, 1, 1, 2, 2],
        [0, 0, 2, 2, 2]])
    np.testing.assert_array_equal(found.class_map(), [
        [10, 10, 0, 0, 0],
        [10, 5, 5, 1, 1],
        [0, 5, 5, 1, 1],
        [0, 0, 1, 1, 1]])


def test_holes_of_a_mask_show_what_is_below():
    ring = square(3)
    ring[1, 1] = False
    found = detections([ring, square(3)], [(0, 0), (0, 0)], (3, 3))
    np.testing.assert_array_equal(found.instance_map(), [[1, 1, 1], [1, 2, 1], [1, 1, 1]])


def test_area_counts_pixels_of_each_mask():
    found = detections([square(), np.zeros((0, 3), bool), np.zeros((2, 2), bool)],
                       [(0, 0), (1, 1), (1, 1)], (4, 4))
    assert found.masks.area().tolist() == [4, 0, 0]


@pytest.mark.parametrize('count, dtype', [(0, np.uint8), (254, np.uint8), (255, np.uint16),
                                          (300, np.uint16)])
def test_above_254_detections_the_instance_map_has_16_bits(count, dtype):
    crops = [np.ones((1, 1), bool)] * count
    drawn = detections(crops, [(i % 20, i // 20) for i in range(count)], (20, 16)).instance_map()
    assert drawn.dtype == dtype
    assert drawn.reshape(-1)[:count].tolist() == list(range(1, count + 1))
    assert not drawn.reshape(-1)[count:].any()


@pytest.mark.parametrize('class_id, dtype', [(0, np.uint8), (253, np.uint8), (254, np.uint16),
                                             (65533, np.uint16)])
def test_high_class_ids_make_the_class_map_16_bits(class_id, dtype):
    drawn = detections([square()], [(0, 0)], (3, 2), class_id=[class_id]).class_map()
    assert drawn.dtype == dtype
    assert drawn.tolist() == [[class_id + 1, class_id + 1, 0]] * 2


def test_without_detections_the_maps_are_empty():
    found = detections([], [], (4, 3))
    assert len(found) == 0
    assert found.instance_map().shape == found.class_map().shape == (3, 4)
    assert not found.instance_map().any() and not found.class_map().any()
