"""Masks over the whole picture: logits of every prototype cell, bilinear at every pixel centre."""
from __future__ import annotations

import numpy as np


def bilinear_rows(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Rows of ``values`` at fractional row numbers; beyond the first and last row they repeat."""
    position = np.clip(position, 0, len(values) - 1)
    low = np.minimum(np.floor(position).astype(int), max(len(values) - 2, 0))
    high = np.minimum(low + 1, len(values) - 1)
    part = (position - low)[:, None]
    return values[low] * (1 - part) + values[high] * part


def cell_positions(pixels: int, image: int, content: int, pad: int, model: int, cells: int):
    """Prototype cell of each pixel centre of a grid of ``pixels`` over one axis of the picture."""
    in_image = (np.arange(pixels) + 0.5) * image / pixels
    in_model = in_image * content / image + pad
    return in_model * cells / model - 0.5


def full_mask(coefficients, proto, box, placement, grid=None) -> np.ndarray:
    """(h, w) bool mask of one instance, cut to the pixels with x1 <= x < x2 and y1 <= y < y2.

    :param coefficients: (k,) and ``proto`` (ph, pw, k) real values, float64.
    :param box: x1, y1, x2, y2 in picture pixels.
    :param grid: width and height of the mask; the picture's own when None.
    """
    width, height = grid or placement.image
    logits = np.tensordot(np.asarray(proto, np.float64), np.asarray(coefficients, np.float64), 1)
    x, y = (cell_positions(size, placement.image[axis], placement.content[axis],
                           placement.pad[axis], placement.model[axis], proto.shape[1 - axis])
            for axis, size in enumerate((width, height)))
    at_rows = bilinear_rows(logits, y)
    mask = bilinear_rows(np.ascontiguousarray(at_rows.T), x).T > 0
    across, down = width / placement.image[0], height / placement.image[1]
    column, row = np.arange(width), np.arange(height)[:, None]
    inside = ((column >= box[0] * across - 1e-9) & (column < box[2] * across - 1e-9)
              & (row >= box[1] * down - 1e-9) & (row < box[3] * down - 1e-9))
    return mask & inside


def proto_grid(placement, proto_wh) -> tuple[int, int]:
    """The grid with one pixel per prototype cell over the picture."""
    return tuple(max(1, round(placement.content[i] * proto_wh[i] / placement.model[i]))
                 for i in range(2))


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
