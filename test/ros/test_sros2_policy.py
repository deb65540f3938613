"""The security policy allows what the running node uses, and nothing else."""

import os
from xml.etree import ElementTree

import pytest
from ros_harness import ROOT, until

from yolo_seg_node.ros.tros_outputs import PerceptionTargets

POLICY = ROOT / 'config' / 'sros2' / 'yolo_seg_node.policy.xml'
NAME = 'yolo_seg_node'
TROS = {'hobot_dnn_detection', 'hobot_dnn_detection_info'}
NEWER_THAN_HUMBLE = {'~/get_type_description'}


@pytest.fixture(scope='module')
def allowed():
    """Names by kind and right, as ``(topics, publish)``."""
    found = {}
    for rules in ElementTree.parse(POLICY).iterfind(f'.//profile[@ns="/"][@node="{NAME}"]/*'):
        (right, verdict), = rules.attrib.items()
        assert verdict == 'ALLOW'
        names = [rule.text for rule in rules]
        assert found.setdefault((rules.tag, right), set()).isdisjoint(names)
        found[rules.tag, right].update(names)
    return found


@pytest.fixture(scope='module')
def node(start_node, observer):
    node = start_node(use_sim_time=True)
    node.wait_output('Subscribed to')
    place = (NAME, node.namespace)
    until(lambda: place in observer.node.get_node_names_and_namespaces(), 'the node')
    return node


def as_in_policy(node, topics):
    """Names as they are written in the policy."""
    names = [name.replace(f'{node.name}/', '~/') for name, _ in topics]
    return {name.removeprefix(f'{node.namespace}/') for name in names}


def wait_for_all(used, wanted):
    """What is discovered bit by bit."""
    until(lambda: wanted <= used(), f'{wanted}')
    return used()


def test_topics_published(node, observer, allowed):
    wanted = allowed['topics', 'publish'] - (set() if PerceptionTargets else TROS)

    def used():
        return as_in_policy(node, observer.node.get_publisher_names_and_types_by_node(
            NAME, node.namespace))
    assert wait_for_all(used, wanted) == wanted


def test_topics_subscribed(node, observer, allowed):
    def used():
        return as_in_policy(node, observer.node.get_subscriber_names_and_types_by_node(
            NAME, node.namespace))
    wanted = allowed['topics', 'subscribe']
    assert wait_for_all(used, wanted) == wanted


def test_services(node, observer, allowed):
    def used():
        return as_in_policy(node, observer.node.get_service_names_and_types_by_node(
            NAME, node.namespace))
    is_humble = os.environ.get('ROS_DISTRO') == 'humble'
    wanted = allowed['services', 'reply'] - (NEWER_THAN_HUMBLE if is_humble else set())
    assert wait_for_all(used, wanted) == wanted
    assert observer.node.get_client_names_and_types_by_node(NAME, node.namespace) == []
    assert set(allowed) == {('topics', 'publish'), ('topics', 'subscribe'), ('services', 'reply')}
