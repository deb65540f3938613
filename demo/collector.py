"""Receives what the node publishes and records it to a bag."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from yolo_seg_node.tools.bag_messages import message_types

KINDS = {'detections': Detection2DArray, 'instance_mask': Image, 'overlay': Image}


@dataclass
class FrameMessages:
    """The node's messages for one picture; they carry the picture's stamp."""

    detections: Detection2DArray | None = None
    instance_mask: Image | None = None
    overlay: Image | None = None

    def complete(self) -> bool:
        """All three are here."""
        return None not in (self.detections, self.instance_mask, self.overlay)


class Collector:
    """Subscribes like any downstream node; `frames` is keyed by stamp in nanoseconds."""

    def __init__(self, bag: Path) -> None:
        rclpy.init()
        self.node = rclpy.create_node('demo_collector')
        self.frames: dict[int, FrameMessages] = {}
        self.stage_times: dict[str, str] = {}
        self._store = message_types()
        self._writer = Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        for topic, kind in KINDS.items():
            self._subscribe(topic, kind)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._state = self.node.create_client(GetState, '/yolo_seg_node/get_state')
        self._asked = None

    def _subscribe(self, topic: str, kind: type) -> None:
        name = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
        connection = self._writer.add_connection(f'/{topic}', name, typestore=self._store)

        def receive(message: object) -> None:
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec
            setattr(self.frames.setdefault(stamp_ns, FrameMessages()), topic, message)
            self._writer.write(connection, stamp_ns, serialize_message(message))

        self.node.create_subscription(kind, topic, receive, QoSProfile(depth=20))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self.stage_times.update({k: v for k, v in values.items() if k.endswith('_ms')})

    def has_stage_times(self) -> bool:
        """Diagnostics with times of processed pictures arrived."""
        return bool(self.stage_times)

    def newest_ns(self) -> int:
        """Stamp of the newest picture whose three messages have all arrived, or 0."""
        return max((ns for ns, frame in self.frames.items() if frame.complete()), default=0)

    def is_active(self) -> bool:
        """Whether the node says that its lifecycle state is active."""
        if self._asked is None or (self._asked.done() and not self._answered_active()):
            self._asked = None
            if self._state.service_is_ready():
                self._asked = self._state.call_async(GetState.Request())
        return self._asked is not None and self._asked.done() and self._answered_active()

    def _answered_active(self) -> bool:
        return self._asked.result().current_state.id == State.PRIMARY_STATE_ACTIVE

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Receive until the condition holds or the time is over; gives whether it held."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.05)
        return True

    def close(self) -> None:
        """Close the bag and leave ROS."""
        self._writer.close()
        self.node.destroy_node()
        rclpy.try_shutdown()
