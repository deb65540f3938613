"""Resizing and conversion of pixels into arrays that are there already."""

from typing import Optional

import cv2
import numpy as np

from .frame import Frame
from .letterbox import SizeWH

NEUTRAL_CHROMA = 128
# ITU-R BT.601 with limited range: U and V of full-range B, G, R, and the offset.
UV_FROM_BGR = np.array([[0.439, -0.291, -0.148, 128], [-0.071, -0.368, 0.439, 128]])


def even_size(size_wh: SizeWH) -> SizeWH:
    """Width and height made even by leaving out the last column or row; at least 2."""
    return (max(size_wh[0] // 2 * 2, 2), max(size_wh[1] // 2 * 2, 2))


def resize(plane: np.ndarray, size_wh: SizeWH) -> np.ndarray:
    """Bilinear resize of a uint8 plane (h, w[, c]) to ``size_wh``; a new array."""
    target = np.empty((size_wh[1], size_wh[0]) + plane.shape[2:], np.uint8)
    resize_into(plane, target)
    return target


def resize_into(plane: np.ndarray, target: np.ndarray) -> None:
    """Bilinear resize of a uint8 plane (h, w[, c]) into ``target`` (h', w'[, c]), a view allowed."""
    size_wh = (target.shape[1], target.shape[0])
    samples = exact_samples(plane, size_wh)
    if samples is not None:
        _copy_channels(np.atleast_3d(samples), np.atleast_3d(target))
        return
    result = cv2.resize(plane, size_wh, dst=target)
    if not np.may_share_memory(result, target):  # OpenCV could not write into this view
        target[:] = result.reshape(target.shape)


def _copy_channels(source: np.ndarray, target: np.ndarray) -> None:
    """One after the other: NumPy is five times slower at copying pairs and triples with a stride."""
    for c in range(source.shape[2]):
        target[..., c] = source[..., c]


def exact_samples(plane: np.ndarray, size_wh: SizeWH) -> Optional[np.ndarray]:
    """The bilinear samples of ``plane`` at ``size_wh`` as a view, where each falls on one pixel.

    That is so when the size is divided by an odd integer; None otherwise.
    """
    ratio = plane.shape[0] // size_wh[1]
    if plane.shape[:2] != (ratio * size_wh[1], ratio * size_wh[0]) or ratio % 2 == 0:
        return None
    return plane[ratio // 2::ratio, ratio // 2::ratio]


def write_yuv(frame: Frame, luma: np.ndarray, chroma: np.ndarray) -> None:
    """Fill luma (h, w) and chroma (h/2, w/2, 2; U, V) with the whole picture at that size.

    NV12 and NV21 stay what they are, plane by plane; colour becomes BT.601 with limited range.
    """
    size_wh = (luma.shape[1], luma.shape[0])
    if frame.is_yuv420:
        resize_into(frame.planes[0], luma)
        resize_into(frame.chroma_uv(), chroma)
    elif frame.encoding == 'mono8':
        # Full-range grey to limited range: 16 + 219 / 255 * grey.
        luma[:] = cv2.convertScaleAbs(resize(frame.planes[0], size_wh), alpha=219 / 255, beta=16)
        chroma[:] = NEUTRAL_CHROMA
    else:
        _write_bgr_as_yuv(resize(frame.bgr(), size_wh), luma, chroma)


def _write_bgr_as_yuv(bgr: np.ndarray, luma: np.ndarray, chroma: np.ndarray) -> None:
    """Chroma is the mean of its four pixels; OpenCV would take that of the first of them."""
    height, width = luma.shape
    luma[:] = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)[:height]
    half = cv2.resize(bgr, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma[:] = cv2.transform(half, UV_FROM_BGR)
