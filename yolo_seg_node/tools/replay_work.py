"""Picture -> messages, in this process or in several, always in order."""

import multiprocessing
import signal
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Deque, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..config import WorkConfig
from ..drawing import draw_overlay
from ..errors import FrameError, InferenceError
from ..pipeline import NO_MASKS, SOURCE_MASKS, Pipeline
from ..scheduler import cause_of
from .bag_messages import Addressed, MessageBuilder
from .bag_pictures import BagPicture
from .errors import ToolError


class Processed(NamedTuple):
    """What became of one picture: messages, or the reason why there are none.

    :ivar cause: the word under which the node counts a picture that it refuses.
    :ivar overlay: (h, w, 3) uint8 picture with the detections drawn, if wanted.
    """

    messages: List[Addressed]
    overlay: Optional[np.ndarray] = None
    cause: str = ''
    reason: str = ''


class PictureWorker:
    """The work of the node on one picture after the other."""

    def __init__(self, config: WorkConfig, with_overlay: bool) -> None:
        """Open the model.

        :raises YoloSegError: it cannot be opened.
        """
        self.pipeline = Pipeline.open(config)
        self.builder = MessageBuilder(config.class_names)
        self._names, self.with_overlay = config.class_names, with_overlay
        self._masks = SOURCE_MASKS if self.pipeline.decoder.has_masks else NO_MASKS

    def close(self) -> None:
        """Let go of the model."""
        self.pipeline.close()

    def process(self, picture: BagPicture) -> Processed:
        """Messages of a picture; one that is broken or on which the model fails gives a reason."""
        try:
            frame = picture.frame()
            detections = self.pipeline.process(frame, self._masks).detections
        except (FrameError, InferenceError) as error:
            return Processed([], cause=cause_of(error), reason=str(error))
        messages = self.builder.results(picture.stamp_ns, picture.frame_id, detections)
        overlay = None
        if self.with_overlay:
            overlay = draw_overlay(frame.bgr(), detections, self._names)
        return Processed(messages, overlay)


def process_in_order(worker: PictureWorker, pictures: Iterable[BagPicture], jobs: int
                     ) -> Iterator[Tuple[BagPicture, Processed]]:
    """Each picture with its result, in the order of ``pictures``.

    :param jobs: 1 works here with ``worker``; more start as many processes, each with its own
        model.
    :raises ToolError: a process died.
    """
    if jobs == 1:
        for picture in pictures:
            yield picture, worker.process(picture)
        return
    # Not fork: runtimes have threads and devices that a forked process must not share.
    context = multiprocessing.get_context('spawn')
    settings = (worker.pipeline.config, worker.with_overlay)
    with ProcessPoolExecutor(jobs, context, _start_process, settings) as pool:
        try:
            yield from _windowed(pool, pictures, 2 * jobs)
        except BrokenProcessPool:
            raise ToolError('A worker process ended unexpectedly; its message is above. If there '
                            'is none, the memory may be short: use fewer --jobs.') from None


def _windowed(pool: ProcessPoolExecutor, pictures: Iterable[BagPicture], window: int
              ) -> Iterator[Tuple[BagPicture, Processed]]:
    """Keep a few pictures under way: enough for all processes, too few to fill the memory."""
    waiting: Deque[Tuple[BagPicture, 'Future[Processed]']] = deque()
    for picture in pictures:
        waiting.append((picture, pool.submit(_process, picture)))
        if len(waiting) > window:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


_worker: Optional[PictureWorker] = None


def _start_process(config: WorkConfig, with_overlay: bool) -> None:
    global _worker
    # Ctrl-C reaches all processes of a terminal; the first one ends the others in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = PictureWorker(config, with_overlay)


def _process(picture: BagPicture) -> Processed:
    return _worker.process(picture)
