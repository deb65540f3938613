"""From a Frame to the arrays that a model takes, written into buffers that are reused."""

from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from .frame import Frame
from .letterbox import LETTERBOX, Letterbox, SizeWH, make_letterbox
from .picture_input import BGR, PictureWriter
from .pixels import NEUTRAL_CHROMA, even_size, exact_samples, write_yuv

NV12 = 'nv12'
Y_UV = 'y_uv'
NCHW = 'nchw'
NHWC = 'nhwc'
PICTURE = 'picture'


@dataclass(frozen=True)
class InputFormat:
    """What a model wants to be fed with.

    :ivar kind: ``nv12`` one flat uint8 array of h * w * 3 / 2 bytes; ``y_uv`` two uint8 arrays
        (1, h, w, 1) and (1, h/2, w/2, 2); ``nchw`` / ``nhwc`` one (1, 3, h, w) / (1, h, w, 3);
        ``picture`` the whole picture at its own size, for cards that resize it (see ``pixels``).
    :ivar size_wh: width and height of the model input in pixels.
    :ivar dtype: of ``nchw`` and ``nhwc``: uint8 takes the pixels as they are, floats are normalised.
    :ivar rgb: channel order of ``nchw`` and ``nhwc``: R, G, B when True, else B, G, R.
    :ivar mean: subtracted from the 0..255 pixel values, one per channel in the model's order.
    :ivar scale: multiplied after that, one per channel in the model's order.
    :ivar mode: resize mode, see letterbox.py.
    :ivar pad_value: grey level 0..255 around the picture (luma for NV12, with neutral chroma).
    :ivar pixels: of ``picture``, all uint8: ``bgr`` / ``rgb`` (h, w, 3), ``bgr_planar`` /
        ``rgb_planar`` (3, h, w), ``nv12`` (h * 3 / 2, w). Width and height are even.
    """

    kind: str
    size_wh: SizeWH
    dtype: np.dtype = np.dtype(np.float32)
    rgb: bool = True
    mean: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: Tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255)
    mode: str = LETTERBOX
    pad_value: int = 114
    pixels: str = BGR

    @property
    def is_yuv(self) -> bool:
        """True when luma and chroma planes are wanted."""
        return self.kind in (NV12, Y_UV)


class Preprocessor:
    """Fills the input of one model; holds its buffers, so use one per worker.

    The arrays that ``prepare`` returns are valid until its next call.
    """

    def __init__(self, input_format: InputFormat) -> None:
        self.format = input_format
        self._letterbox: Optional[Letterbox] = None
        self._letterboxes: Dict[SizeWH, Letterbox] = {}
        self._small: Optional[np.ndarray] = None
        self._picture = PictureWriter(input_format.pixels)
        self._buffers: List[np.ndarray] = [] if input_format.kind == PICTURE else self._allocate()

    def prepare(self, frame: Frame) -> Tuple[List[np.ndarray], Letterbox]:
        """Resize and convert one frame.

        :return: the arrays for the model (see ``InputFormat.kind``) and where the picture lies.
        """
        letterbox = self._placement(frame.size_wh)
        if self.format.kind == PICTURE:
            return [self._picture.write(frame)], letterbox
        if letterbox != self._letterbox:
            self._fill_padding()
            self._letterbox = letterbox
        if self.format.is_yuv:
            self._write_yuv(frame, letterbox)
        else:
            self._write_rgb(frame, letterbox)
        return self._buffers, letterbox

    def _placement(self, image_wh: SizeWH) -> Letterbox:
        if image_wh not in self._letterboxes:
            align = 2 if self.format.is_yuv else 1
            # A camera has few sizes; a stream of random sizes must not fill the memory.
            if len(self._letterboxes) > 64:
                self._letterboxes.clear()
            # A card gets its picture at an even size, which covers exactly what the odd one did.
            given_wh = even_size(image_wh) if self.format.kind == PICTURE else image_wh
            letterbox = make_letterbox(given_wh, self.format.size_wh, self.format.mode, align)
            self._letterboxes[image_wh] = replace(letterbox, image_wh=image_wh)
        return self._letterboxes[image_wh]

    def _allocate(self) -> List[np.ndarray]:
        width, height = self.format.size_wh
        if self.format.kind == NV12:
            return [np.empty(width * height * 3 // 2, np.uint8)]
        if self.format.kind == Y_UV:
            return [np.empty((1, height, width, 1), np.uint8),
                    np.empty((1, height // 2, width // 2, 2), np.uint8)]
        shape = (1, 3, height, width) if self.format.kind == NCHW else (1, height, width, 3)
        return [np.empty(shape, self.format.dtype)]

    def _yuv_planes(self) -> Tuple[np.ndarray, np.ndarray]:
        """Luma (h, w) and chroma (h/2, w/2, 2) views of the buffers."""
        width, height = self.format.size_wh
        if self.format.kind == Y_UV:
            return self._buffers[0][0, :, :, 0], self._buffers[1][0]
        flat = self._buffers[0]
        return (flat[:width * height].reshape(height, width),
                flat[width * height:].reshape(height // 2, width // 2, 2))

    def _rgb_planes(self) -> List[np.ndarray]:
        """(h, w) views of the model input, one per channel in B, G, R order."""
        array = self._buffers[0][0]
        planes = [array[c] if self.format.kind == NCHW else array[..., c] for c in range(3)]
        return planes[::-1] if self.format.rgb else planes

    def _normalisation(self) -> List[Tuple[float, float]]:
        """(mean, scale) per channel in B, G, R order; uint8 models take the pixels unchanged."""
        if self.format.dtype == np.uint8:
            return [(0.0, 1.0)] * 3
        pairs = list(zip(self.format.mean, self.format.scale))
        return pairs[::-1] if self.format.rgb else pairs

    def _fill_padding(self) -> None:
        if self.format.is_yuv:
            luma, chroma = self._yuv_planes()
            luma[:], chroma[:] = self.format.pad_value, NEUTRAL_CHROMA
            return
        for plane, (mean, scale) in zip(self._rgb_planes(), self._normalisation()):
            plane[:] = (self.format.pad_value - mean) * scale

    def _write_yuv(self, frame: Frame, letterbox: Letterbox) -> None:
        luma, chroma = self._yuv_planes()
        (x, y), (width, height) = letterbox.pad_xy, letterbox.content_wh
        write_yuv(frame, luma[y:y + height, x:x + width],
                  chroma[y // 2:(y + height) // 2, x // 2:(x + width) // 2])

    def _write_rgb(self, frame: Frame, letterbox: Letterbox) -> None:
        (x, y), (width, height) = letterbox.pad_xy, letterbox.content_wh
        channels = zip(self._channels(frame.bgr(), width, height), self._rgb_planes(),
                       self._normalisation())
        for source, plane, (mean, scale) in channels:
            target = plane[y:y + height, x:x + width]
            if mean:
                source = source - np.float32(mean)
            np.multiply(source, np.float32(scale), out=target, casting='unsafe')

    def _channels(self, bgr: np.ndarray, width: int, height: int) -> Sequence[np.ndarray]:
        """(height, width) arrays of B, G and R at the size of the content."""
        samples = exact_samples(bgr, (width, height))
        if samples is not None:
            return [samples[..., c] for c in range(3)]
        if self._small is None or self._small.shape[:2] != (height, width):
            self._small = np.empty((height, width, 3), np.uint8)
        return cv2.split(cv2.resize(bgr, (width, height), dst=self._small))
