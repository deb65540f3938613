"""Inferences that hang, in worker threads and in worker processes."""
import threading
import time

import numpy as np
import pytest
from fake_sdks import SIZE, installed, work_config, write_board_file

from yolo_seg_node.errors import InferenceError, ModelError
from yolo_seg_node.frame import frame_from_bgr
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.time_limit import MAX_LEFT_BEHIND, TimeLimitedPipeline
from yolo_seg_node.workers import WorkerPool, open_workers

# A good inference takes some 20 ms; the fake hangs for 60 s.
LIMIT_SECS = 2.0
TIMEOUT_SECS = 30
BLACK = frame_from_bgr(np.zeros((SIZE, SIZE, 3), np.uint8))


@pytest.fixture(scope='module', autouse=True)
def sdks():
    with installed('hbm_runtime'):
        yield


@pytest.fixture
def trouble(tmp_path):
    return tmp_path / 'trouble'


@pytest.fixture
def opened(trouble):
    """Opens workers with a time limit on a board that gets into trouble."""
    found = []

    def start(march='s100', limit_secs=LIMIT_SECS, **options):
        path = write_board_file(trouble.parent / 'toy.hbm', march, trouble=str(trouble), **options)
        found.append(open_workers(work_config(path, task_num=2), limit_secs))
        return found[-1]
    yield start
    for workers in found:
        workers.close()


def hang(workers, trouble, words):
    """Process a picture over which the runtime hangs."""
    trouble.write_text('hang')
    with pytest.raises(InferenceError, match=words):
        workers.process(BLACK)


def inference_threads():
    return [thread for thread in threading.enumerate() if thread.name == 'inference']


@pytest.mark.parametrize('march, kind', [('s100', TimeLimitedPipeline), ('x5', WorkerPool)])
def test_an_inference_that_hangs_costs_its_frame_only(opened, trouble, march, kind):
    workers = opened(march)
    assert isinstance(workers, kind)
    workers.update(score_threshold=0.0, max_detections=7)
    assert len(workers.process(BLACK).detections) == 7
    hang(workers, trouble, f'took longer than {LIMIT_SECS:g} s')
    # whichever worker does it
    for _ in range(4):
        assert len(workers.process(BLACK).detections) == 7
    assert workers.restarts == 1


def test_failures_are_those_of_the_pipeline(opened, trouble):
    workers = opened()
    trouble.write_text('raise')
    with pytest.raises(InferenceError, match='^hbm_runtime failed on a frame'):
        workers.process(BLACK)
    trouble.unlink()
    assert len(workers.process(BLACK).detections) == 0 and workers.restarts == 0


def test_a_model_that_cannot_be_opened_after_a_hang(opened, trouble):
    workers = opened()
    path = trouble.parent / 'toy.hbm'
    good = path.read_text()
    path.write_text('s100\n{')
    hang(workers, trouble, 'took longer .* The model cannot be opened again: hbm_runtime cannot')
    with pytest.raises(InferenceError, match='^The model cannot be opened again'):
        workers.process(BLACK)
    with pytest.raises(ModelError, match='^The model cannot be opened again'):
        workers.reopen()
    path.write_text(good)
    workers.reopen()
    assert len(workers.process(BLACK).detections) == 0


def test_too_many_that_hang_fill_no_memory(opened, trouble):
    workers = opened(limit_secs=0.5)
    for _ in range(MAX_LEFT_BEHIND - 1):
        hang(workers, trouble, 'The model was opened again')
    hang(workers, trouble, f'{MAX_LEFT_BEHIND} inferences hang and cannot be ended; start the')
    count = len(inference_threads())
    for _ in range(5):
        with pytest.raises(InferenceError, match='^3 inferences hang'):
            workers.process(BLACK)
    with pytest.raises(ModelError, match='^3 inferences hang'):
        workers.reopen()
    assert len(inference_threads()) == count


def test_an_inference_that_returns_late_ends_its_thread(opened):
    """The first inference of the model is not limited, since it may compile something."""
    before = set(inference_threads())
    workers = opened(limit_secs=0.1, hold_ms=500)
    for _ in range(2):
        with pytest.raises(InferenceError, match='took longer than 0.1 s'):
            workers.process(BLACK)
    wait_until(lambda: not set(inference_threads()) - before)
    workers.reopen()
    assert workers.restarts == 2


def test_closing_does_not_wait_for_a_hang(opened, trouble):
    before = set(inference_threads())
    workers = opened(limit_secs=TIMEOUT_SECS)
    workers.process(BLACK)
    trouble.write_text('hang')
    caller = threading.Thread(target=lambda: pytest.raises(
        InferenceError, workers.process, BLACK), daemon=True)
    caller.start()
    wait_until(lambda: not trouble.exists())
    workers.close()
    assert caller.is_alive()
    with pytest.raises(InferenceError, match='The model is closed'):
        workers.process(BLACK)
    wait_until(lambda: len(set(inference_threads()) - before) == 1)


def wait_until(condition):
    end = time.monotonic() + TIMEOUT_SECS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_limit_is_no_detour(trouble):
    path = write_board_file(trouble.parent / 'toy.hbm', 's100')
    workers = open_workers(work_config(path))
    assert type(workers) is Pipeline
    workers.close()
