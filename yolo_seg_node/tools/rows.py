"""Checks of the rows of JSON files, so that a wrong value is met where it stands."""

from typing import Any, Callable, Dict

# Beyond any coordinate, area or id of a picture; floats hold smaller integers exactly.
MAX_NUMBER = 2**53

Checks = Dict[str, Callable[[Any], bool]]


def is_integer(value: Any) -> bool:
    """A whole number."""
    return isinstance(value, int) and is_number(value)


def is_number(value: Any) -> bool:
    """A number that is finite; true and false are none."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and -MAX_NUMBER < value < MAX_NUMBER)


def is_text(value: Any) -> bool:
    """A text that can be shown: JSON can spell half a character."""
    return isinstance(value, str) and not any('\ud800' <= letter <= '\udfff' for letter in value)


def is_box(value: Any) -> bool:
    """Four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_run_lengths(value: Any) -> bool:
    """A mask as COCO writes it, compressed: height and width, and its runs as a text."""
    return (isinstance(value, dict) and isinstance(value.get('size'), list)
            and len(value['size']) == 2 and all(map(is_integer, value['size']))
            and is_text(value.get('counts')))


def check_row(row: Any, checks: Checks) -> None:
    """See that a row is an object in which each of some keys passes its check.

    :raises ValueError: naming those that are missing, or the first that does not.
    """
    if not isinstance(row, dict):
        raise ValueError(f'{str(row)[:40]!r} is no object {{...}}')
    missing = sorted(checks.keys() - row.keys())
    if missing:
        raise ValueError(f'a record lacks {", ".join(missing)}')
    for key, passes in checks.items():
        if not passes(row[key]):
            raise ValueError(f'"{key}" is {ascii(row[key])[:40]}, but must be '
                             f'{_WORDS[passes]}')


_WORDS = {is_integer: 'a whole number', is_number: 'a finite number', is_text: 'a text',
          is_box: 'four finite numbers', is_run_lengths: 'a mask with "size" and "counts"'}
