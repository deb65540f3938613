"""A runtime that hangs, and a model file that changes, under the running node."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from fake_sdks import FAKES, MODELS, work_values, write_board_file
from ros_harness import Rig, until, values_of
from ros_pictures import picture, scene
from ros_process import members
from vision_msgs.msg import Detection2DArray

TOPIC = 'image_raw'
# A good inference takes some 20 ms; the fake hangs for 60 s.
LIMIT_SECS = 2.0


@pytest.fixture(scope='module', autouse=True)
def board():
    """Nodes find the fake SDK, as they find the real one on a board."""
    patch = pytest.MonkeyPatch()
    patch.setenv('PYTHONPATH', f'{FAKES / "hbm_runtime_sdk"}:{FAKES}')
    yield
    patch.undo()


@pytest.fixture
def start_rig(start_node, observer, camera, tmp_path):
    """Starts a node with a model; it has given a first result."""
    def start(model, limit_secs=LIMIT_SECS):
        config = tmp_path / 'work.json'
        config.write_text(json.dumps(work_values(model)))
        rig = Rig(observer, camera, start_node(
            config_file=str(config), image_topics=[TOPIC], max_inference_secs=limit_secs))
        rig.subscribe(detections=Detection2DArray)
        camera.open(rig.node.topic(TOPIC))
        observer.watch_diagnostics()
        rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
        return rig
    return start


def found(rig):
    """How many things are found in the next picture."""
    stamp_ns = rig.send(TOPIC, picture(scene()[0][0]))
    return len(rig.result('detections', stamp_ns).detections)


def hang(rig, trouble):
    """Send a picture over which the runtime hangs; gives its stamp."""
    trouble.write_text('hang')
    stamp_ns = rig.send(TOPIC, picture(scene()[0][0]))
    until(lambda: not trouble.exists(), 'an inference that hangs')
    return stamp_ns


@pytest.mark.parametrize('march', ['x5', 's100'])
def test_a_runtime_that_hangs_is_opened_again(start_rig, tmp_path, march):
    """Its worker is a process on X5 and a thread on S100."""
    trouble = tmp_path / 'trouble'
    rig = start_rig(write_board_file(tmp_path / 'toy.hbm', march, trouble=str(trouble)))
    lost = hang(rig, trouble)
    assert found(rig) == len(scene()[0][1])
    assert lost not in rig.stamps('detections')
    status = rig.observer.wait_status(
        rig.node, f'camera {rig.node.namespace.strip("/")}', lambda _, v: v['in_flight'] == '0')
    assert values_of(status)['refused_inference'] == '1'
    status = rig.observer.wait_status(rig.node, 'runtime', lambda _, v: v['worker_restarts'] == '1')
    assert status.message.startswith('Running on hbm_runtime')
    assert f'took longer than {LIMIT_SECS:g} s' in rig.node.output


def test_pictures_that_wait_are_told(start_rig, tmp_path):
    """As long as no inference is finished; the time limit, here a longer one, ends that."""
    trouble = tmp_path / 'trouble'
    rig = start_rig(write_board_file(tmp_path / 'toy.hbm', 's100', trouble=str(trouble)), 9.0)
    hang(rig, trouble)
    status = rig.observer.wait_status(
        rig.node, 'runtime', lambda s, _: s.level == DiagnosticStatus.WARN)
    assert re.match(r'Pictures wait, but for \d+ s none has been finished', status.message)
    rig.observer.wait_status(rig.node, 'runtime', lambda s, _: s.level == DiagnosticStatus.OK)
    assert rig.node.output.count('Pictures wait') == 1
    assert found(rig) == len(scene()[0][1])


@pytest.mark.parametrize('march, number', [('x5', signal.SIGINT), ('s100', signal.SIGTERM)])
def test_a_signal_does_not_wait_for_an_inference(start_rig, tmp_path, march, number):
    """Which would take 60 s: twice as long as the test waits for the end of the process."""
    trouble = tmp_path / 'trouble'
    rig = start_rig(write_board_file(tmp_path / 'toy.hbm', march, trouble=str(trouble)))
    hang(rig, trouble)
    assert rig.node.stop(number) == 0
    assert 'Traceback' not in rig.node.output
    assert rig.node.output.count('A worker is still busy') == 1
    assert not list(Path('/dev/shm').glob(f'yolo_seg_{rig.node.process.pid}_*'))
    until(lambda: not members(rig.node.process.pid), 'the end of all its processes')


def test_a_model_file_that_is_replaced_counts_when_the_node_is_configured_again(
        start_rig, tmp_path):
    model = tmp_path / 'model.onnx'
    shutil.copy(MODELS['float'], model)
    rig = start_rig(model)
    before = found(rig)
    for content in (b'no model', b''):
        model.write_bytes(content)
        assert found(rig) == before == len(scene()[0][1])
    model.unlink()
    assert found(rig) == before

    for transition in ('deactivate', 'cleanup'):
        assert rig.observer.change_state(rig.node, transition)
    assert not rig.observer.change_state(rig.node, 'configure')
    assert 'model.onnx' in rig.node.output
    model.write_bytes(b'no model')
    assert not rig.observer.change_state(rig.node, 'configure')
    assert 'onnxruntime cannot load the model' in rig.node.output

    shutil.copy(MODELS['float'], model)
    for transition in ('configure', 'activate'):
        assert rig.observer.change_state(rig.node, transition)
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    assert found(rig) == before
