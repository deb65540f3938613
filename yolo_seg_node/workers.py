"""Workers of one model: threads where the runtime lets other threads run, else processes.

A process runs the whole Frame -> Detections. Pictures go to it through shared memory, one copy in;
only the small results come back.
"""

import multiprocessing
import os
import queue
import secrets
import signal
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from .config import WorkConfig
from .decoders import DecodeSettings
from .detections import Detections, Masks
from .errors import InferenceError, ModelError, YoloSegError
from .frame import Frame
from .pipeline import SOURCE_MASKS, Facts, Pipeline, Result, StageTimes
from .runtimes import choose_runtime
from .time_limit import TimeLimitedPipeline

Workers = Union[Pipeline, TimeLimitedPipeline, 'WorkerPool']
# How long a worker may finish its frame when it is closed, before its process is killed.
CLOSE_SECS = 0.5


def open_workers(config: WorkConfig, limit_secs: Optional[float] = None) -> Workers:
    """Open the model of a work config so that ``task_num`` threads can use it at full speed.

    All kinds offer ``process``, ``update``, ``settings``, ``facts``, ``reopen`` and ``close``.

    :param limit_secs: an inference that takes longer costs its frame, and its worker opens the
        model anew; None waits for ever.
    :raises ConfigError: a file is missing.
    :raises ModelError: the model cannot be opened or does not fit.
    """
    if choose_runtime(config).runtime.releases_gil:
        pipeline = Pipeline.open(config)
        if pipeline.runtime.releases_gil:
            return pipeline if limit_secs is None else TimeLimitedPipeline(pipeline, limit_secs)
        pipeline.close()
    return WorkerPool(config, limit_secs)


class WorkerPool:
    """``task_num`` processes with a model each; ``process`` may be called from as many threads."""

    def __init__(self, config: WorkConfig, limit_secs: Optional[float] = None) -> None:
        """Start the processes and wait until each has opened the model.

        :param limit_secs: see ``open_workers``.
        :raises ModelError: one of them cannot.
        """
        self.config = config
        self.settings: DecodeSettings = config.decode_settings()
        self.workers = [ProcessWorker(config, limit_secs) for _ in range(config.task_num)]
        self._idle: 'queue.SimpleQueue[ProcessWorker]' = queue.SimpleQueue()
        try:
            for worker in self.workers:
                self.facts: Facts = worker.wait_until_ready()
                self._idle.put(worker)
        except Exception:
            self.close()
            raise

    @property
    def restarts(self) -> int:
        """How often a process was lost and another one took its place."""
        return sum(worker.restarts for worker in self.workers)

    def process(self, frame: Frame, masks: str = SOURCE_MASKS) -> Result:
        """See ``Pipeline.process``; the calling thread waits without the interpreter lock."""
        worker = self._idle.get()
        try:
            return worker.process(frame, masks, self.settings)
        finally:
            self._idle.put(worker)

    def update(self, **limits: object) -> None:
        """See ``Pipeline.update``; the settings travel with each frame."""
        self.settings = replace(self.settings, **limits)

    def reopen(self) -> None:
        """Replace every process by a new one; frames that are under way raise InferenceError.

        :raises ModelError: a new one cannot open the model.
        """
        for worker in self.workers:
            worker.restart()
        for worker in self.workers:
            worker.wait_until_ready()

    def close(self) -> None:
        """End the processes; frames that take too long raise InferenceError."""
        deadline = time.monotonic() + CLOSE_SECS
        for worker in self.workers:
            worker.hang_up(max(0.0, deadline - time.monotonic()))
        for worker in self.workers:
            worker.close()


class ProcessWorker:
    """One process with its own Pipeline; a dead one costs its frame and is started again.

    :ivar restarts: how often that has happened.
    """

    def __init__(self, config: WorkConfig, limit_secs: Optional[float] = None) -> None:
        """Start the process without waiting for it.

        :param limit_secs: see ``open_workers``.
        """
        self._config, self._limit_secs, self._closed = config, limit_secs, False
        self.restarts = 0
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context('spawn')
        self._block = _Block()
        # What it said after it had tried to open the model: facts, or why it could not.
        self._opened: Union[Facts, str, None] = None
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, self._config), daemon=True,
                                        name='yolo_seg_worker')
        with _interrupts_blocked():
            self._process.start()
        far_end.close()

    def _stop(self) -> None:
        """End the process, which ends by itself when its pipe closes, and free the memory."""
        self._pipe.close()
        self._process.join(CLOSE_SECS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._block.close()

    def wait_until_ready(self) -> Facts:
        """Wait until the process has opened the model.

        :raises ModelError: it cannot, or has died over it.
        """
        with self._lock:
            return self._ready()

    def _ready(self) -> Facts:
        if self._opened is None:
            try:
                self._opened = self._pipe.recv()
            except (EOFError, OSError):
                self._process.join()
                self._opened = ('A worker process died while it opened the model (exit code '
                                f'{self._process.exitcode}).')
        if isinstance(self._opened, str):
            raise ModelError(self._opened)
        return self._opened

    def process(self, frame: Frame, masks: str, settings: DecodeSettings) -> Result:
        """See ``Pipeline.process``.

        :raises InferenceError: the inference failed or took too long, or the process died.
        """
        with self._lock:
            if self._closed:
                raise InferenceError('The worker process is closed.')
            try:
                self._ready()
                answer = self._exchange(frame, masks, settings)
            except (EOFError, OSError, ModelError) as error:
                raise InferenceError(self._lost(error)) from None
        if isinstance(answer, str):
            raise InferenceError(answer)
        return _unpacked(answer)

    def _exchange(self, frame: Frame, masks: str,
                  settings: DecodeSettings) -> 'Union[_PackedResult, str]':
        self._pipe.send(_Job(self._block.write(frame.planes), replace(frame, planes=()), masks,
                             settings))
        if not self._pipe.poll(self._limit_secs):
            self._process.kill()
            raise TimeoutError(f'the inference took longer than {self._limit_secs:g} s')
        answer = self._pipe.recv()
        self._block.forget_name()
        return answer

    def _lost(self, error: Exception) -> str:
        """Start a new process unless this one is being closed; a sentence about it."""
        reason = str(error)
        if not isinstance(error, (ModelError, TimeoutError)):
            self._process.join(CLOSE_SECS)
            reason = f'it died, exit code {self._process.exitcode}'
        if self._closed:
            return 'The worker process was closed during the frame.'
        self._stop()
        self._start()
        self.restarts += 1
        return f'A worker process is started again and its frame is lost: {reason}'

    def restart(self) -> None:
        """Replace the process by a new one, without waiting for that."""
        process = self._process
        self._end_frame(0.0)
        with self._lock:
            # A frame that was ended may have done it already.
            if self._process is process and not self._closed:
                self._stop()
                self._start()

    def hang_up(self, patience_secs: float) -> None:
        """Tell the process to end; it is killed if its frame takes longer than that."""
        self._closed = True
        self._end_frame(patience_secs)
        with self._lock:
            self._pipe.close()

    def close(self) -> None:
        """Wait for the end of the process after ``hang_up``, and free the memory."""
        with self._lock:
            self._stop()

    def _end_frame(self, patience_secs: float) -> None:
        if self._lock.acquire(timeout=patience_secs):
            self._lock.release()
        else:
            self._process.kill()


class _Plane(NamedTuple):
    """Where a plane of a picture lies in the shared memory called ``block``."""

    block: str
    shape: Tuple[int, ...]
    offset: int


class _Job(NamedTuple):
    """One frame for a worker process; ``frame`` comes without its planes."""

    planes: Tuple[_Plane, ...]
    frame: Frame
    masks: str
    settings: DecodeSettings


class _PackedMasks(NamedTuple):
    """``Masks`` with one bit per pixel: the crops behind each other, their (h, w) in ``shapes``."""

    bits: np.ndarray
    shapes: Tuple[Tuple[int, int], ...]
    origin_xy: np.ndarray
    size_wh: Tuple[int, int]


class _PackedResult(NamedTuple):
    detections: Detections
    masks: Optional[_PackedMasks]
    times: StageTimes


class _Block:
    """Shared memory for the pictures of one worker process; grows to the largest.

    Its name in the file system is removed as soon as the process has it open, so nothing is left
    behind however the processes end.
    """

    def __init__(self) -> None:
        self._memory: Optional[SharedMemory] = None
        self._named = False

    def write(self, planes: Sequence[np.ndarray]) -> Tuple[_Plane, ...]:
        """Copy the planes of a picture in, packed.

        :raises InferenceError: there is no room for it.
        """
        size = sum(plane.nbytes for plane in planes)
        if self._memory is None or self._memory.size < size:
            self._replace(size)
        places, offset = [], 0
        for plane in planes:
            np.ndarray(plane.shape, np.uint8, self._memory.buf, offset)[...] = plane
            places.append(_Plane(self._memory.name, plane.shape, offset))
            offset += plane.nbytes
        return tuple(places)

    def _replace(self, size: int) -> None:
        self.close()
        try:
            name = f'yolo_seg_{os.getpid()}_{secrets.token_hex(4)}'
            self._memory, self._named = SharedMemory(name, create=True, size=size), True
            # Without this a full /dev/shm would kill the process at the first write.
            with open(f'/dev/shm/{self._memory.name}', 'r+b') as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            self.close()
            raise InferenceError(f'There is no room in /dev/shm for a picture of {size} bytes '
                                 f'({error}); enlarge it or free some of it.') from None

    def forget_name(self) -> None:
        """Remove the name, once the other process has opened it."""
        if self._named:
            self._memory.unlink()
            self._named = False

    def close(self) -> None:
        """Free the memory."""
        if self._memory is not None:
            self.forget_name()
            self._memory.close()
            self._memory = None


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started in here never sees Ctrl-C; its parent tells it when to end."""
    # The first start of a process would start the tracker, which lets the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, config: WorkConfig) -> None:
    """Main function of a worker process; it ends when the other end of the pipe closes."""
    cv2.setNumThreads(1)  # the workers share the cores already
    with suppress(EOFError, OSError):
        try:
            pipeline = Pipeline.open(config)
        except Exception as error:
            pipe.send(_explained(error))
            return
        pipe.send(pipeline.facts)
        _answer(pipe, pipeline)


def _answer(pipe: Connection, pipeline: Pipeline) -> None:
    memories: Dict[str, SharedMemory] = {}
    while True:
        job: _Job = pipe.recv()
        _attach(memories, job.planes[0].block)
        try:
            pipeline.settings = job.settings
            answer = _packed(pipeline.process(_frame(job, memories), job.masks))
        except Exception as error:
            answer = _explained(error)
        pipe.send(answer)


def _attach(memories: Dict[str, SharedMemory], name: str) -> None:
    """Open shared memory that was not there at the last job, in place of the old one."""
    if name not in memories:
        for memory in memories.values():
            memory.close()
        memories.clear()
        memories[name] = SharedMemory(name)


def _frame(job: _Job, memories: Dict[str, SharedMemory]) -> Frame:
    planes = tuple(np.ndarray(plane.shape, np.uint8, memories[plane.block].buf, plane.offset)
                   for plane in job.planes)
    return replace(job.frame, planes=planes)


def _explained(error: Exception) -> str:
    """Text for the parent process; what is no error of this package is a bug to be traced."""
    if isinstance(error, YoloSegError):
        return str(error)
    return 'A worker process failed: ' + ''.join(
        traceback.format_exception(type(error), error, error.__traceback__))


def _packed(result: Result) -> _PackedResult:
    masks = result.detections.masks
    packed = None
    if masks is not None:
        flat = [np.zeros(0, bool), *(crop.reshape(-1) for crop in masks.crops)]
        shapes = tuple(crop.shape for crop in masks.crops)
        packed = _PackedMasks(np.packbits(np.concatenate(flat)), shapes, masks.origin_xy,
                              masks.size_wh)
    return _PackedResult(replace(result.detections, masks=None), packed, result.times)


def _unpacked(answer: _PackedResult) -> Result:
    masks = None
    if answer.masks is not None:
        crops = _crops(answer.masks)
        masks = Masks(tuple(crops), answer.masks.origin_xy, answer.masks.size_wh)
    return Result(replace(answer.detections, masks=masks), answer.times)


def _crops(packed: _PackedMasks) -> List[np.ndarray]:
    sizes = [height * width for height, width in packed.shapes]
    pixels = np.unpackbits(packed.bits, count=sum(sizes)).view(bool)
    parts = np.split(pixels, np.cumsum(sizes)[:-1]) if sizes else []
    return [part.reshape(shape) for part, shape in zip(parts, packed.shapes)]
