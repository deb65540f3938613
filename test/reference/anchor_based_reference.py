"""YOLOv5 and YOLOv4 heads decoded one anchor at a time in Python floats, from the formulas alone.

YOLOv5 (v2.0 and later): xy = (2 s(t) - 0.5 + cell) * stride, wh = (2 s(t))^2 * anchor.
YOLOv4 of Tianxiaomo: xy = (s(t) + cell) * stride, wh = exp(t) * anchor.
Both: score = s(objectness) * s(class), s being the logistic function.
"""

import math
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np


class Box(NamedTuple):
    """A box in model pixels."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    class_id: int


def s(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def yolov5_centre_size(t: Sequence[float], column: int, row: int, stride: int,
                       anchor: Tuple[float, float]) -> Tuple[float, float, float, float]:
    return ((2 * s(t[0]) - 0.5 + column) * stride, (2 * s(t[1]) - 0.5 + row) * stride,
            (2 * s(t[2])) ** 2 * anchor[0], (2 * s(t[3])) ** 2 * anchor[1])


def yolov4_centre_size(t: Sequence[float], column: int, row: int, stride: int,
                       anchor: Tuple[float, float]) -> Tuple[float, float, float, float]:
    return ((s(t[0]) + column) * stride, (s(t[1]) + row) * stride,
            math.exp(t[2]) * anchor[0], math.exp(t[3]) * anchor[1])


def anchor_values(heads_chw: Sequence[np.ndarray], strides: Sequence[int],
                  anchors: Sequence[Sequence[Tuple[float, float]]]) -> Iterator[tuple]:
    """Values, column, row, stride and anchor, level by level, anchor by anchor, cell by cell.

    :param heads_chw: per stride the real values (anchors * (5 + classes), h, w).
    """
    for head, stride, level_anchors in zip(heads_chw, strides, anchors):
        height, width = head.shape[1:]
        values = head.reshape(len(level_anchors), -1, height, width).astype(float)
        for a, anchor in enumerate(level_anchors):
            for row in range(height):
                for column in range(width):
                    yield values[a, :, row, column].tolist(), column, row, stride, anchor


def decode(heads_chw: Sequence[np.ndarray], strides: Sequence[int],
           anchors: Sequence[Sequence[Tuple[float, float]]], threshold: float,
           centre_size: Callable = yolov5_centre_size) -> List[Box]:
    """All boxes whose best class scores at least ``threshold``; see ``anchor_values``."""
    boxes = []
    for t, *place in anchor_values(heads_chw, strides, anchors):
        scores = [s(t[4]) * s(logit) for logit in t[5:]]
        best = max(range(len(scores)), key=scores.__getitem__)
        if scores[best] >= threshold:
            x, y, w, h = centre_size(t, *place)
            boxes.append(Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2, scores[best], best))
    return boxes
