"""Outputs recorded on an accelerator, played back in place of the model.

For tests and for work on a PC: the same decoding as on the robot without its hardware. The files
have the form that VastAI's vamp writes: ``output_0``, ``output_1`` ... in model order.
"""

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, List, Sequence, Tuple

import numpy as np

from ..errors import InferenceError, ModelError
from ..model_input import NCHW, InputFormat
from ..npz import read_npz
from ..tensors import TensorSpec

if TYPE_CHECKING:
    from ..config import WorkConfig

_KEY = re.compile('output_(0|[1-9][0-9]{0,2})')


class RecordedRuntime:
    """One ``.npz`` is given for every frame; a folder of them in order of name, then it is over."""

    name = 'recorded'
    files = '.npz, or a folder of them'
    releases_gil = True

    def __init__(self, config: 'WorkConfig', model_path: Path) -> None:
        """Find the recordings and read the first.

        :raises ModelError: none is there, or it cannot be read, or "input_size" is missing.
        """
        if config.input_size is None:
            raise ModelError('Recorded outputs do not tell the size of the model input; set '
                             '"input_size" [width, height].')
        self._files = [model_path] if model_path.is_file() else sorted(model_path.glob('*.npz'))
        if not self._files:
            raise ModelError(f'There is no .npz file in the folder of recordings {model_path}.')
        self._repeat, self._next = model_path.is_file(), 0
        self._lock = threading.Lock()
        self._first = load_outputs(self._files[0])
        self.outputs = tuple(TensorSpec(f'output_{i}', array.shape, array.dtype)
                             for i, array in enumerate(self._first))
        self.effective = f'recorded outputs, {len(self._files)} file(s)'
        self.input_format = InputFormat(NCHW, config.input_size, mode=config.resize_mode,
                                        pad_value=config.pad_value)

    @staticmethod
    def takes(path: Path) -> bool:
        """See ``Runtime``."""
        return path.suffix.lower() == '.npz' or path.is_dir()

    @staticmethod
    def find_sdk() -> None:
        """See ``Runtime``; nothing is needed."""

    def infer(self, arrays: Sequence[np.ndarray]) -> List[np.ndarray]:
        """The next recorded outputs; the input is not looked at."""
        if self._repeat:
            return self._first
        with self._lock:
            if self._next >= len(self._files):
                raise InferenceError(f'All {len(self._files)} recordings are played.')
            path, self._next = self._files[self._next], self._next + 1
        try:
            outputs = load_outputs(path)
        except ModelError as error:
            raise InferenceError(str(error)) from None
        if [(a.shape, a.dtype) for a in outputs] != [(a.shape, a.dtype) for a in self._first]:
            raise InferenceError('Recorded outputs have not the shapes and dtypes of the first '
                                 f'recording {self._files[0].name} ({path})')
        return outputs

    def close(self) -> None:
        """See ``Runtime``."""


def paired_recordings(folder: Path, data_list: Path) -> List[Tuple[Path, Path]]:
    """The recording of each line of a data list, by the rule of VastAI's tools.

    :param folder: holds the recordings; in order of name they belong to the lines of ``data_list``.
    :param data_list: text file with the path of one input per line.
    :return: (path of the input as listed, recording) in the order of the list.
    :raises ModelError: the list cannot be read, or the numbers differ and pairs would be wrong.
    """
    try:
        lines = data_list.read_text(encoding='utf-8').split('\n')
    except (OSError, ValueError) as error:
        raise ModelError(f'The data list cannot be read: {error}.') from None
    inputs = [Path(line.strip()) for line in lines if line.strip()]
    files = sorted(folder.glob('*.npz'))
    if len(inputs) != len(files):
        raise ModelError(f'The data list has {len(inputs)} lines, but there are {len(files)} '
                         f'recordings; they are paired by order, so both must agree ({folder})')
    return list(zip(inputs, files))


def load_outputs(path: Path) -> List[np.ndarray]:
    """The arrays ``output_0`` ... of an npz file, in order of their number.

    :raises ModelError: the file cannot be read, is too large, or holds no such array of numbers.
    """
    try:
        arrays = read_npz(path, _KEY)
    except (OSError, ValueError) as error:
        raise ModelError(f'Recorded outputs cannot be read: {error} ({path})') from None
    found = {int(_KEY.fullmatch(name).group(1)): array for name, array in arrays.items()}
    if sorted(found) != list(range(len(found))) or not found:
        raise ModelError(f'Recorded outputs must be called output_0, output_1 ... without a gap, '
                         f'but there are {sorted(found)} ({path})')
    return [found[i] for i in range(len(found))]
