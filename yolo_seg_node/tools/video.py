"""Pictures with time stamps -> an MP4 file."""

from pathlib import Path
from typing import List, Optional, Tuple

import cv2
import numpy as np

from .errors import ToolError

# Frames whose stamps are looked at before the rate is set.
RATE_FRAMES = 10
MIN_FPS, MAX_FPS, DEFAULT_FPS = 1.0, 120.0, 10.0


def video_path(path: Path, camera: str, cameras: int) -> Path:
    """The file for one of several cameras: its name is added; a single one needs none."""
    if cameras == 1:
        return path
    return path.with_name(f'{path.stem}_{camera.strip("/").replace("/", "_")}{path.suffix}')


class VideoWriter:
    """One video frame per picture, at the usual rate of the pictures; use it in a ``with``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: List[Tuple[int, np.ndarray]] = []
        self._writer: Optional[cv2.VideoWriter] = None
        self._size_wh = (0, 0)

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is None and self._waiting:
            self._start()
        if self._writer is not None:
            self._writer.release()

    def write(self, time_ns: int, bgr: np.ndarray) -> None:
        """Append a picture; one of another size than the first is resized to that.

        :raises ToolError: the file cannot be written.
        """
        self._waiting.append((time_ns, bgr))
        if self._writer is not None or len(self._waiting) >= RATE_FRAMES:
            self._start()

    def _start(self) -> None:
        if self._writer is None:
            height, width = self._waiting[0][1].shape[:2]
            self._size_wh = (width, height)
            self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*'mp4v'),
                                           _rate([t for t, _ in self._waiting]), self._size_wh)
            if not self._writer.isOpened():
                raise ToolError(f'The video {self.path} cannot be written; check the folder, and '
                                'that the name ends in .mp4.')
        for _, bgr in self._waiting:
            same = bgr.shape[1::-1] == self._size_wh
            self._writer.write(bgr if same else cv2.resize(bgr, self._size_wh))
        self._waiting.clear()


def _rate(times_ns: List[int]) -> float:
    """Frames per second: one by the median distance in time."""
    steps = np.diff(np.sort(times_ns))
    if not np.any(steps > 0):
        return DEFAULT_FPS
    return float(np.clip(1e9 / np.median(steps[steps > 0]), MIN_FPS, MAX_FPS))
