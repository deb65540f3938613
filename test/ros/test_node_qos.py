"""The subscription follows what publishers offer, and loses nothing on the way."""

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import Rig, until
from ros_pictures import picture, scene
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

PLACES = ('late', 'kept', 'plain', 'latched', 'changing')
COUNT = 15
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(scope='module')
def rig(start_node, observer, camera):
    rig = Rig(observer, camera, start_node(image_topics=[f'{p}/image_raw' for p in PLACES]))
    rig.subscribe(**{f'{place}/detections': Detection2DArray for place in PLACES})
    return rig


def offers_taken(rig, place):
    """Reliability and durability of the node's subscriptions to a camera."""
    found = rig.observer.node.get_subscriptions_info_by_topic(rig.node.topic(f'{place}/image_raw'))
    return [(s.qos_profile.reliability.name, s.qos_profile.durability.name) for s in found]


def test_without_a_publisher_it_asks_for_sensor_data(rig):
    until(lambda: offers_taken(rig, 'late') == [('BEST_EFFORT', 'VOLATILE')], 'best effort')


@pytest.mark.parametrize('place, durability', [('late', 'volatile'), ('kept', 'transient_local')])
def test_a_change_of_subscription_loses_no_picture_and_none_counts_twice(rig, place, durability):
    """While one publisher is best effort, so is the node; it goes, and the reliable one stays."""
    topic = f'{place}/image_raw'
    other = rig.observer.node.create_publisher(Image, rig.node.topic(topic), BEST_EFFORT)
    rig.camera.open(rig.node.topic(topic), durability=durability, wait=False)
    small = picture(scene()[0][0][:48, :64])
    until(lambda: len(rig.observer.node.get_publishers_info_by_topic(other.topic_name)) == 2,
          'both publishers')

    def is_best_effort():  # a subscription that is replaced stays until the next picture
        rig.warm_up(topic, small, [f'{place}/detections'])
        return offers_taken(rig, place) == [('BEST_EFFORT', 'VOLATILE')]
    until(is_best_effort, 'best effort')
    before = len(rig.stamps(f'{place}/detections'))
    rig.observer.run(rig.observer.node.destroy_publisher, other)
    sent = []
    while offers_taken(rig, place) != [('RELIABLE', durability.upper())] or len(sent) < COUNT:
        sent.append(rig.send(topic, small))
        rig.result(f'{place}/detections', sent[-1])
    assert rig.stamps(f'{place}/detections')[before:] == sent


def test_a_best_effort_camera(rig):
    topic = 'plain/image_raw'
    rig.camera.open(rig.node.topic(topic), reliability='best_effort')
    rig.warm_up(topic, picture(scene()[0][0]), ['plain/detections'])
    assert offers_taken(rig, 'plain') == [('BEST_EFFORT', 'VOLATILE')]


def test_a_picture_that_was_latched_before_is_taken(rig):
    """A map server or a still camera publishes once, kept for late subscribers."""
    topic = 'latched/image_raw'
    rig.camera.open(rig.node.topic(topic), durability='transient_local', wait=False)
    stamp_ns = rig.send(topic, picture(scene()[0][0]))
    rig.result('latched/detections', stamp_ns)
    until(lambda: offers_taken(rig, 'latched') == [('RELIABLE', 'TRANSIENT_LOCAL')], 'latched')
    assert rig.stamps('latched/detections') == [stamp_ns]


def test_a_camera_that_comes_back_with_another_offer(rig):
    topic = 'changing/image_raw'
    for reliability in ('reliable', 'best_effort', 'reliable'):
        rig.camera.open(rig.node.topic(topic), reliability=reliability)
        rig.warm_up(topic, picture(scene()[0][0]), ['changing/detections'])
        until(lambda: offers_taken(rig, 'changing') == [(reliability.upper(), 'VOLATILE')],
              f'only {reliability}')
        rig.camera.stop(rig.node.topic(topic))


def test_an_override_that_no_publisher_meets_is_told(start_node, observer, camera):
    topic = '/override/image_raw'
    node = start_node(image_topics=[topic], **{
        f'qos_overrides.{topic}.subscription.reliability': 'reliable'})
    camera.open(topic, reliability='best_effort', wait=False)
    said = node.wait_output('No picture on .*')
    assert said == (f'No picture on {topic} for 5 s: 1 publisher with incompatible QoS. '
                    'Remove the override of our reliability.')


def test_a_wrong_override_is_refused(start_node, observer):
    topic = '/override/image_raw'
    node = start_node(autostart=False, image_topics=[topic], **{
        f'qos_overrides.{topic}.subscription.reliability': 'perfect'})
    observer.wait_state(node, 'unconfigured')
    assert not observer.change_state(node, 'configure')
    assert f"{topic}.subscription.reliability is 'perfect'" in node.output
