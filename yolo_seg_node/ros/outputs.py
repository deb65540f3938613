"""The publishers of one camera, and what is made for whom."""

from typing import Any, Callable, Collection, Dict, FrozenSet, List, NamedTuple, Tuple

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from ..config import WorkConfig
from ..detections import Detections
from ..drawing import draw_overlay
from ..frame import Frame
from ..labels import label_of
from ..pipeline import NO_MASKS, PROTO_MASKS, Facts, Result
from . import messages
from .frames import header_of
from .parameters import ALWAYS, NEVER, NUMBER
from .qos import LABELS, RESULTS
from .topics import CameraTopics
from .tros_outputs import PerceptionTargets, TrosOutputs

DETECTIONS, LABEL_INFO = 'detections', 'label_info'
INSTANCE_MASK, CLASS_MASK = 'instance_mask', 'class_mask'
OVERLAY, OVERLAY_COMPRESSED = 'overlay', 'overlay/compressed'
# Its topic is a parameter.
TARGETS = 'targets'
MASK_TOPICS = (INSTANCE_MASK, CLASS_MASK)
OVERLAY_TOPICS = (OVERLAY, OVERLAY_COMPRESSED)

# A message and the output on which it goes out.
Addressed = Tuple[str, Any]


class Wanted(NamedTuple):
    """For whom a picture is processed.

    :ivar outputs: names of the outputs that somebody subscribes to.
    :ivar masks: the masks that they need, as ``Pipeline.process`` takes it.
    """

    outputs: FrozenSet[str]
    masks: str


class Outputs:
    """Makes and publishes the messages of one camera."""

    def __init__(self, node: LifecycleNode, topics: CameraTopics, config: WorkConfig,
                 facts: Facts, targets_topic: str) -> None:
        """Create the publishers; they are silent until the node is active.

        :param targets_topic: ``msg_pub_topic_name``.
        """
        self._node, self._topics = node, topics
        self._names, self._has_masks = config.class_names, facts.has_masks
        self._spares = messages.SpareDetections()
        self._publishers: Dict[str, Any] = {}
        self._add(DETECTIONS, Detection2DArray, RESULTS)
        self._add(LABEL_INFO, LabelInfo, LABELS)
        self._add(OVERLAY, Image, RESULTS)
        self._add(OVERLAY_COMPRESSED, CompressedImage, RESULTS)
        for name in MASK_TOPICS if facts.has_masks else ():
            self._add(name, Image, RESULTS)
        if PerceptionTargets:
            self._publishers[TARGETS] = TrosOutputs(
                node, topics, targets_topic, config, facts)

    def _add(self, name: str, kind: type, qos: QoSProfile) -> None:
        self._publishers[name] = self._node.create_lifecycle_publisher(
            kind, self._topics.output(name), qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def close(self) -> None:
        """Destroy the publishers."""
        if TARGETS in self._publishers:
            self._publishers.pop(TARGETS).close()
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def wanted(self, values: Dict[str, Any]) -> Wanted:
        """What to make of the next picture.

        Decided once for each, since who subscribes while it is processed needs other masks than
        those that were drawn; the next picture is theirs.

        :param values: the node's parameters.
        """
        outputs = frozenset(name for name, publisher in self._publishers.items()
                            if publisher.get_subscription_count())
        return Wanted(outputs, self._masks_for(outputs, values))

    def _masks_for(self, outputs: FrozenSet[str], values: Dict[str, Any]) -> str:
        policy, resolution = values['masks'], values['mask_resolution']
        if not self._has_masks or policy == NEVER:
            return NO_MASKS
        shown = values['dump_render_img'] or outputs.intersection(MASK_TOPICS + OVERLAY_TOPICS)
        if policy == ALWAYS or shown:
            return resolution
        return PROTO_MASKS if TARGETS in outputs else NO_MASKS

    def subscribers(self) -> int:
        """How many subscribe to the results."""
        return sum(publisher.get_subscription_count() for publisher in self._publishers.values())

    def make(self, frame: Frame, result: Result, values: Dict[str, Any],
             outputs: FrozenSet[str]) -> List[Addressed]:
        """All messages of a picture.

        :param outputs: see ``Wanted``.
        """
        header, detections = header_of(frame), result.detections
        made = [(DETECTIONS, messages.detection_array(
            header, detections, self._class_text(values['class_id_format']), self._spares))]
        if detections.masks is not None:
            made += _masks(header, detections,
                           MASK_TOPICS if values['masks'] == ALWAYS else outputs)
        if outputs.intersection(OVERLAY_TOPICS):
            made += self._overlays(header, frame, detections, outputs)
        if TARGETS in outputs:
            made.append((TARGETS, self._publishers[TARGETS].make(header, frame, result, values)))
        return made

    def _class_text(self, form: str) -> Callable[[int], str]:
        return str if form == NUMBER else lambda class_id: label_of(self._names, class_id)

    def _overlays(self, header: Header, frame: Frame, detections: Detections,
                  outputs: FrozenSet[str]) -> List[Addressed]:
        overlay, made = draw_overlay(frame.bgr(), detections, self._names), []
        if OVERLAY in outputs:
            made.append((OVERLAY, messages.image(header, overlay, 'bgr8')))
        if OVERLAY_COMPRESSED in outputs:
            made.append((OVERLAY_COMPRESSED, messages.jpeg_image(header, overlay)))
        return made

    def publish(self, made: List[Addressed]) -> None:
        """Send what ``make`` made; the detection messages are used again."""
        for name, message in made:
            self._publishers[name].publish(message)
            if name == DETECTIONS:
                self._spares.add(message)

    def publish_labels(self, threshold: float) -> None:
        """Send the class names, for now and for who comes later."""
        self._publishers[LABEL_INFO].publish(messages.label_info(self._names, threshold))


def _masks(header: Header, detections: Detections, outputs: Collection[str]) -> List[Addressed]:
    maps = {INSTANCE_MASK: detections.instance_map, CLASS_MASK: detections.class_map}
    return [(name, messages.mask_image(header, draw())) for name, draw in maps.items()
            if name in outputs]
