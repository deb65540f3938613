"""Instance masks: coefficients times prototypes, sampled where the picture's pixels are.

The mask of an instance is where the bilinear interpolation of its logits ``coefficients . proto``,
taken at the centre of a pixel, is above zero (sigmoid above one half; YOLACT, Bolya et al. 2019,
with the interpolation before the threshold so that edges do not follow the coarse grid).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Tuple

import cv2
import numpy as np

from .detections import Masks
from .letterbox import Letterbox, SizeWH

# A crop resized by OpenCV may sit beside its true place by this part of a grid pixel at most;
# otherwise the exact but slower separable interpolation is used.
MAX_SHIFT = 0.01
SEARCH_CELLS = 12
# In place of a logit that is not finite: no object, not even where it is interpolated.
NOT_FINITE = np.float32(-1e30)


@dataclass(frozen=True)
class MaskBasis:
    """What the masks of n instances are made of.

    :ivar coefficients: (n, k) float32, with the scales of the prototypes folded in.
    :ivar bias: (n,) float32 added to the logits (the folded zero points of the prototypes).
    :ivar proto: (ph, pw, k) stored values, integer or float, a view of the model's output.
    """

    coefficients: np.ndarray
    bias: np.ndarray
    proto: np.ndarray


@dataclass(frozen=True)
class MaskGrid:
    """Pixels on which masks are drawn, and where they lie in the grid of prototype cells.

    Edge ``t`` of the grid lies at ``t * cells_per_pixel + offset`` in cells, for x and y.
    """

    size_wh: SizeWH
    cells_per_pixel: Tuple[float, float]
    offset: Tuple[float, float]


def mask_grid(letterbox: Letterbox, proto_wh: SizeWH, at_source: bool = True) -> MaskGrid:
    """Grid of the source image, or the coarser one that has about one pixel per prototype cell.

    :param proto_wh: width and height of the prototypes, which cover the whole model input.
    """
    cells = [p / m for p, m in zip(proto_wh, letterbox.model_wh)]
    content_cells = [c * k for c, k in zip(letterbox.content_wh, cells)]
    size_wh = letterbox.image_wh
    if not at_source:
        size_wh = tuple(max(1, round(c)) for c in content_cells)
    per_pixel = tuple(c / s for c, s in zip(content_cells, size_wh))
    return MaskGrid(size_wh, per_pixel, tuple(p * k for p, k in zip(letterbox.pad_xy, cells)))


def instance_masks(basis: MaskBasis, xyxy_image: np.ndarray, letterbox: Letterbox,
                   at_source: bool = True) -> Masks:
    """Masks of all instances, each computed inside its box only.

    :param xyxy_image: (n, 4) boxes in source-image pixels, inside the image.
    :param at_source: True for masks at the source image's resolution, else at the prototypes'.
    :return: crops that cover the pixels with ``x1 <= x < x2`` and ``y1 <= y < y2`` of the grid;
        empty ones for coefficients that are not finite.
    """
    proto_h, proto_w = basis.proto.shape[:2]
    grid = mask_grid(letterbox, (proto_w, proto_h), at_source)
    xyxy_grid = xyxy_image * np.tile(np.divide(grid.size_wh, letterbox.image_wh), 2)
    # The scaling to a coarser grid may leave a whole number of pixels a rounding error above it.
    bounds = np.ceil(xyxy_grid - 1e-9).astype(np.int32)
    broken = ~np.isfinite(basis.coefficients).all(axis=1)
    bounds[broken, 2:] = bounds[broken, :2]
    sampler = _Sampler(basis.proto, grid)
    with np.errstate(over='ignore', invalid='ignore'):  # what is not finite is replaced
        crops = [sampler.mask(basis.coefficients[i], basis.bias[i], *bounds[i].tolist())
                 for i in range(len(bounds))]
    return Masks(tuple(crops), bounds[:, :2].copy(), grid.size_wh)


class _Span(NamedTuple):
    """One axis of a crop: cells [first, stop), and the grid edge on which cell ``first`` begins."""

    first: int
    stop: int
    edge: float


class _Axis:
    """The cells along x or y, and for each cell the best place to begin a crop that holds it."""

    def __init__(self, cells: int, per_pixel: float, offset: float) -> None:
        self.cells, self.per_pixel, self.offset = cells, per_pixel, offset
        self._edges = [(cell - offset) / per_pixel for cell in range(cells)]
        self._starts = [self._best_start(cell) for cell in range(cells)]

    def _best_start(self, cell: int) -> int:
        """The nearest cell up to ``cell`` whose edge is closest to an edge of the grid."""
        candidates = range(cell, max(cell - SEARCH_CELLS, -1), -1)
        return min(candidates, key=lambda c: abs(self._edges[c] - round(self._edges[c])))

    def cell_of(self, pixel: int) -> float:
        """Position of a pixel centre in the cells; cell i has its centre at i."""
        return (pixel + 0.5) * self.per_pixel + self.offset - 0.5

    def span(self, start: int, stop: int) -> _Span:
        """Cells that the grid pixels [start, stop) need, begun where edges of both grids meet."""
        needed = min(max(math.floor(self.cell_of(start)), 0), self.cells - 1)
        end_edge = math.ceil(stop * self.per_pixel + self.offset - 1e-6)
        last = max(math.floor(self.cell_of(stop - 1)) + 2, end_edge, needed + 1)
        first = self._starts[needed]
        return _Span(first, min(last, self.cells), self._edges[first])

    def weights(self, span: _Span, start: int, stop: int) -> np.ndarray:
        """(stop - start, cells of the span) float32 weights of the linear interpolation."""
        position = self.cell_of(np.arange(start, stop)) - span.first
        position = np.clip(position, 0, span.stop - span.first - 1)
        distance = np.abs(position[:, None] - np.arange(span.stop - span.first))
        return np.maximum(1 - distance, 0).astype(np.float32)


@lru_cache(maxsize=64)
def _axis(cells: int, per_pixel: float, offset: float) -> _Axis:
    """Axes are the same for every picture of a camera."""
    return _Axis(cells, per_pixel, offset)


class _Sampler:
    """Draws one instance after the other from the same prototypes."""

    def __init__(self, proto: np.ndarray, grid: MaskGrid) -> None:
        self.proto = proto
        self.x = _axis(proto.shape[1], grid.cells_per_pixel[0], grid.offset[0])
        self.y = _axis(proto.shape[0], grid.cells_per_pixel[1], grid.offset[1])

    def mask(self, coefficients: np.ndarray, bias: float,
             x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """(y1 - y0, x1 - x0) bool mask of one instance on the grid pixels of its box."""
        if x1 <= x0 or y1 <= y0:
            return np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), bool)
        span_x, span_y = self.x.span(x0, x1), self.y.span(y0, y1)
        crop = self.proto[span_y.first:span_y.stop, span_x.first:span_x.stop]
        logits_proto = crop.astype(np.float32, copy=False) @ coefficients
        if self.proto.dtype.kind == 'f' and not np.isfinite(logits_proto).all():
            logits_proto = np.where(np.isfinite(logits_proto), logits_proto, NOT_FINITE)
        if not self._resize_is_exact(span_x, span_y):
            rows, columns = self.y.weights(span_y, y0, y1), self.x.weights(span_x, x0, x1)
            return rows @ logits_proto @ columns.T > -bias
        # fx and fy instead of a size: OpenCV then keeps the exact ratio.
        logits = cv2.resize(logits_proto, None, fx=1 / self.x.per_pixel, fy=1 / self.y.per_pixel)
        x, y = round(span_x.edge), round(span_y.edge)
        # Comparing the whole array and then cutting is faster than comparing a strided part.
        return (logits > -bias)[y0 - y:y1 - y, x0 - x:x1 - x]

    def _resize_is_exact(self, span_x: _Span, span_y: _Span) -> bool:
        """Whether OpenCV's resize of these cells samples them where the pixels of the grid are."""
        if max(abs(span.edge - round(span.edge)) for span in (span_x, span_y)) > MAX_SHIFT:
            return False
        if self.x.per_pixel == self.y.per_pixel == 1:
            return True
        # OpenCV copies what keeps its size, although the ratio may be a little off 1.
        return any(round((span.stop - span.first) / axis.per_pixel) != span.stop - span.first
                   for axis, span in ((self.x, span_x), (self.y, span_y)))
