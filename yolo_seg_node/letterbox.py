"""Where a picture lies inside the model input: integer geometry and the way back.

Coordinates are continuous: pixel ``i`` covers ``[i, i + 1)``, its centre is ``i + 0.5`` and the
origin is the top left corner of the top left pixel, in the picture as in the model input.
"""

from dataclasses import dataclass
from typing import Tuple

import numpy as np

LETTERBOX = 'letterbox'
TOP_LEFT = 'letterbox_top_left'
STRETCH = 'stretch'
MODES = (LETTERBOX, TOP_LEFT, STRETCH)

SizeWH = Tuple[int, int]


@dataclass(frozen=True)
class Letterbox:
    """Placement of a picture of ``image_wh`` pixels in a model input of ``model_wh`` pixels.

    ``content_wh`` is the size to which the picture is resized and ``pad_xy`` the pixel of the model
    input at which it starts. All are integers, and the same integers serve both directions, so no
    rounding is ever undone differently from how it was done.
    """

    image_wh: SizeWH
    model_wh: SizeWH
    content_wh: SizeWH
    pad_xy: SizeWH

    @property
    def gain_xy(self) -> Tuple[float, float]:
        """Model pixels per picture pixel, for x and y."""
        return (self.content_wh[0] / self.image_wh[0], self.content_wh[1] / self.image_wh[1])

    def model_from_image(self, xyxy_image: np.ndarray) -> np.ndarray:
        """Map ``(n, 4)`` boxes from picture pixels to model pixels; float64."""
        return xyxy_image * np.tile(self.gain_xy, 2) + np.tile(self.pad_xy, 2)

    def image_from_model(self, xyxy_model: np.ndarray) -> np.ndarray:
        """Map ``(n, 4)`` boxes from model pixels to picture pixels, not clipped; float64."""
        return (xyxy_model - np.tile(self.pad_xy, 2)) / np.tile(self.gain_xy, 2)

    def clip_to_image(self, xyxy_image: np.ndarray) -> np.ndarray:
        """Limit ``(n, 4)`` boxes in picture pixels to ``[0, width]`` and ``[0, height]``."""
        return np.clip(xyxy_image, 0, np.tile(self.image_wh, 2))


def make_letterbox(
        image_wh: SizeWH, model_wh: SizeWH, mode: str = LETTERBOX, align: int = 1) -> Letterbox:
    """Work out the placement for one pair of sizes.

    :param image_wh: width and height of the picture in pixels, at least 1 each.
    :param model_wh: width and height of the model input in pixels.
    :param mode: ``letterbox`` keeps the aspect and centres the picture, ``letterbox_top_left``
        keeps the aspect and starts at (0, 0) as TROS does, ``stretch`` fills the model input.
    :param align: content size and padding become multiples of this; 2 for NV12, whose chroma
        has half the resolution. ``model_wh`` must be divisible by it.
    """
    content_wh = model_wh if mode == STRETCH else _content_wh(image_wh, model_wh, align)
    pad_xy = (0, 0)
    if mode == LETTERBOX:
        pad_xy = tuple((m - c) // (2 * align) * align for m, c in zip(model_wh, content_wh))
    return Letterbox(image_wh, model_wh, content_wh, pad_xy)


def _content_wh(image_wh: SizeWH, model_wh: SizeWH, align: int) -> SizeWH:
    gain = min(m / i for m, i in zip(model_wh, image_wh))
    return tuple(
        min(m, max(align, round(i * gain / align) * align)) for i, m in zip(image_wh, model_wh))
