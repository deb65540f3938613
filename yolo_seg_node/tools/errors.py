"""What goes wrong in the tools alone."""

import importlib
from types import ModuleType

from ..errors import YoloSegError


class ToolError(YoloSegError):
    """A tool cannot go on with what it was given; the message says what to change."""


def optional_module(name: str, extra: str) -> ModuleType:
    """Import a library that only some tools need.

    :param extra: the extra of this package that brings it.
    :raises ToolError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        distribution = name.partition('.')[0]
        raise ToolError(f'{distribution} cannot be imported ({error}), but is needed for this; '
                        f'`pip install {distribution}`, or the extra "{extra}" of this package.'
                        ) from None
