"""Two results of one picture, drawn next to each other."""

from pathlib import Path
from typing import Sequence, Tuple

import cv2
import numpy as np

from ..detections import Detections
from ..drawing import draw_overlay
from .errors import ToolError

CAPTION_HEIGHT = 28


def side_by_side(bgr: np.ndarray, parts: Sequence[Tuple[str, Detections]],
                 names: Tuple[str, ...]) -> np.ndarray:
    """One overlay per part, left to right, each under its caption.

    :param bgr: (h, w, 3) uint8 picture.
    """
    return np.hstack([_captioned(draw_overlay(bgr, detections, names), caption)
                      for caption, detections in parts])


def _captioned(overlay: np.ndarray, caption: str) -> np.ndarray:
    bar = np.zeros((CAPTION_HEIGHT, overlay.shape[1], 3), np.uint8)
    cv2.putText(bar, caption, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1,
                cv2.LINE_AA)
    return np.vstack([bar, overlay])


def write_picture(path: Path, bgr: np.ndarray) -> None:
    """Write a picture in the format that the name ends in.

    :raises ToolError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded, data = cv2.imencode(path.suffix or '.png', bgr)
        path.write_bytes(data.tobytes())
    except (OSError, cv2.error) as error:
        raise ToolError(f'The picture {path} cannot be written: {error}') from None
