"""What D-Robotics' tool chain needs beside the ONNX model: its yaml, its calibration set, and the
Dequantize nodes that are to go."""

import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np
import yaml

from ..frame import Frame
from .calibration import empty_folder, model_pictures
from .errors import ToolError
from .head_ends import head_end
from .raw_model import RawModel

CALIBRATION = 'calibration_data_rgb_f32'


class Board(NamedTuple):
    """One family of boards.

    :ivar march: architecture of its BPU.
    :ivar hbm: models are ``.hbm`` files made by hb_compile (Nash), else ``.bin`` by hb_mapper.
    :ivar softmax: its BPU can run a Softmax, if it is told to.
    """

    name: str
    march: str
    hbm: bool = False
    softmax: bool = True

    @property
    def compiler(self) -> str:
        """Command that compiles for it."""
        return 'hb_compile' if self.hbm else 'hb_mapper makertbin'


BOARDS = {
    'rdk-x3': Board('RDK X3', 'bernoulli2', softmax=False),
    'rdk-ultra': Board('RDK Ultra', 'bayes'),
    'rdk-x5': Board('RDK X5', 'bayes-e'),
    'rdk-s100': Board('RDK S100', 'nash-e', hbm=True),
}


def compiled_name(stem: str, board: Board, raw: RawModel, input_type: str) -> str:
    """Name of the compiled model without suffix, in the vendor's manner."""
    width, height = raw.size_wh
    march = board.march.replace('-', '')
    return f'{stem.replace("-", "_")}_{march}_{width}x{height}_{input_type}'


def board_model(compiled: str, board: Board, removed: Sequence[str]) -> str:
    """File name of the model that the board runs."""
    if board.hbm:
        return f'{compiled}.hbm'
    return f'{compiled}{"_modified" if removed else ""}.bin'


def ptq_config(stem: str, board: Board, raw: RawModel, input_type: str,
               removed: Sequence[str]) -> Dict[str, Any]:
    """The configuration of ``hb_mapper makertbin`` or ``hb_compile``.

    :param input_type: ``nv12`` or ``rgb``.
    :param removed: outputs whose Dequantize goes; only hb_compile is told here.
    """
    compiled = compiled_name(stem, board, raw, input_type)
    model: Dict[str, Any] = {
        'onnx_model': f'./{stem}.onnx', 'march': board.march, 'layer_out_dump': False,
        'working_dir': compiled, 'output_model_file_prefix': compiled}
    picture: Dict[str, Any] = {'input_name': '', 'input_type_rt': input_type}
    if input_type == 'rgb':
        picture['input_layout_rt'] = 'NCHW'
    picture.update(input_type_train='rgb', input_layout_train='NCHW', norm_type='data_scale',
                   scale_value=0.003921568627451)
    calibration: Dict[str, Any] = {'cal_data_dir': f'./{CALIBRATION}', 'cal_data_type': 'float32'}
    compiler: Dict[str, Any] = {'compile_mode': 'latency', 'debug': False,
                                'optimize_level': 'O2' if board.hbm else 'O3'}
    softmax = softmax_nodes(raw) if board.softmax else []
    if board.hbm:
        calibration['calibration_type'] = 'default'
        compiler['extra_params'] = {'input_no_padding': True, 'output_no_padding': True}
        if removed:
            model['remove_node_name'] = ';'.join(_nash_nodes(raw, removed))
        if softmax:
            calibration['quant_config'] = {'op_config': {'softmax': {'qtype': 'int8'}}}
    elif softmax:
        on_bpu = {'ON': 'BPU', 'InputType': 'int8', 'OutputType': 'int8'}
        model['node_info'] = {name: dict(on_bpu) for name in softmax}
    return {'model_parameters': model, 'input_parameters': picture,
            'calibration_parameters': calibration, 'compiler_parameters': compiler}


def ptq_yaml(config: Dict[str, Any], board: Board) -> str:
    """The same as text."""
    note = ('# NV12 made from BGR pictures by OpenCV has the limited range of BT.601; for a\n'
            '# camera like that add to input_parameters:  input_space_and_range: bt601_video\n')
    nv12 = config['input_parameters']['input_type_rt'] == 'nv12'
    return (f'# {board.name}: {compile_command(board, "THIS_FILE")}\n{note if nv12 else ""}'
            + yaml.safe_dump(config, sort_keys=False, width=1000))


def compile_command(board: Board, config: str) -> str:
    """The command that compiles the model inside the vendor's container."""
    if board.hbm:
        return f'hb_compile --config {config}'
    return f'hb_mapper makertbin --model-type onnx --config {config}'


def softmax_nodes(raw: RawModel) -> List[str]:
    """Softmax nodes left in the model; without a word in the yaml they run on the CPU."""
    return [node.name for node in raw.model.graph.node if node.op_type == 'Softmax']


def dequantize_nodes(raw: RawModel, outputs: Sequence[str]) -> List[str]:
    """Names that hb_mapper gives the Dequantize nodes of some outputs.

    After a convolution the node is named by the tensor that the convolution makes, after an
    activation by the output of the model: as in the hb_model_modifier logs that D-Robotics
    publishes for YOLOv8-Seg and YOLO11-Seg.
    """
    ends = {name: head_end(raw.model, name) for name in outputs}
    return [f'{name if end.activation else end.convolved}_HzDequantize'
            for name, end in ends.items()]


def _nash_nodes(raw: RawModel, outputs: Sequence[str]) -> List[str]:
    """What hb_compile calls the same: the convolution, or the calibration of the activation."""
    ends = [head_end(raw.model, name) for name in outputs]
    return [f'{end.activation[-1].output[0]}_HzCalibration' if end.activation else end.node.name
            for end in ends]


def dequantize_nodes_from_log(text: str, outputs: Sequence[str]) -> List[str]:
    """The same from the log that ``hb_model_modifier MODEL.bin`` writes.

    :raises ToolError: an output has no Dequantize node in it.
    """
    found = dict(re.findall(r'^\s*output: "([^"]+)"\s+name: "([^"]+_HzDequantize)"', text, re.M))
    missing = [name for name in outputs if name not in found]
    if missing:
        raise ToolError(f'The hb_model_modifier log has no Dequantize node for the output(s) '
                        f'{", ".join(missing)}; it has those of '
                        f'{", ".join(found) or "no output at all"}.')
    return [found[name] for name in outputs]


def modifier_command(compiled: str, nodes: Sequence[str]) -> str:
    """The command that removes Dequantize nodes."""
    lines = [f'hb_model_modifier {compiled}.bin', *(f'-r {_quoted(node)}' for node in nodes)]
    return ' \\\n  '.join(lines)


def _quoted(node: str) -> str:
    return node if re.fullmatch(r'[\w./:-]+', node) else "'" + node.replace("'", "'\\''") + "'"


def write_calibration(folder: Path, frames: Sequence[Frame], raw: RawModel, board: Board,
                      input_type: str) -> None:
    """Pictures (3, h, w) float32, R, G, B, 0..255: raw files, for hb_compile ``.npy`` ones."""
    empty_folder(folder)
    for i, picture in enumerate(model_pictures(frames, raw.size_wh, input_type == 'nv12')):
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        if board.hbm:
            np.save(folder / f'{i:04d}.npy', planes)
        else:
            planes.tofile(folder / f'{i:04d}.rgb')
