"""Saying a thing once in a while."""

import time
from typing import Dict, Hashable


class Throttle:
    """Tells for each key whether its time has come; rclpy's own throttle knows only code lines."""

    def __init__(self, period_secs: float) -> None:
        self._period_secs = period_secs
        self._next: Dict[Hashable, float] = {}

    def due(self, key: Hashable) -> bool:
        """True at most once in a period for each key."""
        now = time.monotonic()
        if now < self._next.get(key, now):
            return False
        self._next[key] = now + self._period_secs
        return True
