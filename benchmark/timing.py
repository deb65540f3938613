"""Fair timing on a shared machine: every repetition runs all candidates, in random order."""
from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

WARM_UP = 3


class Timing(NamedTuple):
    """Medians of one candidate in milliseconds."""

    cpu_ms: float
    wall_ms: float


class Measurement:
    """Times of several candidates that did the same work side by side."""

    def __init__(self, cpu_ns: Mapping[str, list[int]], wall_ns: Mapping[str, list[int]]) -> None:
        self._cpu_ns, self._wall_ns = cpu_ns, wall_ns

    def timing(self, name: str) -> Timing:
        """Medians of one candidate."""
        return Timing(statistics.median(self._cpu_ns[name]) / 1e6,
                      statistics.median(self._wall_ns[name]) / 1e6)

    def ratio(self, slow: str, fast: str) -> float:
        """How many times the CPU time of ``fast`` the other takes: median of the paired ratios."""
        return statistics.median(
            s / max(f, 1) for s, f in zip(self._cpu_ns[slow], self._cpu_ns[fast]))


def measure(candidates: Mapping[str, Callable[[], object]], repetitions: int) -> Measurement:
    """Time candidates; process CPU time leaves out what other processes take."""
    order = list(candidates)
    cpu_ns: dict[str, list[int]] = {name: [] for name in order}
    wall_ns: dict[str, list[int]] = {name: [] for name in order}
    for repetition in range(-WARM_UP, repetitions):
        random.shuffle(order)
        for name in order:
            wall, cpu = time.perf_counter_ns(), time.process_time_ns()
            candidates[name]()
            cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
            if repetition >= 0:
                cpu_ns[name].append(cpu)
                wall_ns[name].append(wall)
    return Measurement(cpu_ns, wall_ns)
