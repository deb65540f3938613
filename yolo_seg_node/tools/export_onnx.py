"""The export folder for onnxruntime."""

from .export_config import write_work_config
from .export_order import Order, Step, Written, run_step


def write_onnx(order: Order) -> Written:
    """Write the work config.

    :raises ToolError: it cannot be written.
    """
    write_work_config(order.folder / order.work_config, order.raw, {'model_file': order.onnx})
    return Written(
        {order.work_config: 'work config of the node'},
        [Step('If it shall be an int8 model: with a folder of pictures',
              f'yolo_seg quantize {order.onnx} --calibration DIR'),
         run_step(order, 'In this folder')])
