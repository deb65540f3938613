"""Picture message -> Frame, and Detections -> messages."""
from __future__ import annotations

import numpy as np
from decode import IMAGE_WH, candidates_of
from rclpy.serialization import serialize_message
from scenes import make_heads, pipeline_of, stored
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from table import Table
from timing import measure

from yolo_seg_node.pipeline import SOURCE_MASKS
from yolo_seg_node.ros.frames import frame_from_message
from yolo_seg_node.ros.messages import SpareDetections, detection_array, mask_image


def table(repetitions: int) -> Table:
    """CPU time of each message of a picture with 100 objects."""
    decode = candidates_of(pipeline_of(stored(make_heads(110), 'int')))[SOURCE_MASKS]
    detections = decode().detections
    header, width, height = Header(), *IMAGE_WH
    pixels = np.zeros((1620, 1920), np.uint8)
    picture = Image(header=header, width=1920, height=1080, step=1920, encoding='nv12')
    picture.data.frombytes(memoryview(pixels).cast('B'))
    spares, count = SpareDetections(), len(detections)

    def refilled() -> None:
        spares.add(detection_array(header, detections, str, spares))

    array_message = detection_array(header, detections, str)
    candidates = {
        '1080p NV12 Image -> Frame': lambda: frame_from_message(picture),
        f'Detection2DArray, {count} detections, of new messages':
            lambda: detection_array(header, detections, str),
        f'Detection2DArray, {count} detections, as the node does': refilled,
        f'Detection2DArray, {count} detections: serialise':
            lambda: serialize_message(array_message),
        f'instance_mask {width}x{height}: map and Image':
            lambda: mask_image(header, detections.instance_map()),
    }
    times = measure(candidates, repetitions)
    result = Table('Messages', ('message', 'CPU ms', 'wall ms'))
    for name in candidates:
        result.add(name, *times.timing(name))
    return result
