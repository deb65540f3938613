"""Arrays of an npz file; what the file claims is checked before memory is taken for it."""

import math
import zipfile
from pathlib import Path
from typing import IO, Callable, Dict, Pattern, Tuple, TypeVar

import numpy as np

# Together, of one file. The outputs of a 1280x1280 segmentation model as float32 take a quarter.
MAX_BYTES = 256 << 20
# These are what numpy writes, and the only methods that unpack no more than was asked for.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
SUFFIX = '.npy'
_Value = TypeVar('_Value')


def read_npz(path: Path, names: 'Pattern[str]') -> Dict[str, np.ndarray]:
    """The arrays of a file whose whole name matches; others are not looked at.

    :raises OSError: the file cannot be read.
    :raises ValueError: it is broken, or too large, or such an array holds no plain numbers; nothing
        is ever unpickled.
    """
    return _opened(path, lambda archive: _arrays(archive, names))


def npz_shape(path: Path, name: str) -> Tuple[int, ...]:
    """Shape of one array, read from its header alone.

    :raises OSError: the file cannot be read.
    :raises ValueError: it is broken, or holds no such array of plain numbers.
    """
    return _opened(path, lambda archive: _checked_shape(archive, archive.getinfo(name + SUFFIX)))


def _opened(path: Path, read: Callable[[zipfile.ZipFile], _Value]) -> _Value:
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except (OSError, ValueError):
        raise
    # Broken bytes also make zipfile, zlib and numpy raise a dozen classes of their own.
    except Exception as error:
        raise ValueError(f'{type(error).__name__}: {error}') from None


def _arrays(archive: zipfile.ZipFile, names: 'Pattern[str]') -> Dict[str, np.ndarray]:
    members = {info.filename[:-len(SUFFIX)]: info for info in archive.infolist()
               if info.filename.endswith(SUFFIX)}
    members = {name: info for name, info in members.items() if names.fullmatch(name)}
    size = sum(info.file_size for info in members.values())
    if size > MAX_BYTES:
        raise ValueError(f'its arrays take {size} bytes, but may take {MAX_BYTES} together')
    return {name: _array(archive, info) for name, info in members.items()}


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    _checked_shape(archive, info)
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _checked_shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tuple[int, ...]:
    if info.compress_type not in METHODS:
        raise ValueError(f'{info.filename} is packed by method {info.compress_type}, but must be '
                         'stored or deflated, as numpy.savez does')
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
        size = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.kind not in 'iufb' or not dtype.isnative:
        raise ValueError(f'{info.filename} has dtype {dtype}, but must hold plain numbers')
    if size != info.file_size:
        raise ValueError(f'{info.filename} has {info.file_size} bytes, but its shape {shape} needs '
                         f'{size}')
    return shape


def _header(stream: IO[bytes]) -> Tuple[Tuple[int, ...], np.dtype]:
    """Shape and dtype in the form of numpy.savez; a longer header is needed for records only."""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f'its array has format {version}, but must have (1, 0)')
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return shape, dtype
