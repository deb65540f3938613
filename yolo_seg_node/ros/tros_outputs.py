"""The ``ai_msgs`` topics of one camera, where ``ai_msgs`` is installed."""

import time
from typing import Any, Dict, NamedTuple, Optional, Tuple

from rclpy.clock import Clock, ClockType
from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.validate_topic_name import validate_topic_name
from std_msgs.msg import Header

from ..config import WorkConfig
from ..errors import ConfigError
from ..frame import Frame
from ..letterbox import SizeWH, make_letterbox
from ..pipeline import Facts, Result
from .topics import CameraTopics

try:
    from ai_msgs.msg import PerceptionTargets

    from . import tros_messages
except ImportError:  # there is no ai_msgs without TROS
    PerceptionTargets = None

INFO = '_info'
INFO_SECS = 1.0
FPS_WINDOW_SECS = 1.0
TROS_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class FpsWindow:
    """Results per second over the last full second, as TROS counts them."""

    def __init__(self) -> None:
        self._start_secs: Optional[float] = None
        self._count, self._fps = 0, -1

    def tick(self, now_secs: float) -> int:
        """Count a result; gives the rate, -1 before the first second is over."""
        if self._start_secs is None:
            self._start_secs = now_secs
        elapsed_secs = now_secs - self._start_secs
        if elapsed_secs >= FPS_WINDOW_SECS:
            self._fps = round(self._count / elapsed_secs)
            self._start_secs, self._count = now_secs, 0
        self._count += 1
        return self._fps


class _Seen(NamedTuple):
    """What ``PerceptionInfo`` says about the pictures."""

    frame_id: str
    size_wh: SizeWH


def _check_topic(name: str) -> None:
    """:raises ConfigError: it is no name for a topic."""
    try:
        validate_topic_name(name)
    except NameValidationException as error:
        raise ConfigError('The set of parameters', [f'msg_pub_topic_name: {error}']) from None


class TrosOutputs:
    """Makes and publishes ``PerceptionTargets`` and ``PerceptionInfo``."""

    def __init__(self, node: LifecycleNode, topics: CameraTopics, topic: str, config: WorkConfig,
                 facts: Facts) -> None:
        """Create the publishers; they are silent until the node is active.

        :param topic: ``msg_pub_topic_name``; with several cameras it is taken as relative.
        :raises ConfigError: it is no name for a topic.
        """
        self._node, self._config, self._model_wh = node, config, facts.model_wh
        self._model_name = config.model_name or facts.model_path.stem
        self._fps, self._seen = FpsWindow(), None  # type: Tuple[FpsWindow, Optional[_Seen]]
        name = topics.output(topic.lstrip('/') if topics.outputs else topic)
        _check_topic(name)
        self._targets = node.create_lifecycle_publisher(
            PerceptionTargets, name, TROS_QOS)
        self._info = None
        if tros_messages.PerceptionInfo:
            self._info = node.create_lifecycle_publisher(
                tros_messages.PerceptionInfo, name + INFO, TROS_QOS)
        self._timer = node.create_timer(
            INFO_SECS, self._publish_info, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Destroy the publishers."""
        self._node.destroy_timer(self._timer)
        for publisher in filter(None, (self._targets, self._info)):
            self._node.destroy_lifecycle_publisher(publisher)

    def get_subscription_count(self) -> int:
        """How many subscribe to the targets."""
        return self._targets.get_subscription_count()

    def make(self, header: Header, frame: Frame, result: Result,
             values: Dict[str, Any]) -> 'PerceptionTargets':
        """The message of a picture; its fps is filled in by ``publish``."""
        self._seen = _Seen(frame.frame_id, frame.size_wh)
        detections, targets = result.detections, []
        grid = tros_messages.label_grid(
            make_letterbox(frame.size_wh, self._model_wh, self._config.resize_mode))
        if self._config.output_roi:
            targets = tros_messages.detection_targets(detections, self._config.class_names)
        if detections.masks is not None:
            for i, target in enumerate(targets if values['one_target_per_instance'] else ()):
                target.captures = [tros_messages.instance_capture(detections, i, grid)]
            targets.append(tros_messages.segmentation_target(
                detections, grid, self._config.class_num))
        durations = tros_messages.perfs(self._model_name, result.times, frame.stamp_ns,
                                        self._node.get_clock().now().nanoseconds)
        return PerceptionTargets(header=header, perfs=durations, targets=targets)

    def publish(self, message: 'PerceptionTargets') -> None:
        """Send what ``make`` made; for one camera in order."""
        message.fps = self._fps.tick(time.monotonic())
        self._targets.publish(message)

    def _publish_info(self) -> None:
        """Once a second, after the first result, while somebody subscribes."""
        if self._info and self._seen and self._info.get_subscription_count():
            self._info.publish(tros_messages.perception_info(
                self._node.get_clock().now(), *self._seen, self._config.class_names))
