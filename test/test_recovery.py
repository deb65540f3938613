"""When failing inferences lead to a reopened model, and when to giving up."""
import threading

import pytest

from yolo_seg_node.errors import InferenceError, ModelError
from yolo_seg_node.recovery import Recovery, Verdict

DROPPED, REOPENED, GIVEN_UP = Verdict.DROPPED, Verdict.REOPENED, Verdict.GIVEN_UP
ERROR = InferenceError('the card is gone')


class Model:
    """Counts how often it was reopened."""

    def __init__(self, error=None):
        self.reopened, self.error = 0, error

    def reopen(self):
        self.reopened += 1
        if self.error:
            raise self.error


def fail(recovery, times):
    return [recovery.failed(ERROR) for _ in range(times)]


def test_reopens_once_and_gives_up_after_as_many_again():
    model = Model()
    recovery = Recovery(model.reopen, 3)
    assert fail(recovery, 3) == [DROPPED, DROPPED, REOPENED]
    assert fail(recovery, 3) == [DROPPED, DROPPED, GIVEN_UP]
    assert fail(recovery, 9) == [DROPPED] * 9
    assert model.reopened == 1
    assert recovery.reason == ('3 inferences in a row failed again after the model was reopened, '
                               'so it is given up: the card is gone')


def test_a_limit_of_one():
    model = Model()
    recovery = Recovery(model.reopen, 1)
    assert fail(recovery, 3) == [REOPENED, GIVEN_UP, DROPPED]


def test_a_success_starts_the_count_again():
    model = Model()
    recovery = Recovery(model.reopen, 3)
    for _ in range(5):
        assert fail(recovery, 2) == [DROPPED, DROPPED]
        recovery.succeeded()
    assert model.reopened == 0


def test_a_success_after_the_reopening_allows_another():
    model = Model()
    recovery = Recovery(model.reopen, 2)
    for _ in range(3):
        assert fail(recovery, 2) == [DROPPED, REOPENED]
        recovery.succeeded()
    assert model.reopened == 3 and not recovery.reason


def test_a_model_that_cannot_be_reopened_is_given_up():
    model = Model(ModelError('no such device'))
    recovery = Recovery(model.reopen, 2)
    assert fail(recovery, 3) == [DROPPED, GIVEN_UP, DROPPED]
    assert model.reopened == 1
    assert recovery.reason == ('2 inferences in a row failed and the model cannot be reopened, so '
                               'it is given up: no such device')


def test_a_bug_while_reopening_is_not_hidden():
    recovery = Recovery(Model(ZeroDivisionError('bug')).reopen, 1)
    with pytest.raises(ZeroDivisionError):
        recovery.failed(ERROR)


def test_frames_that_fail_while_another_thread_reopens_are_dropped():
    reopening, go_on = threading.Event(), threading.Event()

    def reopen():
        reopening.set()
        assert go_on.wait(30)

    recovery = Recovery(reopen, 2)
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.extend(fail(recovery, 2)))
    thread.start()
    assert reopening.wait(30)
    assert fail(recovery, 5) == [DROPPED] * 5
    recovery.succeeded()  # a frame that was begun before
    go_on.set()
    thread.join()
    assert verdicts == [DROPPED, REOPENED]
    assert fail(recovery, 2) == [DROPPED, GIVEN_UP]
