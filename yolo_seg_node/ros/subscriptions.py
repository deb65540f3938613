"""A subscription that follows its publishers, and says why nothing comes."""

import math
import time
from functools import partial
from typing import Any, Callable, List, Optional

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from ..errors import ConfigError
from .frames import Picture, received_stamp_ns
from .hbm_pictures import hbm_types
from .qos import following, incompatible
from .topics import COMPRESSED

SILENCE_SECS = 5.0
# So long after a change, or a picture of the old subscription, the new one may bring the same again.
DOUBLES_SECS = 1.0
SHARED_TYPES = hbm_types()
TYPES = {'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/CompressedImage': CompressedImage,
         **SHARED_TYPES}


class CameraSubscription:
    """The pictures of one camera.

    Type, reliability and durability are those of the publishers, whenever they come and change. The
    old subscription serves until the first picture of the new one, so that none is lost, and
    pictures that both bring are handled once.
    """

    def __init__(self, node: Node, topic: str, receive: Callable[[Picture], None],
                 expected: Optional[type] = None) -> None:
        """Prepare; ``follow`` subscribes.

        :param expected: type of the pictures while no publisher shows it; else it goes by the name.
        :raises ConfigError: the QoS override is wrong.
        """
        self._node, self._topic, self._receive = node, topic, receive
        self.full_name = node.resolve_topic_name(topic)
        by_name = CompressedImage if self.full_name.endswith(COMPRESSED) else Image
        self._expected = expected or by_name
        self._reliability = _reliability_override(node, self.full_name)
        self._subscription: Optional[Any] = None
        self._predecessor: Optional[Any] = None
        self._generation = 0
        self._newest_ns = 0
        self._overlap_secs = -math.inf
        self._publishers: List[TopicEndpointInfo] = []
        self._last_picture_secs = time.monotonic()

    def follow(self) -> None:
        """Subscribe as the publishers of this moment want it; to be called regularly."""
        self._publishers = self._node.get_publishers_info_by_topic(self._topic)
        kind, qos = self._type(), following(self._publishers)
        if self._reliability:
            qos.reliability = ReliabilityPolicy[self._reliability.upper()]
        current = self._subscription
        if current and (current.msg_type, current.qos_profile) == (kind, qos):
            return
        # With the publishers gone, what worked for them will do when they come back.
        if current and not self._publishers:
            return
        if current and current.msg_type is not kind:
            # A topic has one type in a process, so the old one must be gone: next time.
            self.close()
            return
        self._subscribe(kind, qos)

    def _type(self) -> type:
        found = [TYPES[p.topic_type] for p in self._publishers if p.topic_type in TYPES]
        return self._expected if self._expected in found or not found else found[0]

    def _subscribe(self, kind: type, qos: QoSProfile) -> None:
        self._destroy_predecessor()
        self._predecessor = self._subscription
        now_secs = time.monotonic()
        if self._predecessor and now_secs - self._last_picture_secs < DOUBLES_SECS:
            self._overlap_secs = now_secs
        self._generation += 1
        self._subscription = self._node.create_subscription(
            kind, self._topic, partial(self._on_picture, self._generation), qos,
            raw=kind in SHARED_TYPES.values())
        self._node.get_logger().info(
            f'Subscribed to {self.full_name} ({kind.__name__}, {qos.reliability.name.lower()}, '
            f'{qos.durability.name.lower()})')

    def _on_picture(self, generation: int, message: Picture) -> None:
        if generation == self._generation:
            self._destroy_predecessor()
            if self._is_double(received_stamp_ns(message)):
                return
        elif not self._predecessor:
            return  # the executor had taken it before the subscription was destroyed
        else:
            self._overlap_secs = time.monotonic()
        self._last_picture_secs = time.monotonic()
        self._newest_ns = received_stamp_ns(message)
        self._receive(message)

    def _is_double(self, picture_ns: int) -> bool:
        """Whether a new subscription brings what its predecessor brought already.

        Both bring what is sent while there are both, and a publisher that keeps its pictures sends
        them once more, those too that were lost on the way, and would now be out of order. 0 is no
        stamp.
        """
        is_new = time.monotonic() - self._overlap_secs < DOUBLES_SECS
        return is_new and 0 < picture_ns <= self._newest_ns

    def close(self) -> None:
        """Stop receiving."""
        self._destroy_predecessor()
        if self._subscription:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _destroy_predecessor(self) -> None:
        if self._predecessor:
            self._node.destroy_subscription(self._predecessor)
            self._predecessor = None

    def silence(self) -> Optional[str]:
        """A sentence that says why no picture has come for a while, or None when one has."""
        if time.monotonic() - self._last_picture_secs < SILENCE_SECS:
            return None
        return f'No picture on {self.full_name} for {SILENCE_SECS:.0f} s: {self._reason()}'

    def _reason(self) -> str:
        count = len(self._publishers)
        publishers = f'{count} publisher{"s" * (count != 1)}'
        types = {p.topic_type for p in self._publishers}
        if count == 0:
            return f'{publishers}. Start the camera, or set image_topics to {self._others()}.'
        if not types & set(TYPES):
            return f'{publishers} of type {", ".join(types)}, which is no picture.'
        misfits = incompatible(self._publishers, self._subscription.qos_profile)
        if len(misfits) == count:
            return f'{publishers} with incompatible QoS. Remove the override of our reliability.'
        return f'{publishers}, which send nothing.'

    def _others(self) -> str:
        """Topics with pictures that are not our own."""
        node = self._node
        own = {topic for topic, _ in node.get_publisher_names_and_types_by_node(
            node.get_name(), node.get_namespace())}
        found = [topic for topic, types in node.get_topic_names_and_types()
                 if TYPES.keys() & set(types) and topic not in own and node.count_publishers(topic)]
        return f'one of: {", ".join(sorted(found))}' if found else 'its topic (there is none now)'


def _reliability_override(node: Node, topic: str) -> str:
    """What the user wants instead of what the publishers offer.

    The name and the words are those of rclpy's QoS overrides. These cannot be used themselves: they
    declare the first offer as a fixed parameter, which would then override every later one.

    :raises ConfigError: it is no known reliability.
    """
    name = f'qos_overrides.{topic}.subscription.reliability'
    allowed = ('', 'reliable', 'best_effort')
    if not node.has_parameter(name):
        node.declare_parameter(name, '', ParameterDescriptor(
            read_only=True, description='reliable or best_effort; empty follows the publishers.'))
    value = node.get_parameter(name).value
    if value not in allowed:
        raise ConfigError('The set of parameters', [
            f'{name} is {value!r}, but must be one of {allowed}'])
    return value
