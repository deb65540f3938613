"""Mailboxes, fairness, order and counters of the scheduler, with real threads."""

import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_seg_node.errors import FrameError, InferenceError, ModelError
from yolo_seg_node.scheduler import Scheduler, cause_of

TIMEOUT_SECS = 20


class Gate:
    """A worker that holds each job until it is let go, and notes what it got."""

    def __init__(self):
        self.begun, self._entered, self._permits = [], threading.Condition(), threading.Semaphore(0)

    def __call__(self, camera, job):
        with self._entered:
            self.begun.append((camera, job))
            self._entered.notify_all()
        assert self._permits.acquire(timeout=TIMEOUT_SECS)
        return job

    def let_go(self, count=1):
        self._permits.release(count)

    def wait_begun(self, count):
        with self._entered:
            assert self._entered.wait_for(lambda: len(self.begun) >= count, TIMEOUT_SECS)


class Sink:
    """Where results and refusals go."""

    def __init__(self):
        self.delivered, self.refused, self._changed = [], [], threading.Condition()

    def deliver(self, camera, result):
        with self._changed:
            self.delivered.append((camera, result))
            self._changed.notify_all()

    def refuse(self, camera, error):
        with self._changed:
            self.refused.append((camera, error))
            self._changed.notify_all()

    def wait(self, count):
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.delivered) + len(self.refused) >= count, TIMEOUT_SECS)


@pytest.fixture
def sink():
    return Sink()


def total(counts):
    return (counts.published + counts.dropped + sum(counts.refused.values()) + counts.in_flight)


def test_newest_wins_and_the_others_are_counted(sink):
    gate = Gate()
    scheduler = Scheduler(['front'], [gate], sink.deliver, sink.refuse)
    scheduler.submit('front', 0)
    gate.wait_begun(1)
    for job in range(1, 6):
        scheduler.submit('front', job)
    assert scheduler.counts('front')._asdict() == {
        'received': 6, 'published': 0, 'dropped': 4, 'refused': {}, 'in_flight': 2}
    gate.let_go(2)
    sink.wait(2)
    assert scheduler.close(TIMEOUT_SECS)
    assert sink.delivered == [('front', 0), ('front', 5)]
    assert scheduler.counts('front')._asdict() == {
        'received': 6, 'published': 2, 'dropped': 4, 'refused': {}, 'in_flight': 0}


def test_cameras_take_turns_however_fast_one_is(sink):
    gate = Gate()
    scheduler = Scheduler(['fast', 'slow', 'idle'], [gate], sink.deliver, sink.refuse)
    scheduler.submit('fast', 0)
    gate.wait_begun(1)
    for round_ in range(1, 6):
        for _ in range(10):
            scheduler.submit('fast', round_)
        scheduler.submit('slow', round_)
        gate.let_go(2)
        gate.wait_begun(1 + 2 * round_)
    gate.let_go()
    assert scheduler.close(TIMEOUT_SECS)
    cameras = [camera for camera, _ in gate.begun]
    assert cameras == ['fast'] + ['slow', 'fast'] * 5


def test_results_wait_for_earlier_ones(sink):
    first, second = Gate(), Gate()
    scheduler = Scheduler(['front'], [first, second], sink.deliver, sink.refuse)
    scheduler.submit('front', 'early')
    wait_until(lambda: first.begun or second.begun)
    slow, quick = (first, second) if first.begun else (second, first)
    scheduler.submit('front', 'late')
    quick.wait_begun(1)
    quick.let_go()
    # The late one is done when its worker takes another.
    scheduler.submit('front', 'last')
    quick.wait_begun(2)
    assert sink.delivered == []
    assert scheduler.counts('front').in_flight == 3
    slow.let_go()
    quick.let_go()
    sink.wait(3)
    assert scheduler.close(TIMEOUT_SECS)
    assert [job for _, job in sink.delivered] == ['early', 'late', 'last']


def wait_until(condition):
    end = time.monotonic() + TIMEOUT_SECS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_worker_that_hangs_does_not_fill_the_memory(sink):
    hung = threading.Event()
    taken = []

    def worker(camera, job):
        taken.append(job)
        if job == 0:
            assert hung.wait(TIMEOUT_SECS)
        return job

    scheduler = Scheduler(['front', 'rear'], [worker, worker, worker], sink.deliver, sink.refuse)
    for job in range(50):
        scheduler.submit('front', job)
        scheduler.submit('rear', 100 + job)
        wait_until(lambda: 100 + job in taken)
    # Each camera may hold one result for each worker; the other camera goes on.
    assert len([job for job in taken if job < 100]) <= 4
    assert len([job for job in taken if job >= 100]) == 50
    hung.set()
    wait_until(lambda: scheduler.counts('front').in_flight == 0)
    counts = scheduler.counts('front')
    assert scheduler.close(TIMEOUT_SECS)
    assert counts.received == total(counts) == 50


@pytest.mark.parametrize('error, cause', [
    (FrameError('length', 'x'), 'length'), (InferenceError('x'), 'inference'),
    (ModelError('x'), 'internal'), (ZeroDivisionError('x'), 'internal')])
def test_a_failure_is_counted_by_cause_and_the_worker_lives_on(sink, error, cause):
    def worker(camera, job):
        if job == 'bad':
            raise error
        return job

    scheduler = Scheduler(['front'], [worker], sink.deliver, sink.refuse)
    for i, job in enumerate(['bad', 'good']):
        scheduler.submit('front', job)
        sink.wait(i + 1)
    assert scheduler.close(TIMEOUT_SECS)
    assert sink.refused == [('front', error)] and sink.delivered == [('front', 'good')]
    assert cause_of(error) == cause
    counts = scheduler.counts('front')
    assert counts.refused == {cause: 1} and counts.received == total(counts) == 2


def test_a_delivery_that_fails_is_no_result(sink):
    def deliver(camera, result):
        raise OSError('no network')

    scheduler = Scheduler(['front'], [lambda camera, job: job], deliver, sink.refuse)
    scheduler.submit('front', 1)
    sink.wait(1)
    assert scheduler.close(TIMEOUT_SECS)
    assert scheduler.counts('front')._asdict() == {
        'received': 1, 'published': 0, 'dropped': 0, 'refused': {'internal': 1}, 'in_flight': 0}


def test_close_drops_what_waits_and_delivers_what_has_begun(sink):
    gate = Gate()
    scheduler = Scheduler(['front'], [gate], sink.deliver, sink.refuse)
    scheduler.submit('front', 1)
    gate.wait_begun(1)
    scheduler.submit('front', 2)
    closed = []
    closing = threading.Thread(target=lambda: closed.append(scheduler.close(TIMEOUT_SECS)))
    closing.start()
    wait_until(lambda: scheduler.counts('front').dropped == 1)
    gate.let_go()
    closing.join()
    scheduler.submit('front', 3)
    assert closed == [True] and sink.delivered == [('front', 1)]
    assert scheduler.counts('front')._asdict() == {
        'received': 3, 'published': 1, 'dropped': 2, 'refused': {}, 'in_flight': 0}
    assert not [t for t in threading.enumerate() if t.name.startswith('worker ')]


def test_a_worker_that_is_done_after_the_end_delivers_nothing(sink):
    """Its result would come after newer ones of the next scheduler."""
    gate = Gate()
    scheduler = Scheduler(['front'], [gate], sink.deliver, sink.refuse)
    scheduler.submit('front', 1)
    gate.wait_begun(1)
    assert not scheduler.close(timeout_secs=0.01), 'the worker is still busy'
    gate.let_go()
    wait_until(lambda: scheduler.counts('front').in_flight == 0)
    assert sink.delivered == [] and sink.refused == []
    assert scheduler.counts('front')._asdict() == {
        'received': 1, 'published': 0, 'dropped': 1, 'refused': {}, 'in_flight': 0}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 60), st.randoms(use_true_random=False))
def test_order_and_counters_under_any_load(worker_count, camera_count, job_count, rng):
    """Nothing twice, order per camera kept, and every picture in exactly one counter."""
    sink, cameras = Sink(), [f'camera{i}' for i in range(camera_count)]
    delays = random.Random(rng.random())

    def worker(camera, job):
        time.sleep(delays.choice([0, 0, 0.0005, 0.002]))
        if job % 7 == 3:
            raise FrameError('length', 'x')
        return job

    scheduler = Scheduler(cameras, [worker] * worker_count, sink.deliver, sink.refuse)
    for job in range(job_count):
        scheduler.submit(rng.choice(cameras), job)
        for camera in cameras:
            counts = scheduler.counts(camera)
            assert counts.received == total(counts)
        time.sleep(delays.choice([0, 0.001]))
    assert scheduler.close(TIMEOUT_SECS)
    for camera in cameras:
        results = [job for name, job in sink.delivered if name == camera]
        refused = [name for name, _ in sink.refused].count(camera)
        counts = scheduler.counts(camera)
        assert results == sorted(set(results))
        assert (counts.published, counts.refused.get('length', 0)) == (len(results), refused)
        assert counts.received == total(counts) and counts.in_flight == 0
    assert sum(scheduler.counts(camera).received for camera in cameras) == job_count
