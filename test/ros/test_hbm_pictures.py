"""Serialized shared-memory pictures, written by rclpy itself, against what was put into them."""

import struct

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message

from yolo_seg_node.errors import FrameError
from yolo_seg_node.ros.hbm_pictures import HEAD_BYTES, frame_from_hbm, hbm_types

pytest.importorskip('hbm_img_msgs')
KINDS = hbm_types()
SIZES = {'1080P': (1920, 1080, 6220800), '540P': (960, 540, 1555200), '480P': (640, 480, 921600)}


def random_nv12(width, height, step):
    """(rows, step) bytes; what lies behind a row is no pixel."""
    return np.random.default_rng(width).integers(0, 256, (height * 3 // 2, step), np.uint8)


def message(kind, rows, width, height, **fields):
    """A message as a TROS camera fills it."""
    filled = KINDS[f'hbm_img_msgs/msg/HbmMsg{kind}'](
        index=-7, time_stamp=Time(sec=1_700_000_000, nanosec=987_654_321), height=height,
        width=width, data_size=rows.size, step=rows.shape[1])
    filled.encoding[:4] = np.frombuffer(b'nv12', np.uint8)
    filled.data[:rows.size] = rows.reshape(-1)
    for name, value in fields.items():
        setattr(filled, name, value)
    return filled


def packed(width=8, height=4, data_size=48, step=8, encoding=b'nv12', order='<', pixels=48):
    """The same bytes put together by hand from the layout in the CDR specification."""
    head = struct.pack(order + '7i', 5, 6, 7, height, width, data_size, step)
    name = encoding.ljust(12, b'\0')
    return bytes([0, order == '<', 0, 0]) + head + name + bytes(i % 251 for i in range(pixels))


@pytest.mark.parametrize('padding', [0, 64])
@pytest.mark.parametrize('kind', SIZES)
def test_pixels_stamp_and_frame_of_what_rclpy_serialized(kind, padding):
    width, height, capacity = SIZES[kind]
    height = height if padding == 0 else height // 2
    rows = random_nv12(width, height, width + padding)
    assert rows.size <= capacity
    frame = frame_from_hbm(serialize_message(message(kind, rows, width, height)))
    assert (frame.encoding, frame.size_wh) == ('nv12', (width, height))
    assert (frame.stamp_ns, frame.frame_id) == (1_700_000_000_987_654_321, '-7')
    assert np.array_equal(frame.planes[0], rows[:height, :width])
    assert np.array_equal(frame.planes[1].reshape(height // 2, width), rows[height:, :width])


def test_planes_are_views_of_the_received_bytes():
    serialized = serialize_message(message('480P', random_nv12(640, 480, 640), 640, 480))
    received = np.frombuffer(serialized, np.uint8)
    assert all(np.shares_memory(plane, received) for plane in frame_from_hbm(serialized).planes)


@pytest.mark.parametrize('order', ['<', '>'])
def test_both_byte_orders(order):
    frame = frame_from_hbm(packed(order=order))
    assert (frame.size_wh, frame.stamp_ns, frame.frame_id) == ((8, 4), 6_000_000_007, '5')
    assert frame.planes[0][0].tolist() == list(range(8))


@pytest.mark.parametrize('step', [0, 1, 4096])
def test_nv12_without_gaps_needs_no_step(step):
    assert frame_from_hbm(packed(step=step)).planes[0][1, 0] == 8


def test_other_encodings_of_frames_work_too():
    frame = frame_from_hbm(packed(width=4, height=4, encoding=b'bgr8', step=12))
    assert frame.bgr()[1, 0].tolist() == [12, 13, 14]


@pytest.mark.parametrize('serialized, cause, words', [
    (b'', 'length', f'0 bytes, but needs {HEAD_BYTES}'),
    (packed()[:HEAD_BYTES - 1], 'length', f'{HEAD_BYTES - 1} bytes'),
    (b'\x00\x03' + packed()[2:], 'representation', '0003, but must be plain CDR: 0000 or 0001'),
    (packed(pixels=47), 'length', 'data_size 48, but its message holds 47'),
    (packed(data_size=-1), 'length', 'data_size 4294967295'),
    (packed(data_size=47, step=8), 'length', '47 bytes of data'),
    (packed(width=0), 'size', '0x4 is empty'),
    (packed(height=-2), 'length', 'but 6442450941 rows of step 8'),
    (packed(width=7), 'size', '7x4 is odd'),
    (packed(encoding=b'jpeg'), 'encoding', "'jpeg' is not supported"),
    (packed(encoding=b'\xff\xfe'), 'encoding', 'not supported'),
    (packed(encoding=b''), 'encoding', "'' is not supported"),
], ids=lambda value: value if isinstance(value, str) else 'bytes')
def test_what_is_no_picture_is_refused(serialized, cause, words):
    with pytest.raises(FrameError, match=words) as caught:
        frame_from_hbm(serialized)
    assert caught.value.cause == cause
