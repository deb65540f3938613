"""Heads with anchors: YOLOv5 and YOLOv4 as float NHWC, 20 objects of 80 classes at 640."""
from __future__ import annotations

from functools import partial

import numpy as np
from scenes import BACKGROUND_LOGIT, HIGHEST_BACKGROUND, NMS_IOU, SCORE, STRIDES, FixedOutputs

from yolo_seg_node.config import WorkConfig
from yolo_seg_node.model_input import NV12, InputFormat
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.tensors import TensorSpec

SIZE, CLASSES, ANCHORS, OBJECTS = 640, 80, 3, 20


def _anchor_pipeline(parser: str) -> Pipeline:
    rng = np.random.default_rng(0)
    specs, arrays = [], []
    for stride in STRIDES:
        head = rng.normal(0, 1, (1, SIZE // stride, SIZE // stride, ANCHORS, 5 + CLASSES))
        background = rng.normal(*BACKGROUND_LOGIT, head.shape[:-1])
        head[..., 4] = np.minimum(background, HIGHEST_BACKGROUND)
        arrays.append(head.astype(np.float32))
    for _ in range(OBJECTS):
        _plant(rng, arrays[rng.integers(len(STRIDES))])
    for stride, head in zip(STRIDES, arrays):
        specs.append(TensorSpec(f'head_{stride}', head.shape[:3] + (ANCHORS * (5 + CLASSES),),
                                head.dtype))
    arrays = [head.reshape(spec.shape) for head, spec in zip(arrays, specs)]
    outputs = FixedOutputs(tuple(specs), arrays, InputFormat(NV12, (SIZE, SIZE)))
    return Pipeline(WorkConfig('fixed', parser, class_num=CLASSES, nms_top_k=300,
                               class_names=tuple(map(str, range(CLASSES))),
                               score_threshold=SCORE, nms_threshold=NMS_IOU), outputs)


def _plant(rng: np.random.Generator, head: np.ndarray) -> None:
    """One object, seen by nine cells with one anchor each."""
    row, column = rng.integers(1, head.shape[1] - 1, 2)
    anchor, class_id = rng.integers(ANCHORS), rng.integers(CLASSES)
    patch = head[0, row - 1:row + 2, column - 1:column + 2, anchor]
    patch[..., 4], patch[..., 5 + class_id] = 3, 4


OTHER_HEADS = {'YOLOv5': partial(_anchor_pipeline, 'yolov5'),
               'YOLOv4': partial(_anchor_pipeline, 'yolov4')}
