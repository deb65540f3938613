"""The export folder for a D-Robotics board."""

from typing import List

from . import rdk_files
from .export_config import write_text, write_work_config
from .export_order import Order, Step, Written, calibration_note, run_step
from .rdk_files import CALIBRATION, Board


def write_rdk(order: Order, board: Board) -> Written:
    """Write yaml, calibration set and work config.

    :raises ToolError: a file cannot be written, or the log of hb_model_modifier does not fit.
    """
    removed = order.raw.outputs_of(order.integer)
    compiled = rdk_files.compiled_name(order.stem, board, order.raw, order.input_type)
    ptq = rdk_files.ptq_config(order.stem, board, order.raw, order.input_type, removed)
    steps = _steps(order, board, compiled, removed)
    write_text(order.folder / f'{compiled}.yaml', rdk_files.ptq_yaml(ptq, board))
    if order.frames:
        rdk_files.write_calibration(order.folder / CALIBRATION, order.frames, order.raw, board,
                                    order.input_type)
    model = rdk_files.board_model(compiled, board, removed)
    write_work_config(order.folder / order.work_config, order.raw,
                      {'model_file': model, 'fallback_model_file': order.onnx})
    return Written({f'{compiled}.yaml': f'configuration of {board.compiler}',
                    f'{CALIBRATION}/': calibration_note(order),
                    order.work_config: f'work config of the node; it expects {model} beside it'},
                   steps)


def _steps(order: Order, board: Board, compiled: str, removed: List[str]) -> List[Step]:
    compile_step = Step(f'In the OpenExplorer container of the {board.name}, in this folder',
                        rdk_files.compile_command(board, f'{compiled}.yaml'))
    run = run_step(order, f'On the board, with {rdk_files.board_model(compiled, board, removed)} '
                          f'beside {order.work_config}')
    if board.hbm:
        look = f'hrt_model_exec model_info --model_file {compiled}.hbm'
        return [compile_step, Step(f'On the board: the outputs {", ".join(removed)} must be '
                                   'integers with scales', look), run]
    if not removed:
        return [compile_step, run]
    nodes = (rdk_files.dequantize_nodes_from_log(order.modifier_log, removed)
             if order.modifier_log else rdk_files.dequantize_nodes(order.raw, removed))
    modify = Step(f'In the container, in {compiled}/', rdk_files.modifier_command(compiled, nodes),
                  f'Where a node is not found, run `hb_model_modifier {compiled}.bin` there and\n'
                  'export again with --modifier-log hb_model_modifier.log.')
    return [compile_step, modify, run]
