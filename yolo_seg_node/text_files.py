"""Text and JSON files, read up to a limit and checked for what no log or message could show."""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Tuple

MAX_INTEGER = 2**63


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a file of at most ``max_bytes``; of a larger one no more than that is read.

    :raises OSError: it cannot be read.
    :raises ValueError: it is larger.
    """
    with path.open('rb') as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f'it is larger than {max_bytes} bytes')
    return data


def read_text(path: Path, max_bytes: int) -> str:
    """The UTF-8 text of a file; see ``read_bytes``. Line ends are kept."""
    return read_bytes(path, max_bytes).decode('utf-8-sig')


def read_json(path: Path, max_bytes: int) -> Any:
    """The value of a JSON file; see ``read_bytes``.

    :raises ValueError: also when it is no JSON that says one thing only: repeated keys, numbers
        that are not finite or above 64 bits, half characters; or it is nested too deeply.
    """
    text = read_text(path, max_bytes)
    conflict = re.search('^(<<<<<<<|>>>>>>>)', text, re.MULTILINE)
    if conflict:
        line = text.count('\n', 0, conflict.start()) + 1
        raise ValueError(f'line {line} is a git conflict marker; resolve the conflict')
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_float=_finite_float,
                           parse_int=_bounded_int, parse_constant=_no_constant)
        # JSON can spell half a character, which no message or log could show.
        json.dumps(value, ensure_ascii=False).encode('utf-8')
    except RecursionError:
        raise ValueError('it is nested too deeply') from None
    return value


def _no_duplicates(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    twice = sorted(key for key, count in counts.items() if count > 1)
    if twice:
        raise ValueError(f'key(s) given more than once: {", ".join(twice[:5])}')
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f'{name} is not a JSON number')


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text[:40]} is too large for a number')
    return value


def _bounded_int(text: str) -> int:
    # The length goes first: Python takes long over many digits, or refuses them.
    if len(text) > len(str(-MAX_INTEGER)) or not -MAX_INTEGER <= int(text) < MAX_INTEGER:
        raise ValueError(f'{text[:40]} is too large for a number')
    return int(text)
