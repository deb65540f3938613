"""Messages become frames; where cv_bridge is installed, with the same pixels."""

import array

import numpy as np
import pytest
from ros_pictures import picture
from sensor_msgs.msg import Image

from yolo_seg_node.errors import FrameError
from yolo_seg_node.ros.frames import cv_bridge, frame_from_message

NOISE = np.random.default_rng(7).integers(0, 256, (36, 48, 3), np.uint8)
SHARED = ['bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8', 'yuv422', 'yuv422_yuy2', 'bayer_rggb8',
          'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8']


def message(fields):
    """An Image with these fields."""
    filled = Image(encoding=fields['encoding'], width=fields['width'], height=fields['height'],
                   step=fields['step'], data=array.array('B', fields['data'].tobytes()))
    filled.header.stamp.sec, filled.header.stamp.nanosec = 1_700_000_000, 123_456_789
    filled.header.frame_id = fields['frame_id']
    return filled


@pytest.mark.parametrize('encoding', SHARED + ['nv12', 'nv21'])
def test_planes_are_views_of_the_message(encoding):
    filled = message(picture(NOISE, encoding, padding=8))
    frame = frame_from_message(filled)
    assert (frame.stamp_ns, frame.frame_id) == (1_700_000_000_123_456_789, 'camera_optical_frame')
    data = np.frombuffer(filled.data, np.uint8)
    assert all(np.shares_memory(plane, data) for plane in frame.planes)


@pytest.mark.parametrize('encoding', SHARED)
@pytest.mark.parametrize('padding', [0, 16])
def test_pixels_are_those_of_cv_bridge(encoding, padding):
    if cv_bridge() is None:
        pytest.skip('cv_bridge is not installed here')
    filled = message(picture(NOISE, encoding, padding))
    expected = cv_bridge().imgmsg_to_cv2(filled, 'bgr8')
    assert np.array_equal(frame_from_message(filled).bgr(), expected)


def test_an_encoding_that_only_cv_bridge_knows():
    fields = {**picture(NOISE), 'encoding': 'bgr16', 'step': 48 * 6,
              'data': NOISE.astype(np.uint16) * 257}
    if cv_bridge() is None:
        with pytest.raises(FrameError, match="'bgr16' is not supported"):
            frame_from_message(message(fields))
    else:
        assert frame_from_message(message(fields)).bgr().shape == NOISE.shape
