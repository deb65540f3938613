"""Kinds of command-line values that several tools take."""

import argparse
import math
import re

from ..letterbox import SizeWH


def positive(text: str) -> int:
    """A whole number above zero."""
    value = int(text) if text.strip().lstrip('+-').isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number above zero')
    return value


def seconds(text: str) -> float:
    """A number from zero on."""
    return _number(text, math.inf, 'no number of seconds from 0 on')


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, 1.0, 'no number from 0 to 1')


def percent(text: str) -> float:
    """A number from 0 to 100."""
    return _number(text, 100.0, 'no percentage from 0 to 100')


def size_wh(text: str) -> SizeWH:
    """Width and height from a text like 1280x720, for ``type=``."""
    match = re.fullmatch(r'([1-9]\d{0,4})[xX]([1-9]\d{0,4})', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no size; write WIDTHxHEIGHT, as in 1280x720')
    return int(match.group(1)), int(match.group(2))


def _number(text: str, limit: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= limit and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f'{text!r} is {what}')
    return value
