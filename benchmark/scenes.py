"""Made-up scenes as the raw outputs of a model, of any number of objects, classes and pixels.

The heads have the signature of a YOLO11-seg board model: class logits float32, box and mask
coefficients int32 with a scale per channel, prototypes int16 with one scale, all NHWC.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from yolo_seg_node.config import WorkConfig
from yolo_seg_node.model_input import NV12, InputFormat
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.tensors import Quantization, TensorSpec

STRIDES = (8, 16, 32)
REG_MAX, NUM_MASK = 16, 32
SCORE, NMS_IOU = 0.25, 0.7
# What a trained network leaves on cells without an object; cut below the threshold, since noise
# without the cut would give hundreds of candidates in an empty picture.
BACKGROUND_LOGIT, HIGHEST_BACKGROUND = (-6.0, 1.5), -1.5


@dataclass(frozen=True)
class Heads:
    """Real values of the heads, float32 NHWC without the batch, by stride; and the prototypes."""

    size_wh: tuple[int, int]
    logits: list[np.ndarray]
    boxes: list[np.ndarray]
    coefficients: list[np.ndarray]
    proto: np.ndarray


@dataclass
class FixedOutputs:
    """A runtime that gives the same outputs for every picture."""

    outputs: tuple[TensorSpec, ...]
    arrays: list[np.ndarray]
    input_format: InputFormat
    name: str = 'fixed'
    effective: str = 'fixed outputs'
    releases_gil: bool = True

    def infer(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs."""
        return self.arrays

    def close(self) -> None:
        """Nothing is held."""


def make_heads(objects: int, classes: int = 80, size: int = 640, seed: int = 0) -> Heads:
    """Objects of 40 to 200 pixels (at 640) in a 16:9 picture, each found by about nine cells."""
    rng = np.random.default_rng(seed)
    grids = [(size // s, size // s) for s in STRIDES]
    logits = [np.minimum(rng.normal(*BACKGROUND_LOGIT, g + (classes,)), HIGHEST_BACKGROUND)
              .astype(np.float32) for g in grids]
    boxes = [rng.normal(0, 1, g + (4 * REG_MAX,)).astype(np.float32) for g in grids]
    coefficients = [rng.normal(0, 0.5, g + (NUM_MASK,)).astype(np.float32) for g in grids]
    heads = Heads((size, size), logits, boxes, coefficients, _smooth(rng, size // 4))
    for _ in range(objects):
        _plant(rng, heads, classes)
    return heads


def _smooth(rng: np.random.Generator, cells: int) -> np.ndarray:
    """(cells, cells, NUM_MASK) prototypes with structures of a few cells, as trained ones have."""
    coarse = rng.normal(0, 1, (max(cells // 8, 2),) * 2 + (NUM_MASK,)).astype(np.float32)
    planes = [cv2.resize(np.ascontiguousarray(coarse[..., k]), (cells, cells),
                         interpolation=cv2.INTER_CUBIC) for k in range(NUM_MASK)]
    return np.stack(planes, -1)


def _plant(rng: np.random.Generator, heads: Heads, classes: int) -> None:
    size = heads.size_wh[0]
    w, h = rng.uniform(40, 200, 2) * size / 640
    top, bottom = size * 140 / 640, size * 500 / 640  # where a 16:9 picture lies
    x = rng.uniform(w / 2, size - w / 2)
    y = rng.uniform(top + h / 2, max(bottom - h / 2, top + h / 2))
    xyxy = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    level = next(i for i, s in enumerate(STRIDES) if max(w, h) / s < REG_MAX or s == STRIDES[-1])
    class_id, coefficients = rng.integers(classes), rng.normal(0, 0.5, NUM_MASK)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            _write_cell(rng, heads, level, int(x / STRIDES[level]) + column,
                        int(y / STRIDES[level]) + row, xyxy, class_id, coefficients)


def _write_cell(rng: np.random.Generator, heads: Heads, level: int, column: int, row: int,
                xyxy: np.ndarray, class_id: int, coefficients: np.ndarray) -> None:
    stride = STRIDES[level]
    rows, columns = heads.logits[level].shape[:2]
    if not (0 <= column < columns and 0 <= row < rows):
        return
    centre = (np.array([column, row]) + 0.5) * stride
    sides = np.concatenate([centre - xyxy[:2], xyxy[2:] - centre]) + rng.normal(0, 0.5, 4)
    bins = np.arange(REG_MAX)
    weight = np.maximum(1 - np.abs(np.clip(sides / stride, 0, REG_MAX - 1)[:, None] - bins), 1e-4)
    heads.boxes[level][row, column] = np.log(weight).reshape(-1)
    heads.logits[level][row, column] = HIGHEST_BACKGROUND  # no rest of an earlier object
    heads.logits[level][row, column, class_id] = rng.uniform(0, 3)
    heads.coefficients[level][row, column] = coefficients + rng.normal(0, 0.02, NUM_MASK)


def crowd(heads: Heads) -> None:
    """Lift one class of every cell above the threshold: the worst picture there is."""
    for level in heads.logits:
        level[..., 0] = np.linspace(0, 3, level[..., 0].size, dtype=np.float32).reshape(
            level.shape[:2])


def stored(heads: Heads, form: str) -> FixedOutputs:
    """The outputs of a model.

    :param form: ``int`` as described above, ``float`` (NHWC), ``nchw`` (float) or ``fp16`` (NHWC).
    """
    specs, arrays = [], []
    for level, stride in enumerate(STRIDES):
        for role in ('logits', 'boxes', 'coefficients'):
            integer = np.int32 if form == 'int' and role != 'logits' else None
            _store(getattr(heads, role)[level], f'{role}_{stride}', form, integer, specs, arrays)
    _store(heads.proto, 'proto', form, np.int16 if form == 'int' else None, specs, arrays)
    return FixedOutputs(tuple(specs), arrays, InputFormat(NV12, heads.size_wh))


def _store(values: np.ndarray, name: str, form: str, integer: type | None,
           specs: list[TensorSpec], arrays: list[np.ndarray]) -> None:
    quantization = None
    if integer:
        axes = (0, 1, 2) if integer is np.int16 else (0, 1)
        largest = np.abs(values).max(axis=axes).reshape(-1)
        scale = (largest / (30000 if integer is np.int16 else 1e6)).astype(np.float32)
        values = np.round(values / scale).astype(integer)
        quantization = Quantization(scale, None, 3 if len(scale) > 1 else None)
    array = values.transpose(2, 0, 1) if form == 'nchw' else values
    array = np.ascontiguousarray(array[None], np.float16 if form == 'fp16' else None)
    specs.append(TensorSpec(name, array.shape, array.dtype, quantization))
    arrays.append(array)


def pipeline_of(outputs: FixedOutputs, classes: int = 80) -> Pipeline:
    """The package's own path from these outputs to detections."""
    names = tuple(map(str, range(classes)))
    return Pipeline(WorkConfig('fixed', 'yolov8_seg', class_num=classes, class_names=names,
                               num_mask=NUM_MASK, score_threshold=SCORE, nms_threshold=NMS_IOU,
                               nms_top_k=300), outputs)
