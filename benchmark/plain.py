"""The yardstick: the same result by the straightforward way, well written but without a trick.

Dequantise every head, sigmoid of every logit, softmax of every box distribution, one matrix product
over all prototypes, every mask resized to the whole picture, then cut to its box.
"""
from __future__ import annotations

import cv2
import numpy as np
from scenes import NMS_IOU, SCORE, STRIDES, FixedOutputs

from yolo_seg_node.letterbox import Letterbox


def detect(outputs: FixedOutputs, letterbox: Letterbox, masks: bool) -> tuple[np.ndarray, list]:
    """Boxes (n, 4) in picture pixels by falling score, and n whole-picture bool masks."""
    heads = [_real(array, spec) for array, spec in zip(outputs.arrays, outputs.outputs)]
    boxes, scores, classes, coefficients = [], [], [], []
    for level, stride in enumerate(STRIDES):
        logits, box, coefficient = (heads[3 * level + k][0] for k in range(3))
        probability = 1 / (1 + np.exp(-logits.reshape(-1, logits.shape[-1])))
        boxes.append(_boxes(box, stride))
        scores.append(probability.max(axis=1))
        classes.append(probability.argmax(axis=1))
        coefficients.append(coefficient.reshape(-1, coefficient.shape[-1]))
    score = np.concatenate(scores)
    candidates = np.flatnonzero(score >= SCORE)
    xyxy, score = np.concatenate(boxes)[candidates], score[candidates]
    class_id = np.concatenate(classes)[candidates]
    kept = _suppress(xyxy, score, class_id)
    xyxy_image = letterbox.clip_to_image(letterbox.image_from_model(xyxy[kept]))
    if not masks or not len(kept):
        return xyxy_image, []
    chosen = np.concatenate(coefficients)[candidates][kept]
    return xyxy_image, _masks(chosen, heads[-1][0], xyxy_image, letterbox)


def _real(array: np.ndarray, spec: object) -> np.ndarray:
    if spec.quantization is None:
        return array.astype(np.float32, copy=False)
    return array * spec.quantization.scale


def _boxes(head: np.ndarray, stride: int) -> np.ndarray:
    height, width = head.shape[:2]
    raw = head.reshape(height * width, 4, -1)
    weight = np.exp(raw - raw.max(axis=2, keepdims=True))
    sides = (weight / weight.sum(axis=2, keepdims=True)) @ np.arange(raw.shape[2], dtype=np.float32)
    y, x = np.divmod(np.arange(height * width), width)
    centre = np.stack([x, y], 1) + 0.5
    return np.concatenate([centre - sides[:, :2], centre + sides[:, 2:]], 1) * stride


def _suppress(xyxy: np.ndarray, score: np.ndarray, class_id: np.ndarray) -> np.ndarray:
    xywh = np.concatenate([xyxy[:, :2] + class_id[:, None] * 4096, xyxy[:, 2:] - xyxy[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(xywh.tolist(), score.tolist(), SCORE, NMS_IOU)
    return np.array(kept, np.int64).reshape(-1)


def _masks(coefficients: np.ndarray, proto: np.ndarray, xyxy_image: np.ndarray,
           letterbox: Letterbox) -> list[np.ndarray]:
    rows, columns, channels = proto.shape
    logits = (coefficients @ proto.reshape(-1, channels).T).reshape(-1, rows, columns)
    # the padding of a 1280x720 picture at 640x640 is a whole number of prototype cells
    stride = letterbox.model_wh[0] // columns
    (x, y), (w, h) = np.array([letterbox.pad_xy, letterbox.content_wh]) // stride
    masks = []
    for logit, (x1, y1, x2, y2) in zip(logits, np.ceil(xyxy_image).astype(int)):
        whole = cv2.resize(logit[y:y + h, x:x + w], letterbox.image_wh) > 0
        inside = np.zeros_like(whole)
        inside[y1:y2, x1:x2] = whole[y1:y2, x1:x2]
        masks.append(inside)
    return masks
