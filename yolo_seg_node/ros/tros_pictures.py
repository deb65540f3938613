"""Picture files as in TROS: one in place of a camera, and the rendered ones that are written."""

import re
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

import cv2

from ..detections import Detections
from ..drawing import draw_overlay
from ..errors import ConfigError, FrameError
from ..frame import Frame, frame_from_buffer, frame_from_compressed
from ..paths import find_file, search_dirs

# Name of the camera, and frame_id of its only picture, whose stamp is 0.
FEEDBACK = 'feedback'
# Value of image_type for raw NV12; 0 is a JPEG, PNG or BMP file.
NV12_FILE = 1


class PictureFile:
    """Stands in for a camera: hands the picture on at once, and again for everybody who comes."""

    def __init__(self, frame: Frame, path: Path, subscribers: Callable[[], int],
                 receive: Callable[[Frame], None]) -> None:
        """:param subscribers: tells how many subscribe to the results."""
        self.full_name = str(path)
        self._frame, self._subscribers, self._receive = frame, subscribers, receive
        self._served = -1

    def follow(self) -> None:
        """Hand the picture on if there is somebody new; to be called regularly."""
        count = self._subscribers()
        if count > self._served:
            self._receive(self._frame)
        self._served = count

    def close(self) -> None:
        """Begin anew with the next ``follow``."""
        self._served = -1

    def silence(self) -> Optional[str]:
        """A file is never silent."""
        return None


def read_picture(values: Dict[str, Any]) -> Tuple[Frame, Path]:
    """The picture that ``image`` and ``image_type`` name, and its file.

    :param values: the node's parameters.
    :raises ConfigError: it cannot be read.
    """
    name = values['image']
    path = find_file(name, search_dirs(None)) if name else None
    if path is None:
        raise _problem(f'image is {name!r}, but there is no such file, and feed_type 0 needs one')
    try:
        return _frame(path.read_bytes(), values), path
    except (OSError, FrameError) as error:
        raise _problem(f'image is {path} with {_format(values)}: {error}') from None


def _problem(sentence: str) -> ConfigError:
    return ConfigError('The set of parameters', [sentence])


def _frame(data: bytes, values: Dict[str, Any]) -> Frame:
    if values['image_type'] == NV12_FILE:
        width, height = values['image_width'], values['image_height']
        return frame_from_buffer(data, 'nv12', width, height, width, frame_id=FEEDBACK)
    return frame_from_compressed(data, frame_id=FEEDBACK)


def _format(values: Dict[str, Any]) -> str:
    names = ['image_type']
    if values['image_type'] == NV12_FILE:
        names += ['image_width', 'image_height']
    return ', '.join(f'{name} {values[name]}' for name in names)


def rendered_name(frame: Frame) -> str:
    """Name of a rendered picture, as in TROS; a frame_id may hold what a file name cannot."""
    sec, nanosec = divmod(frame.stamp_ns, 10**9)
    return f'render_{re.sub("[^A-Za-z0-9_.-]", "_", frame.frame_id)}_{sec}_{nanosec}.jpeg'


def write_rendered(folder: Path, frame: Frame, detections: Detections,
                   names: Tuple[str, ...]) -> None:
    """Write a picture with its results as JPEG.

    :raises OSError: it cannot be written.
    """
    _, encoded = cv2.imencode('.jpeg', draw_overlay(frame.bgr(), detections, names))
    (folder / rendered_name(frame)).write_bytes(encoded.tobytes())
