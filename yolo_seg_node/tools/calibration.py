"""Pictures for calibration, brought into the form in which the model sees them at run time."""

from pathlib import Path
from typing import Iterator, List, Sequence

import cv2
import numpy as np

from ..errors import FrameError
from ..frame import Frame, frame_from_compressed
from ..letterbox import SizeWH
from ..model_input import NHWC, NV12, InputFormat, Preprocessor
from .errors import ToolError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')
LEAST = 20
USUAL = 50


def calibration_frames(folder: Path, count: int = USUAL) -> List[Frame]:
    """Up to ``count`` pictures of a folder and its subfolders, evenly over their names.

    :raises ToolError: fewer than ``LEAST`` can be read; unreadable ones are named.
    """
    if not folder.is_dir():
        raise ToolError(f'There is no folder {str(folder)!r}; --calibration names a folder with at '
                        f'least {LEAST} pictures like those that the robot will see.')
    paths = sorted(p for p in folder.rglob('*') if p.suffix.lower() in SUFFIXES and p.is_file())
    frames, unreadable = [], []
    for path in _spread(paths, count):
        try:
            frames.append(frame_from_compressed(path.read_bytes()))
        except (FrameError, OSError) as error:
            unreadable.append(f'{path.name} ({error})')
    if len(frames) < LEAST:
        raise ToolError(_too_few(folder, paths, frames, unreadable))
    if unreadable:
        print(f'{len(unreadable)} picture(s) cannot be read and are left out: '
              f'{"; ".join(unreadable[:5])}')
    return frames


def _spread(paths: Sequence[Path], count: int) -> List[Path]:
    index = np.linspace(0, len(paths) - 1, min(count, len(paths)))
    return [paths[i] for i in np.unique(index.round().astype(int))]


def _too_few(folder: Path, paths: Sequence[Path], frames: Sequence[Frame],
             unreadable: Sequence[str]) -> str:
    broken = f', and cannot be read: {"; ".join(unreadable[:5])}' if unreadable else ''
    return (f'Calibration needs at least {LEAST} pictures, but of the {len(paths)} in '
            f'{str(folder)!r} only {len(frames)} were read{broken}. Put more pictures like those '
            f'that the robot will see there ({", ".join(SUFFIXES)}).')


def empty_folder(folder: Path) -> None:
    """Make a folder for calibration data, without those of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob('[0-9][0-9][0-9][0-9].*'):
        old.unlink()


def model_pictures(frames: Sequence[Frame], size_wh: SizeWH, nv12: bool) -> Iterator[np.ndarray]:
    """Letterboxed pictures (h, w, 3) uint8 in R, G, B order, each valid until the next.

    :param nv12: the model is fed with NV12: even geometry, and colours at half resolution.
    """
    kind = NV12 if nv12 else NHWC
    preprocessor = Preprocessor(InputFormat(kind, size_wh, np.dtype(np.uint8)))
    for frame in frames:
        array = preprocessor.prepare(frame)[0][0]
        if nv12:
            rows = array.reshape(size_wh[1] * 3 // 2, size_wh[0])
            yield cv2.cvtColor(rows, cv2.COLOR_YUV2RGB_NV12)
        else:
            yield array[0]
