"""What an export is to write, and what then is left to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, NamedTuple, Sequence, Tuple

from ..frame import Frame
from .raw_model import RawModel


@dataclass(frozen=True)
class Order:
    """A model on its way into a folder.

    :ivar stem: base of the file names.
    :ivar input_type: ``rgb`` or ``nv12``, how the model is fed.
    :ivar frames: calibration pictures; may be empty.
    :ivar integer: kinds of heads that lose their last Dequantize.
    :ivar modifier_log: text that hb_model_modifier wrote of the compiled model, or empty.
    """

    folder: Path
    stem: str
    raw: RawModel
    input_type: str
    frames: Sequence[Frame] = ()
    integer: Tuple[str, ...] = ()
    modifier_log: str = ''

    @property
    def onnx(self) -> str:
        """File name of the ONNX model."""
        return f'{self.stem}.onnx'

    @property
    def work_config(self) -> str:
        """File name of the work config."""
        return f'{self.stem}.json'


class Step(NamedTuple):
    """A command that is left to the user.

    :ivar where: place to run it, and what for.
    :ivar hint: what to do where it fails, or empty.
    """

    where: str
    command: str
    hint: str = ''


class Written(NamedTuple):
    """What was written for one target: file name -> what it is, and the steps after it."""

    files: Dict[str, str]
    steps: Sequence[Step]


def run_step(order: Order, where: str) -> Step:
    """The last step: the node with the work config."""
    return Step(where, 'ros2 run yolo_seg_node yolo_seg_node --ros-args -p '
                       f'config_file:=$PWD/{order.work_config}')


def calibration_note(order: Order) -> str:
    """What the calibration folder holds, or is to hold."""
    if order.frames:
        return f'{len(order.frames)} calibration pictures, letterboxed as at run time'
    return 'missing: export again with --calibration DIR, the folder of your pictures'
