"""Suppression against the plain greedy rule."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.anchor_free import Found, suppress

from yolo_seg_node.nms import nms

NEAR = [[0, 0, 10, 10], [1, 0, 11, 10]]


def reference(xyxy, score, class_id, iou, agnostic=False):
    found = [Found(tuple(map(float, box)), float(s), int(c), i, 0, 0)
             for i, (box, s, c) in enumerate(zip(xyxy, score, class_id))]
    return [one.stride for one in suppress(found, iou, agnostic)]


def random_boxes(seed, count, spread=300):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-20, spread, (count, 2))
    return (np.concatenate([xy, xy + rng.uniform(5, 90, (count, 2))], 1).astype(np.float32),
            rng.uniform(0, 1, count).astype(np.float32), rng.integers(0, 3, count).astype(np.int32))


@pytest.mark.parametrize('iou', [0, 0.3, 0.5, 0.7, 1])
@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('count', [1, 2, 30, 300])
def test_same_boxes_in_the_same_order(iou, agnostic, count):
    xyxy, score, class_id = random_boxes(count, count)
    kept = nms(xyxy, score, class_id, iou, agnostic)
    assert kept.tolist() == reference(xyxy, score, class_id, iou, agnostic)
    assert kept.dtype == np.int64


def test_nothing_in_nothing_out():
    kept = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), 0.5)
    assert kept.shape == (0,) and kept.dtype == np.int64


@pytest.mark.parametrize('class_id, agnostic, expected', [
    ([0, 0], False, [1]), ([0, 7], False, [1, 0]), ([0, 7], True, [1])])
def test_classes_only_compete_when_asked(class_id, agnostic, expected):
    kept = nms(np.array(NEAR, np.float32), np.array([0.5, 0.9], np.float32),
               np.array(class_id, np.int32), 0.5, agnostic)
    assert kept.tolist() == expected


@pytest.mark.parametrize('limit, expected', [(0.5, [0, 1]), (0.499, [0])])
def test_a_box_at_exactly_the_limit_stays(limit, expected):
    xyxy = np.array([[0, 0, 30, 10], [10, 0, 40, 10]], np.float32)  # 20 of 40
    kept = nms(xyxy, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32), limit)
    assert kept.tolist() == expected


def test_equal_scores_keep_the_first():
    xyxy = np.array(NEAR * 3, np.float32)
    kept = nms(xyxy, np.full(6, 0.5, np.float32), np.array([0, 0, 1, 1, 2, 2], np.int32), 0.5)
    assert kept.tolist() == [0, 2, 4]


def test_scores_of_zero_are_kept():
    xyxy = np.array([[0, 0, 1, 1], [5, 5, 6, 6]], np.float32)
    assert nms(xyxy, np.zeros(2, np.float32), np.zeros(2, np.int32), 0.5).tolist() == [0, 1]


def test_a_wild_box_leaves_the_others_alone():
    xyxy, score, class_id = random_boxes(5, 60)
    class_id += 60000
    xyxy[7] = [-3e38, -1e30, 3e38, 2e38]
    others = np.arange(60) != 7
    kept = nms(xyxy, score, class_id, 0.5)
    expected = np.flatnonzero(others)[nms(xyxy[others], score[others], class_id[others], 0.5)]
    assert [i for i in kept if i != 7] == expected.tolist()


@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0, 1))
def test_kept_boxes_never_overlap_more_than_allowed(seed, count, iou):
    xyxy, score, class_id = random_boxes(seed, count, 60)
    kept = nms(xyxy, score, class_id, iou)
    assert reference(xyxy[kept], score[kept], class_id[kept], iou + 1e-5) == list(range(len(kept)))
    assert (np.diff(score[kept]) <= 0).all()
