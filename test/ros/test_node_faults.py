"""A board that fails under the running node, and a machine without its SDK."""

import json
import os
import signal
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from fake_sdks import FAKES, work_values, write_board_file
from ros_harness import Rig, until
from ros_pictures import picture, scene
from ros_process import workers
from vision_msgs.msg import Detection2DArray

TOPIC = 'image_raw'
MAX_FAILURES = 3


@pytest.fixture(scope='module', autouse=True)
def board():
    """Nodes find the fake SDK, as they find the real one on a board."""
    before = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join([str(FAKES / 'hobot_dnn_sdk'), str(FAKES)])
    yield
    if before is None:
        del os.environ['PYTHONPATH']
    else:
        os.environ['PYTHONPATH'] = before


class Board:
    """A node on a board, and the file that gets the board into trouble."""

    def __init__(self, folder, start_node, observer, camera):
        self.trouble, self.lost = folder / 'trouble', 0
        model = write_board_file(folder / 'toy.bin', 'x5', 'int', trouble=str(self.trouble))
        config = folder / 'board.json'
        config.write_text(json.dumps(work_values(model, task_num=2)))
        self.rig = Rig(observer, camera, start_node(
            config_file=str(config), image_topics=[TOPIC], max_failures=MAX_FAILURES))
        self.node, self.observer = self.rig.node, observer
        self.rig.subscribe(detections=Detection2DArray)
        camera.open(self.node.topic(TOPIC))
        self.observer.watch_diagnostics()
        self.warm_up()

    def warm_up(self):
        self.rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])

    def send(self):
        return self.rig.send(TOPIC, picture(scene()[0][0]))

    def found(self):
        """Send a picture; gives how many things were found in it."""
        return len(self.rig.result('detections', self.send()).detections)

    def lose(self, count):
        """Send pictures one by one, each of which must be lost and counted."""
        for _ in range(count):
            self.lost += 1
            self.send()
            self.observer.wait_status(
                self.node, f'camera {self.node.namespace.strip("/")}',
                lambda _, values: values.get('refused_inference') == str(self.lost))

    def wait_given_up(self):
        """Send pictures until the node has deactivated itself; gives what it says then."""
        def given_up():
            self.send()
            return self.observer.state(self.node) == 'inactive'
        until(given_up, 'giving up')
        return self.observer.wait_status(
            self.node, 'runtime', lambda s, _: s.level == DiagnosticStatus.ERROR).message

    def workers(self):
        """Process ids of the worker processes."""
        return workers(self.node.process.pid)


@pytest.fixture(scope='module')
def running(tmp_path_factory, start_node, observer, camera):
    return Board(tmp_path_factory.mktemp('board'), start_node, observer, camera)


def test_worker_processes_do_the_work(running):
    assert len(running.workers()) == 2
    assert running.found() == len(scene()[0][1])
    status = running.observer.wait_status(running.node, 'runtime', lambda s, _: True)
    assert status.message == 'Running on hobot_dnn BPU (hobot_dnn.pyeasy_dnn, model toy)'
    assert running.node.output.count('runtime hobot_dnn BPU') == 1


@pytest.mark.parametrize('how', ['none', 'raise'])
def test_a_failed_inference_costs_its_picture(running, how):
    running.trouble.write_text(how)
    running.lose(MAX_FAILURES - 1)
    running.trouble.unlink()
    assert running.found() == len(scene()[0][1])
    assert 'hobot_dnn failed on a frame' in running.node.output
    assert 'was reopened' not in running.node.output


def test_a_killed_worker_costs_its_picture_and_is_replaced(running):
    before = running.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    running.lose(2)
    assert running.found() == len(scene()[0][1])
    assert len(running.workers()) == 2 and not running.workers() & before


def test_too_many_failures_reopen_the_model_once_then_the_node_gives_up(running):
    before = running.workers()
    running.trouble.write_text('later')
    said = running.wait_given_up()
    assert running.node.output.count('The node deactivates itself. Mend this, then run: ros2 ') == 1
    assert said.startswith(f'{MAX_FAILURES} inferences in a row failed again after the model was')
    assert running.node.output.count(
        f'{MAX_FAILURES} inferences in a row failed, so the model was reopened') == 1
    assert not running.workers() & before

    running.trouble.unlink()
    assert running.observer.change_state(running.node, 'activate')
    running.warm_up()
    assert running.found() == len(scene()[0][1])


def test_a_model_that_cannot_be_reopened(running):
    """The last test of this node, which then ends with all that it started."""
    running.trouble.write_text('raise')
    said = running.wait_given_up()
    assert f'{MAX_FAILURES} inferences in a row failed and the model cannot be reopened' in said
    pids, pid = running.workers(), running.node.process.pid
    assert running.node.stop() == 0
    assert 'Traceback' not in running.node.output
    assert not [child for child in pids if Path(f'/proc/{child}').exists()]
    assert not list(Path('/dev/shm').glob(f'yolo_seg_{pid}_*'))


def refused_at_start(start_node, observer, folder, model):
    """What a node says that cannot be configured with a model."""
    config = folder / 'board.json'
    config.write_text(json.dumps(work_values(model)))
    node = start_node(config_file=str(config), image_topics=[TOPIC])
    until(lambda: 'Mend this' in node.output, 'an error')
    assert observer.state(node) == 'unconfigured'
    assert 'Traceback' not in node.output
    return node.output


def test_the_sdk_for_the_file_is_not_there(start_node, observer, tmp_path):
    model = write_board_file(tmp_path / 'toy.hbm', 's100')
    output = refused_at_start(start_node, observer, tmp_path, model)
    assert '- hbm_runtime: the binding of RDK S100, S600 and X5 cannot be imported' in output
    assert '"fallback_model_file"' in output


def test_a_truncated_model(start_node, observer, tmp_path):
    model = write_board_file(tmp_path / 'toy.bin', 'x5')
    model.write_text(model.read_text()[:-9])
    output = refused_at_start(start_node, observer, tmp_path, model)
    assert 'hobot_dnn cannot load the model; it may be truncated' in output
