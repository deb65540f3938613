"""The node as seen from outside: started in a process of its own, fed, and watched."""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from typing import Any, Dict, List, Optional, Sequence

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from ..errors import YoloSegError
from .executor import spin
from .frames import stamp_ns
from .topics import COMPRESSED
from .transport import prepare_process

START_SECS = 60.0
ANSWER_SECS = 5.0
STOP_SECS = 5.0
DIAGNOSTICS_SECS = 1.5
NODE = 'yolo_seg_node'


class NodeError(YoloSegError):
    """The node under test does not start or does not answer."""


class NodeProbe:
    """Starts the node in a namespace of its own; use it in a ``with`` statement."""

    def __init__(self, config: str, pictures: Sequence[Dict[str, Any]], cameras: int = 1) -> None:
        """Start nothing yet.

        :param config: path of the work config.
        :param pictures: fields of the messages, without header: an Image, or a CompressedImage
            where there is a ``format``.
        """
        kind = CompressedImage if 'format' in pictures[0] else Image
        self._messages = [_message(kind, fields) for fields in pictures]
        self._config, self._space = config, f'/benchmark_{os.getpid()}'
        # The node puts the results of several cameras into the cameras' namespaces.
        self._spaces = [self._space] if cameras == 1 else [
            f'{self._space}/camera{i}' for i in range(cameras)]
        suffix = COMPRESSED if kind is CompressedImage else ''
        self._topics = [f'{space}/image_raw{suffix}' for space in self._spaces]
        self._ages_ns: Dict[int, int] = {}
        self._statuses: Dict[str, List[Dict[str, str]]] = {topic: [] for topic in self._topics}
        self._stop = threading.Event()
        # From the start of the process.
        self.first_result_secs: Optional[float] = None

    @property
    def pid(self) -> int:
        """Process id of the node."""
        return self._process.pid

    def __enter__(self) -> 'NodeProbe':
        """Start the node and connect.

        :raises NodeError: it does not come up.
        """
        prepare_process()
        rclpy.init()
        self._node = rclpy.create_node('benchmark', namespace=self._space)
        self._publishers = [self._node.create_publisher(
            type(self._messages[0]), topic, QoSProfile(depth=5)) for topic in self._topics]
        for space in self._spaces:
            self._subscribe(space)
        self._node.create_subscription(
            DiagnosticArray, '/diagnostics', self._take_diagnostics, QoSProfile(depth=50))
        self._log = tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace')
        self._start_secs = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'yolo_seg_node.ros.node', '--ros-args', '-r',
             f'__ns:={self._space}', '-p', f'config_file:={self._config}', '-p',
             f'image_topics:={json.dumps(self._topics)}'],
            stdout=self._log, stderr=subprocess.STDOUT)
        self._thread = threading.Thread(target=spin, args=(self._node, self._stop), daemon=True)
        self._thread.start()
        return self

    def _subscribe(self, space: str) -> None:
        """Ask for the results of a camera.

        An instance mask costs the node as much as it does on a robot; here it stays bytes.
        """
        self._node.create_subscription(
            Detection2DArray, f'{space}/detections', self._take, QoSProfile(depth=50))
        self._node.create_subscription(
            Image, f'{space}/instance_mask', lambda _: None, QoSProfile(depth=5), raw=True)

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stop.set()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown()
        self._log.close()

    def _take(self, message: Detection2DArray) -> None:
        stamp = stamp_ns(message.header)
        self._ages_ns[stamp] = time.time_ns() - stamp
        if self.first_result_secs is None:
            self.first_result_secs = time.monotonic() - self._start_secs

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if values.get('topic') in self._statuses:
                self._statuses[values['topic']].append(values)

    def publish(self, index: int) -> int:
        """Publish a picture, stamped now, cameras in turn; gives the stamp in nanoseconds."""
        turn, camera = divmod(index, len(self._topics))
        message = self._messages[turn % len(self._messages)]
        stamp = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        self._publishers[camera].publish(message)
        return stamp

    def warm_up(self, pictures: int) -> None:
        """Publish pictures one by one until so many were answered; what follows is counted.

        :raises NodeError: the node ended or does not answer.
        """
        end = time.monotonic() + START_SECS
        while not self._is_connected():
            self._check(end)
            time.sleep(0.01)
        answered = 0
        for i in itertools.count():
            answered += self._is_answered(self.publish(i))
            if answered >= pictures:
                return self._count_from_here()
            self._check(end)

    def _count_from_here(self) -> None:
        time.sleep(DIAGNOSTICS_SECS)
        self._before = self._latest_counts()
        self._ages_ns.clear()
        for statuses in self._statuses.values():
            statuses.clear()

    def _is_connected(self) -> bool:
        """Whether the node has seen that we are reliable, and its results find us."""
        return (all(publisher.get_subscription_count() for publisher in self._publishers)
                and all(map(self._is_asked_reliably, self._topics))
                and all(self._node.count_publishers(f'{space}/detections')
                        for space in self._spaces))

    def _is_asked_reliably(self, topic: str) -> bool:
        asked = self._node.get_subscriptions_info_by_topic(topic)
        return ReliabilityPolicy.RELIABLE in [s.qos_profile.reliability for s in asked]

    def _is_answered(self, stamp: int) -> bool:
        end = time.monotonic() + ANSWER_SECS
        while stamp not in self._ages_ns and time.monotonic() < end:
            time.sleep(0.001)
        return stamp in self._ages_ns

    def _check(self, end: float) -> None:
        if self._process.poll() is None and time.monotonic() < end:
            return
        self._log.seek(0)
        said = ''.join(self._log.readlines()[-20:]).strip()
        raise NodeError(f'{NODE} does not answer; what it said last:\n{said}')

    def wait_until_quiet(self, seconds: float) -> None:
        """Wait until no result has come for a while, and the node has reported that."""
        count = -1
        while count != len(self._ages_ns):
            count = len(self._ages_ns)
            time.sleep(seconds)
        time.sleep(DIAGNOSTICS_SECS)

    def ages_ns(self) -> List[int]:
        """Nanoseconds from the stamp of each picture until its detections were here."""
        return list(self._ages_ns.values())

    def results_per_second(self) -> float:
        """Between the first result and the last; 0 with fewer than two."""
        ends_ns = [stamp + age for stamp, age in self._ages_ns.items()]
        if len(ends_ns) < 2:
            return 0.0
        return 1e9 * (len(ends_ns) - 1) / (max(ends_ns) - min(ends_ns))

    def counts(self) -> Dict[str, int]:
        """What became of the pictures in the node.

        :raises NodeError: the node has not reported anything.
        """
        return {name: count - self._before[name] for name, count in self._latest_counts().items()}

    def _latest_counts(self) -> Dict[str, int]:
        if not all(self._statuses.values()):
            raise NodeError(f'{NODE} has not reported on /diagnostics.')
        return {name: sum(int(statuses[-1][name]) for statuses in self._statuses.values())
                for name in ('received', 'dropped', 'refused')}

    def stages_ms(self) -> Dict[str, List[float]]:
        """Stage -> its median in each second."""
        found: Dict[str, List[float]] = {}
        for status in itertools.chain(*self._statuses.values()):
            for key, value in status.items():
                if key.endswith('_ms') and not key.startswith('age_'):
                    found.setdefault(key[:-len('_ms')], []).append(float(value))
        return found


def _message(kind: type, fields: Dict[str, Any]) -> Any:
    data = array('B')
    data.frombytes(memoryview(fields['data']).cast('B'))
    message = kind(**{**fields, 'data': data})
    message.header.frame_id = 'camera'
    return message
