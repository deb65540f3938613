"""Detections -> messages. Every header is the picture's own."""

import sys
from array import array
from collections import deque
from typing import Callable, Deque, Optional, Tuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionClass)

from ..detections import Detections

JPEG_QUALITY = 85


class SpareDetections:
    """Published detection messages, to be filled again; threads may share it.

    A new message is a tree of a dozen objects and costs ten times as much as filling an old one.
    """

    def __init__(self) -> None:
        self._spares: Deque[Detection2D] = deque()

    def take(self) -> Detection2D:
        """A message with one hypothesis, whose values are left from an earlier picture."""
        try:
            return self._spares.pop()
        except IndexError:
            return Detection2D(results=[ObjectHypothesisWithPose()])

    def add(self, published: Detection2DArray) -> None:
        """Keep the detections of a message that nobody looks at any more."""
        self._spares.extend(published.detections)


def detection_array(header: Header, detections: Detections, class_text: Callable[[int], str],
                    spares: Optional[SpareDetections] = None) -> Detection2DArray:
    """All detections by falling score, also when there are none.

    Box centres and sizes are in pixels of the source picture; x points right, y down, and the
    origin is the top left corner of the top left pixel.

    :param class_text: what ``class_id`` of a class number is.
    :param spares: where to take the messages of the detections from.
    """
    take = (spares or SpareDetections()).take
    x1y1, x2y2 = detections.xyxy_image[:, :2], detections.xyxy_image[:, 2:]
    rows = np.hstack([(x1y1 + x2y2) / 2, x2y2 - x1y1, detections.score[:, None]]).tolist()
    ids = detections.class_id.tolist()
    return Detection2DArray(header=header, detections=[
        _filled(take(), header, class_text(class_id), *row) for class_id, row in zip(ids, rows)])


def _filled(detection: Detection2D, header: Header, class_text: str, x: float, y: float,
            width: float, height: float, score: float) -> Detection2D:
    hypothesis, box = detection.results[0].hypothesis, detection.bbox
    detection.header = header
    hypothesis.class_id, hypothesis.score = class_text, score
    box.center.position.x, box.center.position.y = x, y
    box.size_x, box.size_y = width, height
    return detection


def mask_image(header: Header, values: np.ndarray) -> Image:
    """Image mono8 or mono16 of a (h, w) uint8 or uint16 map."""
    return image(header, values, 'mono8' if values.dtype == np.uint8 else 'mono16')


def image(header: Header, pixels: np.ndarray, encoding: str) -> Image:
    """Image of contiguous pixels (h, w) or (h, w, channels) in the byte order of this machine."""
    height, width = pixels.shape[:2]
    return Image(header=header, height=height, width=width, encoding=encoding,
                 is_bigendian=int(sys.byteorder == 'big'), step=pixels.nbytes // height,
                 data=_bytes(pixels))


def jpeg_image(header: Header, bgr: np.ndarray) -> CompressedImage:
    """JPEG of (h, w, 3) uint8 pixels, with the format text of image_transport."""
    _, encoded = cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return CompressedImage(header=header, format='bgr8; jpeg compressed bgr8', data=_bytes(encoded))


def _bytes(pixels: np.ndarray) -> array:
    """The one form that is fast to assign in every ROS distribution."""
    data = array('B')
    data.frombytes(memoryview(pixels).cast('B'))
    return data


def label_info(names: Tuple[str, ...], threshold: float) -> LabelInfo:
    """Names of the values in a class mask: class id + 1, since 0 is the background."""
    classes = [VisionClass(class_id=i + 1, class_name=name) for i, name in enumerate(names)]
    return LabelInfo(class_map=classes, threshold=threshold)
