"""Augmented training batches from the arrays that `dataset.py` writes."""
from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from dataset import MAX_OBJECTS, NO_OBJECT
from network import PROTO_STRIDE
from scenes import box_of_mask

_SIZES = (256, 320, 320, 384)
_MIN_PIXELS = 40


class Batch(NamedTuple):
    """Pictures and targets; `m` is the largest object count of the batch."""

    pictures: Tensor   # (n, 3, s, s) float32 RGB in 0..1
    xyxy: Tensor       # (n, m, 4) float32, input pixels
    class_id: Tensor   # (n, m) int64
    valid: Tensor      # (n, m) bool, False for filled-up rows
    masks: Tensor      # (n, m, s/4, s/4) float32, share of each proto cell that is object


class _Sample(NamedTuple):
    picture: np.ndarray
    xyxy: list[tuple[int, int, int, int]]
    class_id: list[int]
    masks: list[np.ndarray]


class BatchSource:
    """Endless shuffled batches, made ahead by one thread."""

    def __init__(self, folder: Path, batch_size: int, seed: int) -> None:
        names = ('pictures', 'instance_maps', 'class_ids')
        self._arrays = [np.load(folder / f'{name}.npy', mmap_mode='r') for name in names]
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        self._ready: queue.Queue[Batch] = queue.Queue(4)
        threading.Thread(target=self._fill, daemon=True).start()

    def __len__(self) -> int:
        """Give the number of pictures."""
        return len(self._arrays[0])

    def next(self) -> Batch:
        """Wait for the next batch."""
        return self._ready.get()

    def _fill(self) -> None:
        while True:
            order = self._rng.permutation(len(self))
            for start in range(0, len(order) - self._batch_size + 1, self._batch_size):
                self._ready.put(self._batch(order[start:start + self._batch_size]))

    def _batch(self, rows: np.ndarray) -> Batch:
        size = int(self._rng.choice(_SIZES))
        return _collate([self._sample(row, size) for row in rows])

    def _sample(self, row: int, size: int) -> _Sample:
        picture, instance_map, class_ids = (array[row] for array in self._arrays)
        picture, instance_map = _move(self._rng, picture, instance_map, size)
        return _targets(_recolour(self._rng, picture), instance_map, class_ids)


def _move(rng: np.random.Generator, picture: np.ndarray, instance_map: np.ndarray, size: int
          ) -> tuple[np.ndarray, np.ndarray]:
    """Zoom, shift and mirror picture and map alike; bare edges get a letterbox's flat fill."""
    scale = size / picture.shape[0] * np.exp(rng.uniform(-0.35, 0.35))
    shift = (size - scale * picture.shape[0]) / 2 + rng.uniform(-0.1, 0.1, 2) * size
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    fill = [int(rng.choice([0, 114, 127]))] * 3
    picture = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    instance_map = cv2.warpAffine(instance_map, matrix, (size, size), flags=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        return picture[:, ::-1], instance_map[:, ::-1]
    return picture, instance_map


def _recolour(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Give (3, h, w) float32 RGB in 0..1 at another exposure, now and then other hues."""
    channels = rng.permutation(3) if rng.random() < 0.1 else [2, 1, 0]
    factor = np.float32(rng.uniform(0.7, 1.2) / 255)
    return np.clip(picture[..., channels].transpose(2, 0, 1) * factor, 0, 1)


def _targets(picture: np.ndarray, instance_map: np.ndarray, class_ids: np.ndarray) -> _Sample:
    sample = _Sample(picture, [], [], [])
    cells = instance_map.shape[0] // PROTO_STRIDE
    for index in range(MAX_OBJECTS):
        mask = (instance_map == index + 1).astype(np.float32)
        if class_ids[index] == NO_OBJECT or mask.sum() < _MIN_PIXELS:
            continue
        sample.xyxy.append(box_of_mask(mask))
        sample.class_id.append(int(class_ids[index]))
        sample.masks.append(cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA))
    return sample


def _collate(samples: list[_Sample]) -> Batch:
    most = max(1, *(len(s.class_id) for s in samples))
    cells = samples[0].picture.shape[1] // PROTO_STRIDE
    shape = (len(samples), most)
    xyxy, class_id = torch.zeros(*shape, 4), torch.zeros(shape, dtype=torch.int64)
    valid, masks = torch.zeros(shape, dtype=torch.bool), torch.zeros(*shape, cells, cells)
    for row, sample in enumerate(samples):
        for column, (box, kind, mask) in enumerate(zip(*sample[1:])):
            xyxy[row, column] = torch.tensor(box)
            class_id[row, column] = kind
            masks[row, column] = torch.from_numpy(mask)
            valid[row, column] = True
    pictures = torch.from_numpy(np.ascontiguousarray([s.picture for s in samples]))
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    return Batch(pictures, xyxy, class_id, valid, masks)
