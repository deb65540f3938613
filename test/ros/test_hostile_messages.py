"""Fields of picture messages that mean harm or nothing, through what the node does with them."""

import array

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from yolo_seg_node.errors import FrameError
from yolo_seg_node.frame import ALIASES, ENCODINGS
from yolo_seg_node.ros.frames import frame_from_message, header_of, received_stamp_ns

UINT32 = st.sampled_from([0, 1, 2, 3, 4, 8, 12, 2**16, 2**31 - 1, 2**31, 2**32 - 1])
# Width, height, step and bytes; the last two are right for most encodings, or for NV12.
SIZES = (st.tuples(UINT32, UINT32, UINT32, st.sampled_from([0, 1, 4, 12, 32, 48, 64, 96]))
         | st.sampled_from([(4, 2, 16, 32), (4, 2, 16, 48)]))
JPEG = cv2.imencode('.jpg', np.zeros((4, 6, 3), np.uint8))[1].tobytes()
headers = st.tuples(st.sampled_from([-2**31, -1, 0, 1, 2**31 - 1]),
                    st.sampled_from([0, 1, 10**9 - 1, 10**9, 2**32 - 1]), st.text(max_size=5))


def check(message, sec, nanosec, frame_id):
    """Sent and received; then a frame under the same header, or a FrameError."""
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    message.header.frame_id = frame_id.replace('\0', '')
    message = deserialize_message(serialize_message(message), type(message))
    received_stamp_ns(message)
    try:
        frame = frame_from_message(message)
    except FrameError as error:
        assert str(error)
        return
    assert header_of(frame) == message.header
    assert frame.bgr().shape == (frame.height, frame.width, 3)


@settings(max_examples=300)
@given(headers, st.sampled_from([*ENCODINGS, *ALIASES, '', 'h264', 'é']), SIZES)
def test_any_image_gives_a_frame_or_a_frame_error(header, encoding, sizes):
    width, height, step, length = sizes
    check(Image(encoding=encoding, width=width, height=height, step=step,
                data=array.array('B', bytes(length))), *header)


@settings(max_examples=100)
@given(headers, st.text('jpegpn; ', max_size=9), st.binary(max_size=40) | st.just(JPEG))
def test_any_compressed_image_gives_a_frame_or_a_frame_error(header, form, data):
    check(CompressedImage(format=form, data=array.array('B', data)), *header)
