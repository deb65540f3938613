"""Pictures from one process to another through ROS 2: its defaults against the node's settings."""
from __future__ import annotations

import multiprocessing
import os
import statistics
import threading
import time
from array import array
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from table import Table

from yolo_seg_node.ros.executor import spin
from yolo_seg_node.ros.frames import stamp_ns
from yolo_seg_node.ros.transport import PROFILE_VARIABLES, prepare_process

RATE_HZ, WARM_UP = 20, 10
# As the node subscribes, and as camera drivers publish.
SUBSCRIBED, PUBLISHED = 1, 5
START_SECS, DRAIN_SECS = 30.0, 0.5
TOPIC = 'benchmark_transport'


class Picture(NamedTuple):
    """A kind of picture; ``rows`` and ``step`` are those of its bytes."""

    encoding: str
    width: int
    height: int
    rows: int
    step: int

    def message(self) -> Image:
        """A message with noise, without stamp."""
        noise = np.random.default_rng(0).integers(0, 256, self.rows * self.step, np.uint8)
        data = array('B')
        data.frombytes(memoryview(noise))
        return Image(encoding=self.encoding, width=self.width, height=self.height, step=self.step,
                     data=data)


class Settings(NamedTuple):
    """Which of the two processes take over the node's settings."""

    camera: bool
    node: bool


class Received(NamedTuple):
    """One picture; ``cpu_ns`` is what the process had used until then."""

    stamp_ns: int
    age_ns: int
    cpu_ns: int


PICTURES = {
    '640x480 bgr8': Picture('bgr8', 640, 480, 480, 640 * 3),
    '1280x720 nv12': Picture('nv12', 1280, 720, 720 * 3 // 2, 1280),
    '1920x1080 nv12': Picture('nv12', 1920, 1080, 1080 * 3 // 2, 1920),
    '1920x1080 bgr8': Picture('bgr8', 1920, 1080, 1080, 1920 * 3),
}
SETTINGS = {'default': Settings(False, False), 'node only': Settings(False, True),
            'node and camera': Settings(True, True)}


def table(pictures: int) -> Table:
    """Every kind of picture with every setting."""
    result = Table('Transport', (
        'picture', 'reliability', 'settings of the node in', 'lost', 'age at receipt, ms',
        '95th percentile', 'CPU ms a picture in the receiver'))
    for name, picture in PICTURES.items():
        for reliability in ('reliable', 'best_effort'):
            for where, settings in SETTINGS.items():
                result.add(name, reliability, where,
                           *summary(*send(picture, reliability, settings, pictures)))
    return result


def ages_ms(reliability: str, where: str, pictures: int) -> list[float]:
    """Ages at receipt of the 1080p NV12 pictures that came; ``where`` is a key of ``SETTINGS``."""
    sent_ns, received = send(PICTURES['1920x1080 nv12'], reliability, SETTINGS[where], pictures)
    return [picture.age_ns / 1e6 for picture in received if picture.stamp_ns in set(sent_ns)]


def summary(sent_ns: list[int], received: list[Received]) -> tuple[str, object, object, object]:
    """Lost pictures, median and 95th percentile of the age (ms), CPU milliseconds a picture."""
    sent = set(sent_ns)
    counted = [picture for picture in received if picture.stamp_ns in sent]
    lost = f'{len(sent) - len(counted)} of {len(sent)}'
    if len(counted) < 2:
        return lost, '-', '-', '-'
    ages_ms = [picture.age_ns / 1e6 for picture in counted]
    cpu_ms = (counted[-1].cpu_ns - counted[0].cpu_ns) / 1e6 / (len(counted) - 1)
    return lost, statistics.median(ages_ms), float(np.percentile(ages_ms, 95)), cpu_ms


def send(picture: Picture, reliability: str, settings: Settings,
         pictures: int) -> tuple[list[int], list[Received]]:
    """Stamps (ns) that were published after the warm-up, and everything that came."""
    context = multiprocessing.get_context('spawn')
    camera, camera_end = context.Pipe()
    node, node_end = context.Pipe()
    processes = [
        context.Process(target=_camera,
                        args=(camera_end, picture, reliability, settings.camera, pictures)),
        context.Process(target=_node, args=(node_end, reliability, settings.node))]
    for process in processes:
        process.start()
    sent_ns = _answer(camera)
    node.send('report')
    received = _answer(node)
    for process in processes:
        process.join()
    return sent_ns, received


def _answer(pipe: Connection) -> list:
    # One period for the start, one for the pictures.
    if not pipe.poll(2 * START_SECS):
        raise TimeoutError('A process of the transport benchmark does not answer.')
    return pipe.recv()


def _camera(pipe: Connection, picture: Picture, reliability: str, ours: bool,
            pictures: int) -> None:
    node, message, stamps_ns = _node_of('camera', ours), picture.message(), []
    publisher = node.create_publisher(Image, TOPIC, _qos(PUBLISHED, reliability))
    end_secs = time.monotonic() + START_SECS
    while not publisher.get_subscription_count() and time.monotonic() < end_secs:
        time.sleep(0.01)
    begin_secs = time.monotonic()
    for i in range(WARM_UP + pictures):
        time.sleep(max(0.0, begin_secs + i / RATE_HZ - time.monotonic()))
        stamps_ns.append(time.time_ns())
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamps_ns[-1], 10**9)
        publisher.publish(message)
    time.sleep(DRAIN_SECS)
    pipe.send(stamps_ns[WARM_UP:])
    rclpy.shutdown()


def _node(pipe: Connection, reliability: str, ours: bool) -> None:
    node, received, stop = _node_of('receiver', ours), [], threading.Event()

    def take(message: Image) -> None:
        stamp = stamp_ns(message.header)
        received.append(Received(stamp, time.time_ns() - stamp, time.process_time_ns()))

    node.create_subscription(Image, TOPIC, take, _qos(SUBSCRIBED, reliability))
    thread = threading.Thread(target=lambda: (pipe.recv(), stop.set()))
    thread.start()
    if ours:
        spin(node, stop)
    else:
        _spin_by_default(node, stop)
    pipe.send(received)
    rclpy.shutdown()


def _spin_by_default(node: Node, stop: threading.Event) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stop.is_set():
        executor.spin_once(timeout_sec=0.2)


def _node_of(name: str, ours: bool) -> Node:
    if ours:
        prepare_process()
    else:
        for variable in PROFILE_VARIABLES:
            os.environ.pop(variable, None)
    rclpy.init()
    return rclpy.create_node(f'{TOPIC}_{name}')


def _qos(depth: int, reliability: str) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy[reliability.upper()])
