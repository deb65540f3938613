"""Class heads: threshold first, in the raw domain, so that only surviving cells are touched."""

import math
from typing import Tuple

import numpy as np

from ..heads import NHWC
from ..tensors import TensorSpec, dequantize


def logit(probability: float) -> float:
    """Inverse of the sigmoid; minus or plus infinity at 0 and 1."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) of a float array, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def cells_by_channel(head: np.ndarray, layout: str) -> np.ndarray:
    """(cells, channels) view of a head (1, h, w, c) or (1, c, h, w), or without the batch."""
    channels = head.shape[-1] if layout == NHWC else head.shape[-3]
    if layout == NHWC:
        return head.reshape(-1, channels)
    return head.reshape(channels, -1).T


def _reaches(values: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Bool array: ``values >= limit``, and perhaps True where a value is not a number.

    NumPy compares float16 in software, so their bits are compared: as integers the positive ones
    keep their order, and the negative ones come after all positive, ordered by magnitude.
    """
    if values.dtype != np.float16:
        return values >= limit
    if limit.item() < 0:
        return values.view(np.uint16) <= limit.view(np.uint16)
    return values.view(np.int16) >= limit.view(np.int16)


class ClassScan:
    """Finds the cells of one class head whose best class reaches a threshold."""

    def __init__(self, spec: TensorSpec, channels: int, layout: str) -> None:
        self.channels, self.layout = channels, layout
        self.dtype, self.quantization = np.dtype(spec.dtype), spec.quantization
        self._cached: Tuple[float, np.ndarray] = (math.nan, np.zeros(1))

    def hits(self, head: np.ndarray, limit: float) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cells whose best finite value is at least ``limit``.

        :param head: the stored class head.
        :param limit: threshold on the real (dequantised) value: a logit for logit heads.
        :return: cell (k,) int64 ascending, class id (k,) int32, real value (k,) float32.
        """
        table = cells_by_channel(head, self.layout)
        cells = self._cells_at_or_above(table, limit)
        if not len(cells):  # the usual case at most strides, and in an empty scene at all
            return cells, cells.astype(np.int32), cells.astype(np.float32)
        values = dequantize(table[cells], self.quantization)
        values = np.where(np.isfinite(values), values, -np.inf)
        class_id = values.argmax(axis=1)
        best = values[np.arange(len(cells)), class_id]
        keep = (best >= limit) & (best > -np.inf)
        return cells[keep], class_id[keep].astype(np.int32), best[keep]

    def _cells_at_or_above(self, table: np.ndarray, limit: float) -> np.ndarray:
        """Cells with a stored value that may reach the limit; the exact test is on these few."""
        stored_limit = self._limit(limit)
        if self.layout == NHWC:
            cells = np.flatnonzero(_reaches(table, stored_limit)) // self.channels
            first = np.ones(len(cells), bool)
            np.not_equal(cells[1:], cells[:-1], out=first[1:])
            return cells[first]
        return np.unique(np.flatnonzero(_reaches(table.T, stored_limit[:, None])) % len(table))

    def _limit(self, limit: float) -> np.ndarray:
        # Read once and written once: threads with other limits share this object.
        cached = self._cached
        if cached[0] != limit:
            cached = self._cached = (limit, self._stored_limit(limit))
        return cached[1]

    def _stored_limit(self, limit: float) -> np.ndarray:
        """(1,) or (channels,) limit in the dtype of the head, never above the true one."""
        if self.quantization is None:
            return np.nextafter(np.array([limit], self.dtype), self.dtype.type(-np.inf))
        scale, zero_point = self.quantization.scale, self.quantization.zero_point
        stored = np.floor(limit / scale.astype(np.float64)) - 1
        stored += 0 if zero_point is None else zero_point
        # The largest number of 64 bits is no float64; a lower limit only tests more cells exactly.
        low, high = np.iinfo(self.dtype).min, min(np.iinfo(self.dtype).max, 1 << 62)
        return np.clip(stored, low, high).astype(self.dtype)
