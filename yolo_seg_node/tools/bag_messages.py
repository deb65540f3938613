"""Detections -> the serialised messages that the node would publish, without ROS."""

import sys
from typing import Any, Dict, List, Tuple

import numpy as np

from ..detections import Detections
from ..labels import label_of
from ..paths import share_dir
from .errors import ToolError, optional_module

DETECTIONS, LABEL_INFO = 'detections', 'label_info'
INSTANCE_MASK, CLASS_MASK = 'instance_mask', 'class_mask'
MSGTYPES = {
    DETECTIONS: 'vision_msgs/msg/Detection2DArray',
    LABEL_INFO: 'vision_msgs/msg/LabelInfo',
    INSTANCE_MASK: 'sensor_msgs/msg/Image',
    CLASS_MASK: 'sensor_msgs/msg/Image',
}
DEFINITIONS = 'environment/msg/vision_msgs/msg'

# The output on which a message goes out, and its CDR bytes.
Addressed = Tuple[str, bytes]


def message_types() -> Any:
    """Typestore of rosbags with all message types of the results.

    :raises ToolError: rosbags, or the definitions of vision_msgs, are not installed.
    """
    typesys = optional_module('rosbags.typesys', 'replay')
    types = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    folder = share_dir() / DEFINITIONS
    definitions: Dict[str, Any] = {}
    for path in sorted(folder.glob('*.msg')):
        definitions.update(typesys.get_types_from_msg(
            path.read_text(encoding='utf-8'), f'vision_msgs/msg/{path.stem}'))
    if not definitions:
        raise ToolError(f'The message definitions of vision_msgs are not in {folder}; install the '
                        'package again.')
    types.register(definitions)
    return types


class MessageBuilder:
    """Makes the messages of one model; they equal those of ``ros/messages.py``."""

    def __init__(self, class_names: Tuple[str, ...]) -> None:
        self.typestore, self._names = message_types(), class_names
        self._types = self.typestore.types

    def results(self, stamp_ns: int, frame_id: str, detections: Detections) -> List[Addressed]:
        """All messages of one picture; masks only where there are some."""
        header = self._header(stamp_ns, frame_id)
        made = {DETECTIONS: self._detection_array(header, detections)}
        if detections.masks is not None:
            made[INSTANCE_MASK] = self._mask_image(header, detections.instance_map())
            made[CLASS_MASK] = self._mask_image(header, detections.class_map())
        return [(output, self._serialised(output, message)) for output, message in made.items()]

    def labels(self, threshold: float) -> Addressed:
        """Names of the values in a class mask; its header is empty, as the node's."""
        make_class = self._types['vision_msgs/msg/VisionClass']
        classes = [make_class(i + 1, name) for i, name in enumerate(self._names)]
        message = self._types[MSGTYPES[LABEL_INFO]](self._header(0, ''), classes, threshold)
        return LABEL_INFO, self._serialised(LABEL_INFO, message)

    def _serialised(self, output: str, message: Any) -> bytes:
        return bytes(self.typestore.serialize_cdr(message, MSGTYPES[output]))

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        stamp = self._types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
        return self._types['std_msgs/msg/Header'](stamp, frame_id)

    def _detection_array(self, header: Any, detections: Detections) -> Any:
        x1y1, x2y2 = detections.xyxy_image[:, :2], detections.xyxy_image[:, 2:]
        rows = np.hstack([(x1y1 + x2y2) / 2, x2y2 - x1y1, detections.score[:, None]]).tolist()
        names = [label_of(self._names, i) for i in detections.class_id.tolist()]
        return self._types[MSGTYPES[DETECTIONS]](
            header, [self._detection(header, name, *row) for name, row in zip(names, rows)])

    def _detection(self, header: Any, name: str, x: float, y: float, width: float, height: float,
                   score: float) -> Any:
        types = self._types
        centre = types['vision_msgs/msg/Pose2D'](types['vision_msgs/msg/Point2D'](x, y), 0.0)
        box = types['vision_msgs/msg/BoundingBox2D'](centre, width, height)
        hypothesis = types['vision_msgs/msg/ObjectHypothesis'](name, score)
        result = types['vision_msgs/msg/ObjectHypothesisWithPose'](hypothesis, self._no_pose())
        return types['vision_msgs/msg/Detection2D'](header, [result], box, '')

    def _no_pose(self) -> Any:
        types = self._types
        pose = types['geometry_msgs/msg/Pose'](types['geometry_msgs/msg/Point'](0.0, 0.0, 0.0),
                                               types['geometry_msgs/msg/Quaternion'](0, 0, 0, 1.0))
        return types['geometry_msgs/msg/PoseWithCovariance'](pose, np.zeros(36))

    def _mask_image(self, header: Any, values: np.ndarray) -> Any:
        height, width = values.shape
        encoding = 'mono8' if values.dtype == np.uint8 else 'mono16'
        return self._types['sensor_msgs/msg/Image'](
            header, height, width, encoding, int(sys.byteorder == 'big'), values.nbytes // height,
            values.reshape(-1).view(np.uint8))
