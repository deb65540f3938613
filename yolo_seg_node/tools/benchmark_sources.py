"""What a benchmark feeds: a made picture, a picture file, or the pictures of a bag."""

import itertools
from pathlib import Path
from typing import List

import cv2
import numpy as np

from ..errors import FrameError
from ..letterbox import SizeWH
from .bag import Bag
from .bag_pictures import BagPicture, RawFormat, picture_topics, pictures
from .errors import ToolError
from .options import size_wh

NV12, BGR8 = 'nv12:', 'bgr8:'
FRAME_ID = 'camera'
# They stay in memory: 1080p pictures are 3 to 6 MB each.
MAX_PICTURES = 32


def read_source(text: str) -> List[BagPicture]:
    """The pictures that a source means, as a camera would deliver them.

    :param text: ``nv12:WIDTHxHEIGHT``, ``bgr8:WIDTHxHEIGHT``, a picture file, or a bag, of which
        the first pictures of the first camera are taken.
    :raises ToolError: it is none of these, or no picture in it can be used.
    """
    if text.startswith(NV12):
        width, height = _even_size(text[len(NV12):])
        return [_made_picture('nv12', width, height, height * 3 // 2, width)]
    if text.startswith(BGR8):
        width, height = _size(text[len(BGR8):])
        return [_made_picture('bgr8', width, height, height, width * 3)]
    path = Path(text)
    if path.is_file() and cv2.haveImageReader(str(path)):
        found = [BagPicture(path.name, 0, 0, FRAME_ID, np.fromfile(path, np.uint8), None)]
    else:
        found = _bag_pictures(path)
    usable = [picture for picture in found if _is_usable(picture)]
    if not usable:
        raise ToolError(f'No picture of {path} can be used; give another --source.')
    return usable


def _even_size(text: str) -> SizeWH:
    width, height = _size(text)
    if width % 2 or height % 2:
        raise ToolError(f'--source: {text} is odd, but NV12 has even sizes; take an even one.')
    return width, height


def _size(text: str) -> SizeWH:
    try:
        return size_wh(text)
    except Exception as error:
        raise ToolError(f'--source: {error}') from None


def _made_picture(encoding: str, width: int, height: int, rows: int, step: int) -> BagPicture:
    """Grey with a little noise: nothing to find, but nothing that could be cached away either.

    :param rows: of ``step`` bytes each.
    """
    data = np.random.default_rng(0).integers(96, 160, rows * step, np.uint8)
    return BagPicture(encoding, 0, 0, FRAME_ID, data, RawFormat(encoding, width, height, step))


def _bag_pictures(path: Path) -> List[BagPicture]:
    with Bag(path) as bag:
        found = pictures(bag, picture_topics(bag)[:1])
        return [picture for picture in itertools.islice(found, MAX_PICTURES)
                if not isinstance(picture, FrameError)]


def _is_usable(picture: BagPicture) -> bool:
    try:
        picture.frame()
    except FrameError:
        return False
    return True
