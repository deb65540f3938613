"""Publish one topic of a bag at its recorded pace, as a camera would: a process of its own.

    python demo/play_bag.py resource/demo/sample_bag --topic /camera/image_raw

The serialised bytes go out unchanged, so stamps and pixels are those of the bag. It starts when a
subscriber is there, and ends after the last message is acknowledged.
"""
from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosbags.highlevel import AnyReader

# The subscriber may learn of this publisher after this learns of it, and would miss what came first.
DISCOVERY_SECS = 1.0


def wait_for_subscriber(publisher: Publisher, seconds: float) -> bool:
    """Whether a subscription was matched within the time."""
    end = time.monotonic() + seconds
    while publisher.get_subscription_count() == 0 and time.monotonic() < end:
        time.sleep(0.05)
    return publisher.get_subscription_count() > 0


def message_class(kind: str) -> type:
    """Class of a message type such as `sensor_msgs/msg/Image`."""
    package, _, name = kind.split('/')
    return getattr(importlib.import_module(f'{package}.msg'), name)


def play(bag: Path, topic: str, rate: float, wait_seconds: float) -> int:
    """Publish the messages of a topic; gives how many.

    :raises SystemExit: the bag has no such topic, or nobody subscribed in time.
    """
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        if not connections:
            known = ', '.join(sorted({c.topic for c in reader.connections}))
            raise SystemExit(f'{bag} has no topic {topic}; it has {known}.')
        node = rclpy.create_node('bag_player')
        kind = message_class(connections[0].msgtype)
        publisher = node.create_publisher(kind, topic, QoSProfile(depth=10))
        if not wait_for_subscriber(publisher, wait_seconds):
            raise SystemExit(f'Nobody subscribed to {topic} within {wait_seconds:g} s.')
        time.sleep(DISCOVERY_SECS)
        count, start, first_ns = 0, time.monotonic(), None
        for _, time_ns, data in reader.messages(connections):
            first_ns = time_ns if first_ns is None else first_ns
            time.sleep(max(0.0, start + (time_ns - first_ns) / 1e9 / rate - time.monotonic()))
            publisher.publish(bytes(data))
            count += 1
        publisher.wait_for_all_acked(Duration(seconds=5))
        return count


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('bag', type=Path)
    parser.add_argument('--topic', required=True)
    parser.add_argument('--rate', type=float, default=1.0, help='times the recorded pace')
    parser.add_argument('--wait', type=float, default=30.0, help='seconds to wait for a subscriber')
    options = parser.parse_args()
    rclpy.init()
    try:
        count = play(options.bag, options.topic, options.rate, options.wait)
    finally:
        rclpy.try_shutdown()
    print(f'played {count} pictures of {options.topic}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
