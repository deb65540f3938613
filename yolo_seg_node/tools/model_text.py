"""What a saved ``hrt_model_exec model_info`` text says of one model."""

from pathlib import Path
from typing import List, Sequence

import numpy as np

from ..config import WorkConfig
from ..errors import InferenceError
from ..letterbox import SizeWH
from ..model_info import ModelInfo, read_model_info
from ..model_input import NCHW, NHWC, NV12, Y_UV, InputFormat
from .errors import ToolError


class TextModel:
    """A model that is described and cannot run; otherwise it is like every ``Runtime``."""

    name = 'model_info'
    files = 'a text that `hrt_model_exec model_info` printed'
    releases_gil = True

    def __init__(self, config: WorkConfig, path: Path) -> None:
        """Read the model that "model_name" names, or the first.

        :raises ModelError: the text cannot be read.
        :raises ToolError: it has no such model, or the model takes no picture.
        """
        model = model_of_text(path, config.model_name)
        self.effective = f'none, described by {path.name} (model {model.name})'
        self.outputs = model.outputs
        self.input_format = InputFormat(_input_kind(model), input_size_wh(model),
                                        np.dtype(model.inputs[0].dtype), mode=config.resize_mode,
                                        pad_value=config.pad_value)

    @staticmethod
    def takes(path: Path) -> bool:
        """See ``Runtime``."""
        return path.suffix.lower() in ('.txt', '.log')

    @staticmethod
    def find_sdk() -> None:
        """See ``Runtime``; nothing is needed."""

    def infer(self, arrays: Sequence[np.ndarray]) -> List[np.ndarray]:
        """See ``Runtime``; always raises."""
        raise InferenceError('A model that is only described by a text cannot run.')

    def close(self) -> None:
        """See ``Runtime``."""


def model_of_text(path: Path, name: str = '') -> ModelInfo:
    """The model called ``name``, or the first.

    :raises ModelError: the text cannot be read.
    :raises ToolError: it has no model of that name.
    """
    models = read_model_info(path)
    for model in models:
        if name in ('', model.name):
            return model
    raise ToolError(f'"model_name" is {name!r}, but {path.name} has '
                    f'{", ".join(repr(model.name) for model in models)}.')


def input_size_wh(model: ModelInfo) -> SizeWH:
    """Width and height of the picture that a model takes, in pixels.

    :raises ToolError: the text shows no picture input.
    """
    shape = model.inputs[0].shape if model.inputs else ()
    if len(shape) == 4 and shape[1] == 3:
        return shape[3], shape[2]
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[2], shape[1]
    raise ToolError(f'The first input of {model.name!r} has shape {shape}, but a picture input has '
                    '1x3xHxW, 1xHxWx3, or 1xHxWx1 for the luma of NV12.')


def _input_kind(model: ModelInfo) -> str:
    """See ``InputFormat.kind``."""
    if model.nv12:
        return NV12
    if len(model.inputs) == 2:
        return Y_UV
    return NCHW if model.inputs and model.inputs[0].shape[1:2] == (3,) else NHWC
