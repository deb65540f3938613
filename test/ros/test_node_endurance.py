"""What is done to the node over and over again: it must not leak, and must not lose its way."""

import itertools
import time

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_harness import Rig, until
from ros_pictures import picture, scene
from ros_process import memory_bytes, open_files, threads
from vision_msgs.msg import Detection2DArray

TOPIC = 'image_raw'
TRANSITIONS = ('deactivate', 'cleanup', 'configure', 'activate')
WARM_UP_ROUNDS, ROUNDS, BLOCK_ROUNDS = 20, 50, 5
# of the camera, and of the changes of parameters
PERIOD_SECS, CHANGE_SECS, CHANGES = 0.05, 0.02, 200
LEAST_RESULTS = 10
COUNTERS = ('published', 'dropped', 'refused', 'in_flight')


@pytest.fixture
def rig(start_node, observer, camera):
    rig = Rig(observer, camera, start_node(image_topics=[TOPIC]))
    rig.subscribe(detections=Detection2DArray)
    camera.open(rig.node.topic(TOPIC))
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    return rig


def taken(rig):
    """Threads, open files and memory of the node."""
    pid = rig.node.process.pid
    return threads(pid), open_files(pid), memory_bytes(pid)


def test_200_transitions_leak_nothing(rig):
    """Memory may take a step once, as allocators do; a leak grows with every block of rounds."""
    assert len(TRANSITIONS) * ROUNDS == 200
    after_rounds = []
    for _ in range(ROUNDS):
        for transition in TRANSITIONS:
            assert rig.observer.change_state(rig.node, transition)
        after_rounds.append(taken(rig))
    blocks = after_rounds[WARM_UP_ROUNDS - 1::BLOCK_ROUNDS]
    assert blocks[-1][:2] == blocks[0][:2]
    memory = [block[2] for block in blocks]
    growth = np.median(np.diff(memory)) * (len(memory) - 1)
    assert growth < 0.02 * memory[0]
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    assert 'ERROR' not in rig.node.output


def test_parameters_that_change_50_times_a_second(rig):
    """Every change is answered, every result belongs to one of the values, none is lost."""
    many, camera = len(scene()[0][1]), rig.node.namespace.strip('/')
    client = rig.observer.node.create_client(SetParameters, f'{rig.node.name}/set_parameters')
    assert client.wait_for_service(30)
    rig.observer.watch_diagnostics()
    unseen = rig.unseen(camera, 'detections')
    rig.camera.start_stream(rig.node.topic(TOPIC), PERIOD_SECS, [picture(scene()[0][0])])
    futures, values = [], itertools.cycle([1, 300])
    for value in itertools.islice(values, CHANGES):
        parameters = [Parameter('max_detections', value=value).to_parameter_msg()]
        futures.append(client.call_async(SetParameters.Request(parameters=parameters)))
        time.sleep(CHANGE_SECS)
    until(lambda: all(future.done() for future in futures), 'the answers')
    sent = rig.camera.stop_stream(rig.node.topic(TOPIC))
    assert all(future.result().results[0].successful for future in futures)
    last = rig.at_rest(camera)
    assert int(last['received']) == sum(int(last[key]) for key in COUNTERS)
    published = int(last['published']) - unseen
    until(lambda: len(rig.stamps('detections')) >= published, 'all results')
    results = rig.stamps('detections')
    assert results == sorted(set(results)) and published == len(results)
    found = [len(m.detections) for m in rig.observer.messages(rig.node.topic('detections'))]
    assert set(found) == {1, many}
    assert len(set(results) & set(sent)) >= LEAST_RESULTS
    rig.observer.run(rig.observer.node.destroy_client, client)
