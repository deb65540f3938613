"""What to do about inferences that fail: drop the frame, then reopen the model, then give up."""

import threading
from enum import Enum
from typing import Callable

from .errors import YoloSegError


class Verdict(Enum):
    """What became of a failed frame."""

    DROPPED = 'dropped'
    REOPENED = 'reopened'
    GIVEN_UP = 'given up'


class Recovery:
    """Counts failures in a row, over all workers of one model.

    The ``limit``-th one reopens the model. If then again ``limit`` fail without a success between,
    or if the model cannot be reopened, the model is given up: nothing more is tried.
    """

    def __init__(self, reopen: Callable[[], None], limit: int) -> None:
        """Start with no failure.

        :param reopen: opens the model again, such as ``Pipeline.reopen``.
        :param limit: failures in a row that are too many, at least 1.
        """
        self._reopen, self.limit = reopen, limit
        self.reason = ''
        self._lock = threading.Lock()
        self._in_a_row, self._reopened, self._busy = 0, False, False

    def succeeded(self) -> None:
        """An inference worked."""
        if self._in_a_row or self._reopened:
            with self._lock:
                self._in_a_row, self._reopened = 0, self._busy

    def failed(self, error: Exception) -> Verdict:
        """An inference failed; may block while the model is reopened.

        :return: ``GIVEN_UP`` only once; ``reason`` then is a sentence for the user.
        """
        with self._lock:
            if self._busy or self.reason:
                return Verdict.DROPPED  # a frame that was under way
            self._in_a_row += 1
            if self._in_a_row < self.limit:
                return Verdict.DROPPED
            if self._reopened:
                self.reason = (f'{self.limit} inferences in a row failed again after the model was '
                               f'reopened, so it is given up: {error}')
                return Verdict.GIVEN_UP
            self._in_a_row, self._reopened, self._busy = 0, True, True
        return self._try_again()

    def _try_again(self) -> Verdict:
        try:
            self._reopen()
            return Verdict.REOPENED
        except YoloSegError as error:
            self.reason = (f'{self.limit} inferences in a row failed and the model cannot be '
                           f'reopened, so it is given up: {error}')
            return Verdict.GIVEN_UP
        finally:
            self._busy = False
