"""The errors that this package raises; every message is a sentence for the person who reads it."""


class YoloSegError(Exception):
    """Base of all errors of this package."""


class ConfigError(YoloSegError):
    """A work config (or a file that it names) is wrong.

    ``problems`` holds every problem found, one sentence each, so that a user mends a file once.
    """

    def __init__(self, source: str, problems: 'list[str]') -> None:
        self.source = source
        self.problems = list(problems)
        lines = ''.join(f'\n  - {problem}' for problem in self.problems)
        super().__init__(f'{source} has {len(self.problems)} problem(s):{lines}')


class ModelError(YoloSegError):
    """The model cannot be opened, or its inputs and outputs do not fit the work config."""


class RuntimeMissingError(ModelError):
    """This machine lacks what a runtime needs: its SDK or its device."""


class InferenceError(YoloSegError):
    """One inference failed; the frame is lost, the next one may work."""


class FrameError(YoloSegError):
    """One picture cannot be used.

    ``cause`` is a short constant word (``'encoding'``, ``'length'``, ...) for counting and throttling.
    """

    def __init__(self, cause: str, message: str) -> None:
        self.cause = cause
        super().__init__(message)
