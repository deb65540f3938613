"""A stand-in for an accelerator: waits like one, without the processor, then gives fixed outputs.

It is the fake SDK of the tests, so that everything between camera and results is what runs on a
robot: adapters, threads or worker processes, decoding of the demo model's heads.
"""
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import onnx

ROOT = Path(__file__).parents[1]
DEMO_CONFIG = ROOT / 'config' / 'demo_float.json'
FAKES = ROOT / 'test' / 'fakes'
# Runtime -> folder of its SDK, and the first line and the suffix of its model files. The first lets
# go of the interpreter lock, so its workers are threads; the other's are processes.
BOARDS = {'hbm_runtime': ('hbm_runtime_sdk', 's100', '.hbm'),
          'hobot_dnn': ('hobot_dnn_sdk', 'x5', '.bin')}


def install() -> None:
    """Let this process, and those that it starts, import the stand-ins."""
    folders = [str(FAKES), *(str(FAKES / folder) for folder, *_ in BOARDS.values())]
    sys.path += folders
    os.environ['PYTHONPATH'] = os.pathsep.join(folders)


def write_config(folder: Path, runtime: str, wait_ms: int, task_num: int) -> Path:
    """Write a work config of the demo model on the stand-in; gives its path.

    :param wait_ms: how long an inference takes; there is one accelerator for all workers.
    """
    from fake_board import write_board_file
    _, march, suffix = BOARDS[runtime]
    model = write_board_file(folder / f'{runtime}{suffix}', march, hold_ms=wait_ms, one_core=True,
                              still=True)
    return _write_demo_config(runtime, model, task_num)


def _write_demo_config(runtime: str, model: Path, task_num: int) -> Path:
    """Write the demo model's work config for another model file beside that file."""
    path = model.with_suffix('.json')
    path.write_text(json.dumps({
        **json.loads(DEMO_CONFIG.read_text()), 'model_file': str(model), 'runtime': runtime,
        'task_num': task_num, 'cls_names_list': str(ROOT / 'config' / 'shapes.list')}))
    return path


def demo_config(folder: Path, task_num: int, width: int) -> Path:
    """The demo model itself, on the processor, for pictures of another width and height.

    It is made of convolutions, so only the sizes that the file states have to be changed.
    """
    model = onnx.load(ROOT / 'resource' / 'demo' / 'shapes_seg_float.onnx')
    (stated,) = model.graph.input
    sizes = [*stated.type.tensor_type.shape.dim[2:]]
    factor = width // sizes[0].dim_value
    for output in model.graph.output:
        sizes += output.type.tensor_type.shape.dim[1:3]
    for size in sizes:
        size.dim_value *= factor
    path = folder / f'demo_{width}.onnx'
    onnx.save(model, path)
    return _write_demo_config('onnxruntime', path, task_num)
