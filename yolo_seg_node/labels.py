"""Class names."""

from pathlib import Path
from typing import Optional, Tuple

from .errors import ConfigError
from .paths import share_dir
from .text_files import read_text

MAX_BYTES = 4 << 20
COCO_FILE = 'coco.list'


def read_labels(path: Path) -> Tuple[str, ...]:
    """Names from a text file, one a line; line ends of any system, blank last lines ignored.

    :raises ConfigError: not readable, not UTF-8, too large, or a blank line between names.
    """
    try:
        lines = read_text(path, MAX_BYTES).splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f'Label file {path}', [f'it cannot be read: {error}']) from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    blank = [str(i + 1) for i, name in enumerate(names) if not name]
    if blank or not names:
        what = f'line(s) {", ".join(blank[:5])} are blank' if names else 'it holds no name'
        raise ConfigError(f'Label file {path}', [f'{what}; write one class name on each line'])
    return tuple(names)


def default_labels(class_num: int) -> Tuple[str, ...]:
    """COCO names for 80 classes, else the numbers as text."""
    if class_num == 80:
        return read_labels(share_dir() / 'config' / COCO_FILE)
    return tuple(str(i) for i in range(class_num))


def label_of(names: Tuple[str, ...], class_id: int) -> str:
    """Name of a class id, or the number as text where there is none."""
    return names[class_id] if 0 <= class_id < len(names) else str(class_id)


def check_labels(names: Tuple[str, ...], class_num: int, name: str) -> Optional[str]:
    """A sentence when the number of names is not ``class_num``, else None."""
    if len(names) == class_num:
        return None
    return (f'"cls_names_list" {name!r} has {len(names)} names, but "class_num" is {class_num}; '
            'they must be equal')
