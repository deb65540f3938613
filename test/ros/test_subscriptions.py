"""A change of subscription, picture by picture, on real topics within one process."""

import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_camera import stamped
from ros_harness import stamp_of, until
from sensor_msgs.msg import Image

from yolo_seg_node.ros.subscriptions import DOUBLES_SECS, CameraSubscription

TOPIC = '/subscriptions/image_raw'
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture
def executor(ros_environment):
    context = rclpy.Context()
    context.init()
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(rclpy.create_node('subscriptions', context=context))
    yield executor
    executor.get_nodes()[0].destroy_node()
    context.shutdown()


@pytest.mark.parametrize('pause_secs', [0, 1.5 * DOUBLES_SECS])
def test_what_both_subscriptions_bring_counts_once(executor, pause_secs):
    """However long the old one was idle before: it is asked first, as the older one."""
    node, = executor.get_nodes()
    stamps = []
    subscription = CameraSubscription(node, TOPIC, lambda m: stamps.append(stamp_of(m)))
    subscription.follow()
    time.sleep(pause_secs)
    publisher = node.create_publisher(Image, TOPIC, RELIABLE)
    until(lambda: node.get_publishers_info_by_topic(TOPIC), 'the publisher')
    subscription.follow()
    until(lambda: publisher.get_subscription_count() == 2, 'both subscriptions')

    for stamp_ns in (1, 2, 3):
        publisher.publish(stamped(Image(), stamp_ns))
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            executor.spin_once(0.05)
    assert stamps == [1, 2, 3]
    subscription.close()
