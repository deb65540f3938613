"""Width and height that a compressed picture claims, read before anything is decoded."""

import re
import struct
from typing import Callable, Dict, Optional

from .letterbox import SizeWH

# ITU-T T.81, table B.1: markers of a frame header, which holds the size ...
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# ... and markers without a length after them: TEM and RSTn.
_JPEG_BARE = frozenset([0x01, *range(0xD0, 0xD8)])
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
# Section B.1.1.2: any number of fill bytes may come before the code.
_JPEG_MARKER = re.compile(b'\xff+([^\x00\xff])', re.DOTALL)
# A colour profile takes up to 255 of them.
_JPEG_MOST_SEGMENTS = 1000

_PNG_START = b'\x89PNG\r\n\x1a\n'
_PNG_ANIMATION = frozenset([b'acTL', b'fcTL', b'fdAT'])


def claimed_size_wh(data: bytes) -> Optional[SizeWH]:
    """Width and height in the header of a JPEG, PNG or BMP picture.

    None for other bytes, and for a PNG that is cut or animated.
    """
    read = next((read for start, read in _READERS.items() if data.startswith(start)), None)
    try:
        return read(data) if read else None
    except struct.error:  # the data ends before the size
        return None


def _jpeg_size_wh(data: bytes) -> Optional[SizeWH]:
    """Follow the segments to the first frame header, as decoders do."""
    position = 2
    for _ in range(_JPEG_MOST_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)
        marker = found.group(1)[0] if found else _JPEG_END
        if marker in (_JPEG_SCAN, _JPEG_END):
            return None
        position = found.end()
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from('>HH', data, position + 3)
            return width, height
        if marker not in _JPEG_BARE:
            position += struct.unpack_from('>H', data, position)[0]
    return None


def _png_size_wh(data: bytes) -> Optional[SizeWH]:
    """PNG 1.2, sections 3.2 and 4.1: chunks from IHDR to IEND, and the data holds them all.

    OpenCV 4.11 and newer takes memory for the length that a chunk claims, and reads the chunks of
    an animation without looking at their length.
    """
    kinds, position = [b''], len(_PNG_START)
    while kinds[-1] != b'IEND':
        length, kind = struct.unpack_from('>I4s', data, position)
        kinds.append(kind)
        position += 12 + length
    if kinds[1] != b'IHDR' or position > len(data) or _PNG_ANIMATION.intersection(kinds):
        return None
    return struct.unpack_from('>II', data, len(_PNG_START) + 8)


def _bmp_size_wh(data: bytes) -> SizeWH:
    """The size has 16 bits in the oldest form; a negative height counts rows from the top."""
    old = struct.unpack_from('<I', data, 14) == (12,)
    width, height = struct.unpack_from('<HH' if old else '<ii', data, 18)
    return width, abs(height)


_READERS: Dict[bytes, Callable[[bytes], Optional[SizeWH]]] = {
    b'\xff\xd8\xff': _jpeg_size_wh, _PNG_START: _png_size_wh, b'BM': _bmp_size_wh}
