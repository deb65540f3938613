"""The end-to-end outputs of Tianxiaomo's YOLOv4, built and decoded from their definition.

``boxes`` holds x1, y1, x2, y2 as parts of the model input, ``confs`` objectness times class.
"""

from typing import List, Sequence, Tuple

import numpy as np

from reference.anchor_based_reference import Box, anchor_values, s, yolov4_centre_size


def end_to_end(heads_chw: Sequence[np.ndarray], strides: Sequence[int],
               anchors: Sequence[Sequence[Tuple[float, float]]],
               size_wh: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray]:
    """``boxes`` (1, n, 1, 4) and ``confs`` (1, n, classes) float32 that raw heads lead to."""
    boxes, confs = [], []
    for t, *place in anchor_values(heads_chw, strides, anchors):
        x, y, w, h = yolov4_centre_size(t, *place)
        boxes.append([[(x - w / 2) / size_wh[0], (y - h / 2) / size_wh[1],
                       (x + w / 2) / size_wh[0], (y + h / 2) / size_wh[1]]])
        confs.append([s(t[4]) * s(logit) for logit in t[5:]])
    return np.array([boxes], np.float32), np.array([confs], np.float32)


def decode(boxes: np.ndarray, confs: np.ndarray, size_wh: Tuple[int, int],
           threshold: float) -> List[Box]:
    """All boxes whose best class scores at least ``threshold``, in model pixels."""
    found = []
    for corners, scores in zip(boxes[0, :, 0].astype(float).tolist(), confs[0].tolist()):
        best = max(range(len(scores)), key=scores.__getitem__)
        if scores[best] >= threshold:
            x1, y1, x2, y2 = (c * size for c, size in zip(corners, size_wh * 2))
            found.append(Box(x1, y1, x2, y2, scores[best], best))
    return found
