"""One picture in its own encoding; planes are views of the bytes that arrived, never copies."""

from dataclasses import dataclass
from typing import Dict, NamedTuple, Optional, Tuple, Union

import cv2
import numpy as np

from .errors import FrameError
from .picture_header import claimed_size_wh

Buffer = Union[bytes, bytearray, memoryview, np.ndarray]


class _Encoding(NamedTuple):
    """``channels`` are bytes per pixel of the first plane; ``to_bgr`` is the OpenCV conversion."""

    channels: int
    to_bgr: Optional[int]


ENCODINGS: Dict[str, _Encoding] = {
    'bgr8': _Encoding(3, None),
    'rgb8': _Encoding(3, cv2.COLOR_RGB2BGR),
    'bgra8': _Encoding(4, cv2.COLOR_BGRA2BGR),
    'rgba8': _Encoding(4, cv2.COLOR_RGBA2BGR),
    'mono8': _Encoding(1, cv2.COLOR_GRAY2BGR),
    'nv12': _Encoding(1, cv2.COLOR_YUV2BGR_NV12),
    'nv21': _Encoding(1, cv2.COLOR_YUV2BGR_NV21),
    'yuv422': _Encoding(2, cv2.COLOR_YUV2BGR_UYVY),
    'yuv422_yuy2': _Encoding(2, cv2.COLOR_YUV2BGR_YUYV),
    # OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first
    # row's first two: ROS rggb is OpenCV's BayerBG.
    'bayer_rggb8': _Encoding(1, cv2.COLOR_BayerBG2BGR),
    'bayer_bggr8': _Encoding(1, cv2.COLOR_BayerRG2BGR),
    'bayer_gbrg8': _Encoding(1, cv2.COLOR_BayerGR2BGR),
    'bayer_grbg8': _Encoding(1, cv2.COLOR_BayerGB2BGR),
}
ALIASES = {'uyvy': 'yuv422', 'yuyv': 'yuv422_yuy2', '8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8'}
SEMI_PLANAR = ('nv12', 'nv21')

# Of a compressed picture, 8192 x 8192.
MAX_PIXELS = 1 << 26
# PNG with one bit a pixel is the densest: deflate makes at most 1032 bytes of one.
MAX_PIXELS_PER_BYTE = 8 * 1032
# Each scan of a progressive JPEG goes over all pixels; encoders write about ten.
MAX_JPEG_SCANS = 100
_JPEG_START, _JPEG_SCAN, _JPEG_END = b'\xff\xd8', b'\xff\xda', b'\xff\xd9'


@dataclass(frozen=True)
class Frame:
    """A picture and where and when it was taken.

    :ivar encoding: a key of ``ENCODINGS``.
    :ivar planes: uint8 views. NV12 and NV21: luma (h, w) and chroma (h/2, w/2, 2) in stored order;
        others: one (h, w, channels), or (h, w) with one channel. Rows may be padded (strided).
    :ivar stamp_ns: acquisition time in nanoseconds, as in the message header.
    :ivar frame_id: coordinate frame of the camera, as in the message header.
    """

    encoding: str
    width: int
    height: int
    planes: Tuple[np.ndarray, ...]
    stamp_ns: int = 0
    frame_id: str = ''

    @property
    def size_wh(self) -> Tuple[int, int]:
        """Width and height in pixels."""
        return (self.width, self.height)

    @property
    def is_yuv420(self) -> bool:
        """True when the planes are luma and half-resolution chroma."""
        return self.encoding in SEMI_PLANAR

    def chroma_uv(self) -> np.ndarray:
        """(h/2, w/2, 2) chroma of an NV12 or NV21 picture in U, V order, a view."""
        uv = self.planes[1]
        return uv if self.encoding == 'nv12' else uv[..., ::-1]

    def bgr(self) -> np.ndarray:
        """(h, w, 3) uint8 in B, G, R order; a view for bgr8, else a new array.

        YUV is taken as BT.601 with limited range, as OpenCV and the TROS tools do.
        """
        code = ENCODINGS[self.encoding].to_bgr
        if code is None:
            return self.planes[0]
        if self.is_yuv420:
            return cv2.cvtColorTwoPlane(self.planes[0], self.planes[1], code)
        return cv2.cvtColor(self.planes[0], code)


def frame_stamp_ns(sec: int, nanosec: int) -> int:
    """Stamp of a message in nanoseconds.

    :raises FrameError: the nanoseconds are a second or more, which no message may say; the results
        could not carry the same stamp.
    """
    if nanosec >= 10**9:
        raise FrameError('stamp', f'Picture has {nanosec} nanoseconds in its stamp, but a second '
                                  'has 1000000000; the publisher must set a valid stamp.')
    return sec * 10**9 + nanosec


def frame_from_buffer(
        data: Buffer, encoding: str, width: int, height: int, step: int,
        stamp_ns: int = 0, frame_id: str = '') -> Frame:
    """Wrap the bytes of a raw picture.

    :param data: the pixels, exactly ``step`` bytes for each row (NV12 has ``height * 3 / 2`` rows).
    :param encoding: a key of ``ENCODINGS`` or of ``ALIASES``; upper or lower case.
    :param step: bytes from one row to the next, padding included.
    :raises FrameError: unknown encoding, size that the encoding cannot have, or wrong length.
    """
    encoding = _known_encoding(encoding)
    _check_size(encoding, width, height)
    data = np.frombuffer(data, np.uint8)
    rows = height * 3 // 2 if encoding in SEMI_PLANAR else height
    row_bytes = width * ENCODINGS[encoding].channels
    _check_length(data.size, encoding, rows, row_bytes, step)
    lines = data.reshape(rows, step)[:, :row_bytes]
    return Frame(encoding, width, height, _planes(lines, encoding, width, height),
                 stamp_ns, frame_id)


def _known_encoding(encoding: str) -> str:
    name = ALIASES.get(encoding, ALIASES.get(encoding.lower(), encoding.lower()))
    if name not in ENCODINGS:
        allowed = ', '.join([*ENCODINGS, *ALIASES])
        raise FrameError('encoding', f'Picture encoding {encoding!r} is not supported; '
                                     f'publish one of: {allowed}.')
    return name


def _check_size(encoding: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise FrameError('size', f'Picture size {width}x{height} is empty; check the camera driver.')
    half_width = encoding in SEMI_PLANAR or encoding.startswith('yuv422')
    if (half_width and width % 2) or (encoding in SEMI_PLANAR and height % 2):
        raise FrameError('size', f'Picture size {width}x{height} is odd, which {encoding} cannot '
                                 'have; set an even size in the camera driver.')


def _check_length(size: int, encoding: str, rows: int, row_bytes: int, step: int) -> None:
    if step < row_bytes:
        raise FrameError('step', f'Picture has step {step}, but a row of {encoding} needs '
                                 f'{row_bytes} bytes; the publisher must set step.')
    if size != rows * step:
        raise FrameError('length', f'Picture has {size} bytes of data, but {rows} rows of step '
                                   f'{step} ({encoding}) are {rows * step}.')


def _planes(lines: np.ndarray, encoding: str, width: int, height: int) -> Tuple[np.ndarray, ...]:
    if encoding in SEMI_PLANAR:
        # Splitting the last axis of a strided array is always a view.
        return lines[:height], lines[height:].reshape(height // 2, width // 2, 2)
    channels = ENCODINGS[encoding].channels
    return (lines if channels == 1 else lines.reshape(height, width, channels),)


def frame_from_bgr(bgr: np.ndarray, stamp_ns: int = 0, frame_id: str = '') -> Frame:
    """Wrap an (h, w, 3) uint8 array in B, G, R order without copying it."""
    return Frame('bgr8', bgr.shape[1], bgr.shape[0], (bgr,), stamp_ns, frame_id)


def frame_from_compressed(data: Buffer, stamp_ns: int = 0, frame_id: str = '') -> Frame:
    """Decode a JPEG, PNG or BMP picture; the bytes say which, so the format text is not needed.

    Orientation tags are ignored: the pixels stay where the sensor put them.

    :raises FrameError: the data is no picture, or broken, or claims a size beyond ``MAX_PIXELS`` or
        beyond what so few bytes can hold; that is found before memory is taken for it.
    """
    encoded = bytes(data)
    size_wh = claimed_size_wh(encoded)
    # OpenCV knows more formats, but their sizes would not be checked.
    bgr = _decoded(encoded, size_wh) if size_wh else None
    if bgr is None:
        raise FrameError('decode', f'Compressed picture of {len(encoded)} bytes cannot be decoded '
                                   'as JPEG, PNG or BMP; the data is broken or of another format.')
    return frame_from_bgr(bgr, stamp_ns, frame_id)


def _decoded(encoded: bytes, size_wh: Tuple[int, int]) -> Optional[np.ndarray]:
    _check_claim(encoded, size_wh)
    if _is_bad_jpeg(encoded):
        return None
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8),
                            cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _check_claim(encoded: bytes, size_wh: Tuple[int, int]) -> None:
    most = min(MAX_PIXELS, MAX_PIXELS_PER_BYTE * len(encoded))
    if size_wh[0] * size_wh[1] > most:
        raise FrameError('size', f'Compressed picture of {len(encoded)} bytes claims to be '
                                 f'{size_wh[0]}x{size_wh[1]}, but so many bytes may hold at most '
                                 f'{most} pixels; the data is broken, or the camera must send '
                                 'smaller pictures.')


def _is_bad_jpeg(data: bytes) -> bool:
    """True when a JPEG has no end after its last scan, or scans beyond measure.

    Older OpenCV fills up what is missing.
    """
    return data.startswith(_JPEG_START) and (
        data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)
        or data.count(_JPEG_SCAN) > MAX_JPEG_SCANS)
