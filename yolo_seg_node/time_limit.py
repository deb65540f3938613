"""A time limit for inferences in threads, which cannot be ended from outside as processes can."""

import queue
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Callable, List, Optional, Tuple, TypeVar

from .errors import InferenceError, ModelError, YoloSegError
from .frame import Frame
from .pipeline import SOURCE_MASKS, Pipeline, Result

# Each keeps a thread and a model in memory, so after so many only a new process helps.
MAX_LEFT_BEHIND = 3
CLOSE_SECS = 0.5

T = TypeVar('T')


class TimeLimitedPipeline:
    """A ``Pipeline`` whose callers do not wait for an inference that hangs.

    The thread of such an inference is left behind together with its model, which it closes should
    it ever return, and a model that is opened anew takes over.

    :ivar restarts: how often that has happened.
    """

    def __init__(self, pipeline: Pipeline, limit_secs: float) -> None:
        """Take over an opened pipeline, for ``task_num`` callers at a time."""
        self.config, self.settings, self.facts = pipeline.config, pipeline.settings, pipeline.facts
        self.restarts = 0
        self._limit_secs, self._lock = limit_secs, threading.Lock()
        self._pipeline: Optional[Pipeline] = pipeline
        # Why there is no pipeline.
        self._reason = ''
        self._left_behind: List[_Thread] = []
        self._threads = {_Thread() for _ in range(self.config.task_num)}
        self._idle: 'queue.SimpleQueue[_Thread]' = queue.SimpleQueue()
        for thread in self._threads:
            self._idle.put(thread)

    def process(self, frame: Frame, masks: str = SOURCE_MASKS) -> Result:
        """See ``Pipeline.process``.

        :raises InferenceError: it failed or took too long, or there is no model any more.
        """
        thread = self._idle.get()
        try:
            pipeline = self._pipeline
            if pipeline is None:
                raise InferenceError(self._reason)
            return thread.run(partial(pipeline.process, frame, masks), self._limit_secs)
        except _Overdue:
            thread = self._leave_behind(thread, pipeline)
            raise InferenceError(f'An inference took longer than {self._limit_secs:g} s, and its '
                                 f'frame is lost. {self._outcome()}') from None
        finally:
            self._idle.put(thread)

    def _outcome(self) -> str:
        return self._reason or 'The model was opened again.'

    def _leave_behind(self, thread: '_Thread', pipeline: Pipeline) -> '_Thread':
        """Go on without a thread and its model; gives the thread that takes over."""
        thread.end(pipeline.close)
        successor = _Thread()
        with self._lock:
            self._threads.remove(thread)
            self._threads.add(successor)
            self._left_behind.append(thread)
            if self._pipeline is pipeline:
                self._open()
        return successor

    def _open(self) -> None:
        """Open the model anew, or note why not."""
        self._pipeline = None
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        if len(self._left_behind) >= MAX_LEFT_BEHIND:
            self._reason = (f'{MAX_LEFT_BEHIND} inferences hang and cannot be ended; start the '
                            'process again, and the device if that does not help.')
            return
        try:
            self._pipeline = Pipeline.open(self.config)
        except YoloSegError as error:
            self._reason = f'The model cannot be opened again: {error}'
            return
        self._pipeline.settings, self.facts = self.settings, self._pipeline.facts
        self._reason = ''
        self.restarts += 1

    def update(self, **limits: object) -> None:
        """See ``Pipeline.update``."""
        with self._lock:
            self.settings = replace(self.settings, **limits)
            if self._pipeline:
                self._pipeline.settings = self.settings

    def reopen(self) -> None:
        """See ``Pipeline.reopen``.

        :raises ModelError: the model cannot be opened, or too many inferences hang.
        """
        with self._lock:
            if self._pipeline:
                self._pipeline.reopen()
                return
            self._open()
            if self._pipeline is None:
                raise ModelError(self._reason)

    def close(self) -> None:
        """Let go of the model; an inference that hangs ends with the process."""
        with self._lock:
            pipeline, self._pipeline = self._pipeline, None
            self._reason = 'The model is closed.'
            for thread in self._threads:
                thread.end()
        if pipeline:
            closing = _Thread()
            # An inference that hangs may hold what this needs.
            with suppress(_Overdue):
                closing.run(pipeline.close, CLOSE_SECS)
            closing.end()


class _Overdue(Exception):
    """What a thread was asked for is not done in time."""


class _Thread:
    """A thread that works for one caller, who may stop waiting; it starts with the first work."""

    def __init__(self) -> None:
        self._jobs: 'queue.SimpleQueue[Optional[Callable[[], Any]]]' = queue.SimpleQueue()
        self._answers: 'queue.SimpleQueue[Tuple[Any, Optional[Exception]]]' = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name='inference', daemon=True)

    def run(self, function: Callable[[], T], limit_secs: float) -> T:
        """What a function returns or raises.

        :raises _Overdue: it takes longer.
        """
        if self._thread.ident is None:
            self._thread.start()
        self._jobs.put(function)
        try:
            result, error = self._answers.get(timeout=limit_secs)
        except queue.Empty:
            raise _Overdue from None
        try:
            if error:
                raise error
            return result
        finally:
            del error  # its traceback has this frame, which would keep the picture alive

    def end(self, last: Optional[Callable[[], Any]] = None) -> None:
        """End once the work at hand, and then ``last``, is done."""
        if last:
            self._jobs.put(last)
        self._jobs.put(None)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def _work(self) -> None:
        for function in iter(self._jobs.get, None):
            try:
                answer = function(), None
            except Exception as error:
                answer = None, error
            self._answers.put(answer)
            del function, answer
