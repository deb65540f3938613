"""Transitions of the managed node, and how its process ends."""

import os
import signal
from pathlib import Path

import pytest
from ros_harness import Rig, until
from ros_pictures import picture, scene
from vision_msgs.msg import Detection2DArray

TOPIC = 'image_raw'


def node_topics(observer, node):
    """Relative names of what the node publishes."""
    found = observer.node.get_publisher_names_and_types_by_node('yolo_seg_node', node.namespace)
    return {topic[len(node.namespace) + 1:] for topic, _ in found}


def detect(rig):
    return rig.result('detections', rig.send(TOPIC, picture(scene()[0][0])))


def test_every_transition(start_node, observer, camera):
    node = start_node(autostart=False, image_topics=[TOPIC])
    observer.wait_state(node, 'unconfigured')
    assert 'detections' not in node_topics(observer, node)

    assert observer.change_state(node, 'configure')
    assert observer.state(node) == 'inactive'
    until(lambda: 'detections' in node_topics(observer, node), 'publishers')
    assert observer.node.count_subscribers(node.topic(TOPIC)) == 0

    assert observer.change_state(node, 'activate')
    assert observer.state(node) == 'active'
    rig = Rig(observer, camera, node)
    rig.subscribe(detections=Detection2DArray)
    camera.open(node.topic(TOPIC))
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    assert len(detect(rig).detections) == len(scene()[0][1])

    assert observer.change_state(node, 'deactivate')
    assert observer.state(node) == 'inactive'
    until(lambda: observer.node.count_subscribers(node.topic(TOPIC)) == 0, 'no subscription')
    missed = rig.send(TOPIC, picture(scene()[0][0]))

    assert observer.change_state(node, 'activate')
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    with pytest.raises(AssertionError, match='no such message'):
        rig.result('detections', missed, timeout_secs=0)

    assert observer.change_state(node, 'deactivate') and observer.change_state(node, 'cleanup')
    assert observer.state(node) == 'unconfigured'
    until(lambda: 'detections' not in node_topics(observer, node), 'no publishers')

    assert observer.set(node, config_file='demo_int.json') == ''
    assert observer.change_state(node, 'configure') and observer.change_state(node, 'activate')
    node.wait_output('model shapes_seg_int.onnx')
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])

    assert observer.change_state(node, 'active_shutdown')
    assert observer.state(node) == 'finalized'
    assert node.stop() == 0


def own_shared_memory(pid, before):
    """Files in /dev/shm that a process has mapped and that were not there before it.

    Fast DDS's ports are left out: they belong to all processes that reach each other.
    """
    maps = Path(f'/proc/{pid}/maps').read_text().split()
    files = {Path(word) for word in maps if word.startswith('/dev/shm/')} - before
    return {file for file in files if '_port' not in file.name}


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_process_and_leaves_nothing(start_node, observer, camera, number):
    """Nothing of its process group and of its shared memory is left, with pictures under way."""
    before = set(Path('/dev/shm').iterdir())
    rig = Rig(observer, camera, start_node(image_topics=[TOPIC]))
    rig.subscribe(detections=Detection2DArray)
    camera.open(rig.node.topic(TOPIC))
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    pid = rig.node.process.pid
    shared = own_shared_memory(pid, before)
    assert shared
    rig.send(TOPIC, picture(scene()[0][0]))
    assert rig.node.stop(number) == 0
    assert 'ERROR' not in rig.node.output and 'Traceback' not in rig.node.output
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)
    assert [path for path in shared if path.exists()] == []


def test_what_runs_is_said_once_and_nothing_strange(start_node, observer):
    node = start_node()
    node.wait_output('Subscribed to')
    assert node.output.count('runtime onnxruntime CPUExecutionProvider') == 1
    assert 'rcutils' not in node.output and 'WARN' not in node.output
