"""YOLOv8, YOLO11 and YOLO26 heads: everything dequantised, every cell decoded, one by one."""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .geometry import box_in_image, iou


class Found(NamedTuple):
    """One candidate or detection; ``box`` is in model pixels."""

    box: tuple[float, float, float, float]
    score: float
    class_id: int
    stride: int
    row: int
    column: int


def dequantise(stored, scale=1.0, zero_point=0, axis=None) -> np.ndarray:
    """real = (stored - zero point) * scale, with one of each, or one per channel along ``axis``."""
    real = np.asarray(stored, np.float64)

    def along_axis(values):
        shape = [1] * real.ndim
        if np.size(values) > 1:
            shape[axis] = np.size(values)
        return np.reshape(np.asarray(values, np.float64), shape)

    return (real - along_axis(zero_point)) * along_axis(scale)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def softmax_expectation(logits) -> float:
    """Expectation of the bin number under the softmax of ``logits`` (Distribution Focal Loss)."""
    weights = [math.exp(x - max(logits)) for x in logits]
    return sum(j * w for j, w in enumerate(weights)) / sum(weights)


def cell_box(values, reg_max, row, column, stride):
    """Model-pixel box of a cell from its 4 * reg_max box values, in the order l, t, r, b."""
    sides = [values[i * reg_max:(i + 1) * reg_max] for i in range(4)]
    left, top, right, bottom = (side[0] if reg_max == 1 else softmax_expectation(side)
                                for side in sides)
    return ((column + 0.5 - left) * stride, (row + 0.5 - top) * stride,
            (column + 0.5 + right) * stride, (row + 0.5 + bottom) * stride)


def candidates(real: dict, strides, reg_max, score_threshold, classes=None) -> list[Found]:
    """Every cell at or above the threshold, by stride, row and column.

    :param real: (role, stride) -> (h, w, channels) float64.
    """
    found = []
    for stride in sorted(strides):
        class_head, box_head = real['cls', stride], real['box', stride]
        for row, column in np.ndindex(*class_head.shape[:2]):
            values = class_head[row, column]
            finite = [(x, -c) for c, x in enumerate(values) if math.isfinite(x)]
            if not finite or not np.isfinite(box_head[row, column]).all():
                continue
            best, class_id = max(finite)[0], -max(finite)[1]
            if sigmoid(best) < score_threshold or (classes is not None and class_id not in classes):
                continue
            box = cell_box(list(box_head[row, column]), reg_max, row, column, stride)
            if box[2] > box[0] and box[3] > box[1]:
                found.append(Found(box, sigmoid(best), class_id, stride, row, column))
    return found


def suppress(found: list[Found], iou_threshold, class_agnostic=False) -> list[Found]:
    """Greedy: best first, a box goes if it overlaps a kept one of its class too much."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda f: -f.score):
        rivals = [k for k in kept if class_agnostic or k.class_id == one.class_id]
        if all(iou(one.box, k.box) <= iou_threshold for k in rivals):
            kept.append(one)
    return kept


def detections(real, strides, reg_max, placement, *, score_threshold=0.25, nms_threshold=0.7,
               class_agnostic=False, classes=None, max_candidates=2000, max_detections=300):
    """Kept candidates and their boxes in picture pixels, by falling score."""
    found = candidates(real, strides, reg_max, score_threshold, classes)
    found = sorted(found, key=lambda f: -f.score)[:max_candidates]
    kept = suppress(found, nms_threshold, class_agnostic)
    pairs = [(one, box_in_image(placement, one.box)) for one in kept]
    inside = [(one, box) for one, box in pairs if box[2] > box[0] and box[3] > box[1]]
    return inside[:max_detections]
