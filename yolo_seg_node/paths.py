"""Where the files are that the package installs and that a work config names."""

from pathlib import Path
from typing import Callable, Iterable, List, Optional

PACKAGE = 'yolo_seg_node'
# A VACC model is three files that share a prefix: library, graph and weights.
VACC_SUFFIXES = ('.so', '.json', '.params')


def share_dir() -> Path:
    """Folder that holds this package's ``config/`` and ``resource/``.

    In a checkout that is its top level, in an installation ``<prefix>/share/yolo_seg_node``. It is
    found from this file alone, so it also works in a shell where no workspace is sourced.
    """
    here = Path(__file__).resolve()
    if (here.parents[1] / 'package.xml').is_file():
        return here.parents[1]
    for parent in here.parents:
        share = parent / 'share' / PACKAGE
        if share.is_dir():
            return share
    raise FileNotFoundError(
        f'the share folder of {PACKAGE} is not above {here}; install the package with colcon or pip')


def search_dirs(near: Optional[Path]) -> List[Path]:
    """Folders in which a relative path of a work config is looked for, best first.

    ``near`` is the folder of the work config. After it come the working directory (as in TROS), and
    this package's own files, so that ``config/coco.list`` works from anywhere.
    """
    share = share_dir()
    return [*([near] if near else []), Path.cwd(), share / 'config', share]


def find_file(name: str, dirs: Iterable[Path]) -> Optional[Path]:
    """First existing file called ``name`` in ``dirs``; an absolute ``name`` is only checked."""
    return _first(name, dirs, Path.is_file)


def vacc_files(prefix: Path) -> List[Path]:
    """The three files of a VACC model, whether they exist or not."""
    return [prefix.parent / (prefix.name + suffix) for suffix in VACC_SUFFIXES]


def find_model(name: str, dirs: Iterable[Path]) -> Optional[Path]:
    """First existing model called ``name``: a file, a folder of recordings, or a VACC prefix."""
    return _first(name, dirs, lambda candidate: candidate.exists() or any(
        path.is_file() for path in vacc_files(candidate)))


def _first(name: str, dirs: Iterable[Path], wanted: Callable[[Path], bool]) -> Optional[Path]:
    for folder in dirs:
        try:
            candidate = folder / Path(name).expanduser()
            if wanted(candidate):
                return candidate.resolve()
        except (OSError, ValueError, RuntimeError):  # too long, no permission, a null byte, ~nobody
            continue
    return None
