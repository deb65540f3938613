"""What a process and all that it has started take from the system."""

import re
from pathlib import Path
from typing import List, Set


def members(group: int) -> List[int]:
    """Process ids of a process group, zombies included."""
    return [int(path.name) for path in Path('/proc').glob('[0-9]*')
            if _text(path / 'stat').rpartition(')')[2].split()[2:3] == [str(group)]]


def memory_bytes(group: int) -> int:
    """Memory of a process group that nobody else has: no code, no shared memory."""
    found = [re.search(r'RssAnon:\s*(\d+) kB', _text(Path(f'/proc/{pid}/status')))
             for pid in members(group)]
    return 1024 * sum(int(match[1]) for match in found if match)


def workers(pid: int) -> Set[int]:
    """Process ids of the worker processes that a process has."""
    children = [int(child) for task in Path(f'/proc/{pid}/task').iterdir()
                for child in _text(task / 'children').split()]
    return {child for child in children if 'spawn_main' in _text(Path(f'/proc/{child}/cmdline'))}


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f'/proc/{pid}/task').iterdir()))


def open_files(pid: int) -> int:
    """How many files, sockets and pipes a process has open."""
    return len(list(Path(f'/proc/{pid}/fd').iterdir()))


def _text(path: Path) -> str:
    """Content of a file of a process or thread, empty when it has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ''
