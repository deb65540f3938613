"""What happened to the pictures of one camera since the last look."""

import threading
from collections import defaultdict
from typing import DefaultDict, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

MAX_SAMPLES = 1000


class Window(NamedTuple):
    """Durations of published pictures in nanoseconds, and the last refusal."""

    age_ns: Sequence[int]
    stages_ns: Dict[str, Sequence[int]]
    refusal: Optional[str]

    def stage_medians_ms(self) -> Dict[str, float]:
        """Median of each stage in milliseconds."""
        return {stage: float(np.median(ns)) / 1e6 for stage, ns in self.stages_ns.items()}


class Statistics:
    """Collects from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._age_ns: List[int] = []
        self._stages_ns: DefaultDict[str, List[int]] = defaultdict(list)
        self._refusal: Optional[str] = None

    def add(self, age_ns: int, stages_ns: Dict[str, int]) -> None:
        """Note a published picture."""
        with self._lock:
            if len(self._age_ns) < MAX_SAMPLES:
                self._age_ns.append(age_ns)
                for stage, ns in stages_ns.items():
                    self._stages_ns[stage].append(ns)

    def add_refusal(self, sentence: str) -> None:
        """Note why a picture could not be used."""
        with self._lock:
            self._refusal = sentence

    def take(self) -> Window:
        """What was noted since the last call."""
        with self._lock:
            window = Window(self._age_ns, self._stages_ns, self._refusal)
            self._clear()
        return window
