"""Shared-memory pictures of TROS, ``hbm_img_msgs``: serialized message -> Frame.

The pixels of such a message lie in an array of fixed size, 6 MB for ``HbmMsg1080P``. Taken as a
message it would be copied into a Python object; so it is taken serialized and viewed in place.
"""

import struct
from typing import Dict, NamedTuple

from ..errors import FrameError
from ..frame import SEMI_PLANAR, Frame, frame_from_buffer, frame_stamp_ns

HBM_PACKAGE = 'hbm_img_msgs'
HBM_KINDS = ('HbmMsg1080P', 'HbmMsg540P', 'HbmMsg480P')

# OMG DDS-RTPS 2.2, section 10: the first two bytes name the representation. In plain CDR the fields
# of these messages follow after four bytes without gaps, since all before the pixels are words.
BYTE_ORDERS = {b'\x00\x00': '>', b'\x00\x01': '<'}
ENCAPSULATION_BYTES = 4
FIELDS = 'iiIIIII12s'
HEAD_BYTES = ENCAPSULATION_BYTES + struct.calcsize('<' + FIELDS)


class _Head(NamedTuple):
    """Everything before the pixels, in the order of the message."""

    index: int
    sec: int
    nanosec: int
    height: int
    width: int
    data_size: int
    step: int
    encoding: bytes


def hbm_types() -> Dict[str, type]:
    """Message types by their ROS names; none where ``hbm_img_msgs`` is not installed."""
    try:
        from hbm_img_msgs import msg
    except ImportError:
        return {}
    return {f'{HBM_PACKAGE}/msg/{kind}': getattr(msg, kind) for kind in HBM_KINDS}


def frame_from_hbm(serialized: bytes) -> Frame:
    """View the picture in a serialized ``HbmMsg1080P``, ``540P`` or ``480P``, without a copy.

    As in TROS, the stamp is ``time_stamp`` and the frame_id is ``index`` as text.

    :raises FrameError: the bytes are no such message, or its picture cannot be used.
    """
    head = _head(serialized)
    pixels = memoryview(serialized)[HEAD_BYTES:]
    if head.data_size > len(pixels):
        raise FrameError('length', f'Shared-memory picture has data_size {head.data_size}, but its '
                                   f'message holds {len(pixels)} bytes of pixels.')
    encoding = head.encoding.rstrip(b'\0').decode('ascii', 'replace')
    return frame_from_buffer(
        pixels[:head.data_size], encoding, head.width, head.height, _step(head, encoding),
        frame_stamp_ns(head.sec, head.nanosec), str(head.index))


def hbm_stamp_ns(serialized: bytes) -> int:
    """Stamp of such a message in nanoseconds; 0, which is no stamp, for other bytes."""
    try:
        head = _head(serialized)
    except FrameError:
        return 0
    return head.sec * 10**9 + head.nanosec


def _head(serialized: bytes) -> _Head:
    if len(serialized) < HEAD_BYTES:
        raise FrameError('length', f'Shared-memory picture has {len(serialized)} bytes, but needs '
                                   f'{HEAD_BYTES} before the pixels.')
    order = BYTE_ORDERS.get(bytes(serialized[:2]))
    if order is None:
        raise FrameError('representation', 'Shared-memory picture is serialized as '
                                           f'{serialized[:2].hex()}, but must be plain CDR: '
                                           f'{" or ".join(key.hex() for key in BYTE_ORDERS)}.')
    return _Head(*struct.unpack_from(order + FIELDS, serialized, ENCAPSULATION_BYTES))


def _step(head: _Head, encoding: str) -> int:
    """Bytes from one row to the next.

    TROS never reads ``step``, so not every publisher sets it. NV12 without gaps shows in its size.
    """
    packed = head.data_size == head.width * (head.height * 3 // 2)
    return head.width if packed and encoding.lower() in SEMI_PLANAR else head.step
