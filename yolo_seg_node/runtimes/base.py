"""What every runtime adapter offers, and what the adapters share."""

from itertools import zip_longest
from pathlib import Path
from typing import Any, List, Protocol, Sequence, Tuple

import numpy as np

from ..errors import InferenceError, ModelError
from ..frame import frame_from_bgr
from ..model_input import InputFormat, Preprocessor
from ..tensors import TensorSpec


class Runtime(Protocol):
    """One opened model: ``Adapter(config, path)`` opens it and raises ``ModelError`` if it cannot.

    :ivar name: key of ``runtimes.RUNTIMES``.
    :ivar files: the model files that the runtime takes, in words.
    :ivar path: the model file that it has opened; set by ``runtimes.open_runtime``.
    :ivar effective: what really runs, for the log and diagnostics (``onnxruntime CPU``).
    :ivar outputs: the model's outputs, with the scales that the runtime knows.
    :ivar input_format: what ``infer`` takes.
    :ivar releases_gil: other Python threads run during an inference, so threads are enough as
        workers; else workers must be processes. False on the class means that no instance does.
    """

    name: str
    files: str
    path: Path
    effective: str
    outputs: Tuple[TensorSpec, ...]
    input_format: InputFormat
    releases_gil: bool

    @staticmethod
    def takes(path: Path) -> bool:
        """Whether the name of a model says that it is for this runtime."""

    @staticmethod
    def find_sdk() -> Any:
        """Import what the runtime needs; cheap when it is imported already.

        :raises RuntimeMissingError: this machine does not have it.
        """

    def infer(self, arrays: Sequence[np.ndarray]) -> List[np.ndarray]:
        """Run the model on prepared input; may be called from several threads.

        :return: one array per output, valid until the caller's next call.
        :raises InferenceError: this inference failed; the next one may work.
        """

    def close(self) -> None:
        """Let go of the model once the inferences under way are over; later ones are refused."""


def first_outputs(runtime: Runtime) -> List[np.ndarray]:
    """Run a model that was just opened on a black picture, so that a broken one shows at start.

    :raises ModelError: it fails.
    """
    width, height = runtime.input_format.size_wh
    black = frame_from_bgr(np.zeros((height, width, 3), np.uint8))
    arrays, _ = Preprocessor(runtime.input_format).prepare(black)
    try:
        return runtime.infer(arrays)
    except InferenceError as error:
        raise ModelError(f'The model opens but does not run: {error}') from error


def check_outputs(runtime: Runtime) -> None:
    """Run the model once and compare its outputs with what it says of itself.

    :raises ModelError: with a table of both when they differ.
    """
    found = [f'{array.shape} {array.dtype.name}' for array in first_outputs(runtime)]
    stated = [f'{spec.shape} {np.dtype(spec.dtype).name}' for spec in runtime.outputs]
    if found != stated:
        lines = [f'  output {i}: expected {s}, found {f}'
                 for i, (s, f) in enumerate(zip_longest(stated, found, fillvalue='nothing'))]
        raise ModelError('\n'.join([
            f'{runtime.name} gives {len(found)} output(s) that differ from the {len(stated)} that '
            'the model states; the model and the runtime are of different versions:', *lines]))
