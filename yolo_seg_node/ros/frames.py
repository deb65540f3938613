"""Picture messages -> Frame."""

from functools import lru_cache
from typing import Any, Optional, Union

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ..errors import FrameError
from ..frame import (Frame, frame_from_bgr, frame_from_buffer, frame_from_compressed,
                     frame_stamp_ns)
from .hbm_pictures import frame_from_hbm, hbm_stamp_ns

# Bytes are a serialized hbm_img_msgs message, a Frame is a picture that was read from a file.
Picture = Union[Image, CompressedImage, bytes, Frame]


def stamp_ns(header: Header) -> int:
    """Stamp of a header in nanoseconds."""
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def received_stamp_ns(message: Union[Image, CompressedImage, bytes]) -> int:
    """Stamp of a received picture in nanoseconds."""
    return hbm_stamp_ns(message) if isinstance(message, bytes) else stamp_ns(message.header)


def header_of(frame: Frame) -> Header:
    """The header with which a picture came."""
    header = Header(frame_id=frame.frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(frame.stamp_ns, 10**9)
    return header


def frame_from_message(message: Picture) -> Frame:
    """Wrap or decode a picture message.

    Encodings of ``frame.ENCODINGS`` are wrapped without a copy. Others go through cv_bridge where
    it is installed.

    :raises FrameError: the picture cannot be used.
    """
    if isinstance(message, Frame):
        return message
    if isinstance(message, bytes):
        return frame_from_hbm(message)
    data = np.frombuffer(message.data, np.uint8)
    header = message.header
    stamp, frame_id = frame_stamp_ns(header.stamp.sec, header.stamp.nanosec), header.frame_id
    if isinstance(message, CompressedImage):
        return frame_from_compressed(data, stamp, frame_id)
    try:
        return frame_from_buffer(data, message.encoding, message.width, message.height,
                                 message.step, stamp, frame_id)
    except FrameError as error:
        if error.cause != 'encoding' or cv_bridge() is None:
            raise
    return frame_from_bgr(_converted(message), stamp, frame_id)


@lru_cache(maxsize=1)
def cv_bridge() -> Optional[Any]:
    """A ``CvBridge``, or None where cv_bridge is not installed or not usable."""
    try:
        from cv_bridge import CvBridge
    # Built for another numpy, its import also fails with AttributeError or SystemError.
    except Exception:
        return None
    return CvBridge()


def _converted(message: Image) -> np.ndarray:
    try:
        return np.ascontiguousarray(cv_bridge().imgmsg_to_cv2(message, 'bgr8'))
    # cv_bridge raises its own error, and those of OpenCV and numpy.
    except Exception as error:
        raise FrameError('encoding', f'Picture encoding {message.encoding!r} cannot be converted '
                                     f'by cv_bridge: {error}') from None
