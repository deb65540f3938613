"""The result for one picture: parallel arrays in source-image pixels."""

from dataclasses import dataclass
from typing import Optional, Tuple

import cv2
import numpy as np


@dataclass(frozen=True)
class Masks:
    """One crop per detection on a pixel grid of ``size_wh``.

    The grid is the source image, or a coarser one that covers exactly the source image.

    :ivar crops: n arrays ``(h_i, w_i)`` bool, True on the object; may have zero size.
    :ivar origin_xy: (n, 2) int32, grid pixel at which each crop starts.
    """

    crops: Tuple[np.ndarray, ...]
    origin_xy: np.ndarray
    size_wh: Tuple[int, int]

    def area(self) -> np.ndarray:
        """Pixels of each mask, (n,) int64."""
        return np.array([np.count_nonzero(crop) for crop in self.crops], np.int64)

    def draw(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Map ``(h, w)`` of ``dtype`` with ``values[i]`` on mask i; 0 elsewhere.

        Where masks overlap the earlier one, that is the one with the higher score, wins.
        """
        width, height = self.size_wh
        canvas = np.zeros((height, width), dtype)
        for i in range(len(self.crops) - 1, -1, -1):
            crop, (x, y) = self.crops[i], self.origin_xy[i]
            if crop.size:  # half the time of np.copyto
                cv2.copyTo(np.full(crop.shape, values[i], dtype), crop.view(np.uint8),
                           canvas[y:y + crop.shape[0], x:x + crop.shape[1]])
        return canvas


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, sorted by falling score.

    :ivar image_wh: width and height of the source image in pixels.
    :ivar xyxy_image: (n, 4) float32 boxes x1, y1, x2, y2 in source-image pixels, inside the image.
    :ivar score: (n,) float32 in [0, 1].
    :ivar class_id: (n,) int32.
    :ivar masks: instance masks, or None when they were not asked for or the model has none.
    """

    image_wh: Tuple[int, int]
    xyxy_image: np.ndarray
    score: np.ndarray
    class_id: np.ndarray
    masks: Optional[Masks] = None

    def __len__(self) -> int:
        return len(self.score)

    def instance_map(self) -> np.ndarray:
        """Map with k on the k-th detection (1-based) and 0 on the background.

        uint8, or uint16 above 254 detections, on the grid of ``masks``.
        """
        dtype = np.uint8 if len(self) <= 254 else np.uint16
        return self.masks.draw(np.arange(1, len(self) + 1, dtype=dtype), dtype)

    def class_map(self) -> np.ndarray:
        """Map with class id + 1 on the objects and 0 on the background.

        uint8, or uint16 if a class id above 253 was found (255 means "unlabelled" in LabelInfo).
        """
        largest = int(self.class_id.max()) if len(self) else 0
        dtype = np.uint8 if largest <= 253 else np.uint16
        return self.masks.draw((self.class_id + 1).astype(dtype), dtype)
