"""Measuring: several workers take frames until enough are done; warm-up stands apart."""

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple


class Measured(NamedTuple):
    """One frame: nanoseconds by stage, and what was found."""

    stages_ns: Dict[str, int]
    detections: int


@dataclass(frozen=True)
class Run:
    """All frames of one number of workers.

    :ivar latency_ns: from the first stage to the last, by frame, and ``warm_up_ns`` before that.
    :ivar cpu_secs: of this process and its children, over the measured frames.
    """

    elapsed_secs: float
    cpu_secs: float
    latency_ns: List[int]
    warm_up_ns: List[int]
    frames: List[Measured]


def measure(process: Callable[[int], Measured], workers: int, frames: int, warm_up: int) -> Run:
    """Run frames on as many threads as there are workers.

    :param process: handles the frame of a number; called from all threads.
    :raises YoloSegError: what ``process`` raises.
    """
    with ThreadPoolExecutor(workers) as pool:
        _, warm_up_ns, _ = _all_frames(pool, process, workers, warm_up)
        before_secs = cpu_secs()
        elapsed_secs, latency_ns, done = _all_frames(pool, process, workers, frames)
        return Run(elapsed_secs, cpu_secs() - before_secs, latency_ns, warm_up_ns, done)


def _all_frames(pool: ThreadPoolExecutor, process: Callable[[int], Measured], workers: int,
                frames: int) -> Tuple[float, List[int], List[Measured]]:
    """Elapsed seconds, nanoseconds of each frame, and the frames."""
    numbers, barrier = itertools.count(), Barrier(workers)

    def work(_: int) -> List[Tuple[int, int, Measured]]:
        barrier.wait()
        return list(_until(numbers, frames, process))

    rows = [row for part in pool.map(work, range(workers)) for row in part]
    starts, ends, done = zip(*rows)
    return ((max(ends) - min(starts)) / 1e9, [end - start for start, end in zip(starts, ends)],
            list(done))


def _until(numbers: Iterator[int], frames: int, process: Callable[[int], Measured]
           ) -> Iterator[Tuple[int, int, Measured]]:
    """Take the next number until ``frames`` are taken: start and end (ns) of each."""
    for index in numbers:
        if index >= frames:
            return
        start = time.perf_counter_ns()
        done = process(index)
        yield start, time.perf_counter_ns(), done


def cpu_secs() -> float:
    """CPU time of this process and of its worker processes."""
    return time.process_time() + sum(map(process_cpu_secs, _children(os.getpid())))


def process_cpu_secs(pid: int) -> float:
    """CPU time of a process and its children, in steps of the kernel's clock (10 ms)."""
    fields = _text(Path(f'/proc/{pid}/stat')).rpartition(')')[2].split()
    ticks = sum(map(int, fields[11:13]))  # utime and stime, counted from the state
    return (ticks / os.sysconf('SC_CLK_TCK') + sum(map(process_cpu_secs, _children(pid))))


def _children(pid: int) -> List[int]:
    lists = map(_text, Path(f'/proc/{pid}/task').glob('*/children'))
    return [int(child) for text in lists for child in text.split()]


def _text(path: Path) -> str:
    """Content of a file of a process or thread, empty when it has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ''
