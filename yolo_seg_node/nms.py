"""Non-maximum suppression."""

import cv2
import numpy as np

# Boxes are cut here (in pixels), so that no wild one uses up the digits of the class offsets.
FAR = 1e6


def nms(xyxy: np.ndarray, score: np.ndarray, class_id: np.ndarray, iou_threshold: float,
        class_agnostic: bool = False) -> np.ndarray:
    """Greedy suppression: a box goes when its IoU with a kept box of higher score is above the limit.

    :param xyxy: (n, 4) finite boxes in any one space.
    :param score: (n,) finite values; thresholds were applied before.
    :param class_id: (n,) integers; boxes of different classes do not suppress each other
        unless ``class_agnostic``.
    :param iou_threshold: in [0, 1]; a box at exactly this IoU stays.
    :return: indices of the kept boxes by falling score, int64.
    """
    if len(score) == 0:
        return np.zeros(0, np.int64)
    # float64: the OpenCV binding converts float32 boxes slowly.
    xywh = np.clip(np.array(xyxy, np.float64), -FAR, FAR)
    if not class_agnostic:
        xywh += _class_offset(xywh, class_id)
    xywh[:, 2:] -= xywh[:, :2]
    # Ranks instead of scores: OpenCV drops scores that are not above a limit of at least 0.
    order = np.argsort(-score, kind='stable')
    rank = np.arange(len(order), 0, -1, dtype=np.float32)
    kept = cv2.dnn.NMSBoxes(xywh[order], rank, 0.0, float(iou_threshold))
    return order[np.array(kept, np.int64).reshape(-1)]


def _class_offset(xyxy: np.ndarray, class_id: np.ndarray) -> np.ndarray:
    """(n, 1) shift that moves each class to a place of its own, so no two classes overlap."""
    span = xyxy.max() - xyxy.min() + 1.0
    return (class_id * span)[:, None]
