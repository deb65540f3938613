"""Several cameras, several workers: the newest picture of each camera first, results in order.

Each camera has a mailbox of one: a newer picture replaces the one that waits, so a slow model skips
pictures and never builds up delay. Every picture ends in exactly one counter.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .errors import FrameError, InferenceError

Job = Any
Result = Any


class Counts(NamedTuple):
    """What became of the pictures of one camera; ``received`` is the sum of all others.

    ``refused`` counts by cause: the ``cause`` of a ``FrameError``, ``inference``, or ``internal``.
    ``in_flight`` pictures wait, are in work, or wait for an earlier one to be delivered.
    """

    received: int
    published: int
    dropped: int
    refused: Dict[str, int]
    in_flight: int


@dataclass
class _Camera:
    """State of one camera; guarded by the scheduler's condition."""

    waiting: Optional[Job] = None
    received: int = 0
    published: int = 0
    dropped: int = 0
    refused: Counter = field(default_factory=Counter)
    taken: int = 0
    settled: int = 0
    finished: Dict[int, Callable[[], None]] = field(default_factory=dict)
    delivering: bool = False

    def drop_waiting(self) -> None:
        self.dropped += self.waiting is not None
        self.waiting = None

    def counts(self) -> Counts:
        in_flight = (self.waiting is not None) + self.taken - self.settled
        return Counts(self.received, self.published, self.dropped, dict(self.refused), in_flight)


def cause_of(error: Exception) -> str:
    """The word under which a picture that ended in ``error`` is counted."""
    if isinstance(error, FrameError):
        return error.cause
    return 'inference' if isinstance(error, InferenceError) else 'internal'


class Scheduler:
    """Worker threads that share the pictures of all cameras fairly."""

    def __init__(self, cameras: Sequence[str], workers: Sequence[Callable[[str, Job], Result]],
                 deliver: Callable[[str, Result], None],
                 refuse: Callable[[str, Exception], None]) -> None:
        """Start one thread for each of ``workers``.

        :param workers: each turns ``(camera, job)`` into a result, or raises.
        :param deliver: takes ``(camera, result)``; for one camera it is called in the order in
            which its jobs were submitted, and never twice at a time.
        :param refuse: takes ``(camera, error)`` where a worker or ``deliver`` raised, in the same
            order; it must not raise.
        """
        self._cameras = {name: _Camera() for name in cameras}
        self._turns: List[str] = list(cameras)
        self._deliver, self._refuse = deliver, refuse
        self._changed = threading.Condition()
        self._stopping = self._given_up = False
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f'worker {i}', daemon=True)
            for i, worker in enumerate(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, camera: str, job: Job) -> None:
        """Put a job into the mailbox of a camera; the one that waits there is dropped."""
        with self._changed:
            state = self._cameras[camera]
            state.received += 1
            state.drop_waiting()
            state.waiting = job
            if self._stopping:
                state.drop_waiting()
            self._changed.notify()

    def counts(self, camera: str) -> Counts:
        """The counters of a camera at one moment."""
        with self._changed:
            return self._cameras[camera].counts()

    def close(self, timeout_secs: float) -> bool:
        """Drop what waits, let the workers finish and deliver what they have begun.

        :return: False when a worker was not done in time. Its thread ends when it is, and what it
            then has is dropped: who goes on with another scheduler has newer results by then.
        """
        with self._changed:
            self._stopping = True
            for state in self._cameras.values():
                state.drop_waiting()
            self._changed.notify_all()
            done = self._changed.wait_for(self._all_settled, timeout_secs)
            self._given_up = not done
        if done:
            for thread in self._threads:
                thread.join()
        return done

    def _all_settled(self) -> bool:
        return all(s.taken == s.settled and not s.delivering for s in self._cameras.values())

    def _work(self, worker: Callable[[str, Job], Result]) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next_camera())
                camera = self._next_camera()
                if camera is None:
                    return
                job, number = self._take(camera)
            self._finish(camera, number, self._run(worker, camera, job))

    def _next_camera(self) -> Optional[str]:
        """The camera whose turn it is.

        A camera with many finished results that wait for an earlier one is left alone, so that a
        worker that hangs cannot fill the memory.
        """
        return next((name for name in self._turns if self._cameras[name].waiting is not None
                     and len(self._cameras[name].finished) < len(self._threads)), None)

    def _take(self, camera: str) -> Tuple[Job, int]:
        """Empty a mailbox; the camera goes to the end of the line."""
        self._turns.remove(camera)
        self._turns.append(camera)
        state = self._cameras[camera]
        job, state.waiting = state.waiting, None
        state.taken += 1
        return job, state.taken

    def _run(self, worker: Callable[[str, Job], Result], camera: str,
             job: Job) -> Callable[[], None]:
        """Do the work now; what is returned settles it when its turn has come."""
        try:
            result = worker(camera, job)
        # Whatever goes wrong with one picture, the worker must live on.
        except Exception as error:
            return partial(self._settle_refused, camera, error)
        return partial(self._settle, camera, result)

    def _finish(self, camera: str, number: int, settle: Callable[[], None]) -> None:
        """Settle what is next in line, unless another worker is at it, which then does this too."""
        state = self._cameras[camera]
        with self._changed:
            state.finished[number] = settle
            if state.delivering:
                return
            state.delivering = True
        while True:
            with self._changed:
                settle = state.finished.pop(state.settled + 1, None)
                if settle is None:
                    state.delivering = False
                    self._changed.notify_all()
                    return
            settle()

    def _settle(self, camera: str, result: Result) -> None:
        with self._changed:
            if self._given_up:
                self._cameras[camera].dropped += 1
                self._cameras[camera].settled += 1
                return
        try:
            self._deliver(camera, result)
        except Exception as error:
            self._settle_refused(camera, error)
            return
        with self._changed:
            self._cameras[camera].published += 1
            self._cameras[camera].settled += 1

    def _settle_refused(self, camera: str, error: Exception) -> None:
        with self._changed:
            self._cameras[camera].refused[cause_of(error)] += 1
            self._cameras[camera].settled += 1
        self._refuse(camera, error)
