"""The whole picture in the pixel format that a card takes, for cards that resize it themselves."""

from typing import Optional

import cv2
import numpy as np

from .frame import Frame
from .letterbox import SizeWH
from .pixels import even_size, resize, write_yuv

BGR = 'bgr'
RGB = 'rgb'
BGR_PLANAR = 'bgr_planar'
RGB_PLANAR = 'rgb_planar'
NV12_PICTURE = 'nv12'


class PictureWriter:
    """Writes pictures in one format; the array that ``write`` returns is valid until its next call.

    Cards take even sizes only, so an odd picture is resized to the next smaller even size, which
    covers exactly what the odd one did.
    """

    def __init__(self, pixels: str) -> None:
        """:param pixels: one of the formats above; see ``InputFormat.pixels``."""
        self.pixels = pixels
        self._nv12: Optional[np.ndarray] = None

    def write(self, frame: Frame) -> np.ndarray:
        """Contiguous uint8 array: (h, w, 3), (3, h, w) or (h * 3 / 2, w) by format."""
        size_wh = even_size(frame.size_wh)
        if self.pixels == NV12_PICTURE:
            return self._write_nv12(frame, size_wh)
        bgr = resize(frame.bgr(), size_wh)
        ordered = bgr if self.pixels in (BGR, BGR_PLANAR) else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        if self.pixels in (BGR_PLANAR, RGB_PLANAR):
            ordered = ordered.transpose(2, 0, 1)
        return np.ascontiguousarray(ordered)

    def _write_nv12(self, frame: Frame, size_wh: SizeWH) -> np.ndarray:
        width, height = size_wh
        if self._nv12 is None or self._nv12.shape != (height * 3 // 2, width):
            self._nv12 = np.empty((height * 3 // 2, width), np.uint8)
        chroma = self._nv12[height:].reshape(height // 2, width // 2, 2)
        write_yuv(frame, self._nv12[:height], chroma)
        return self._nv12
