"""A stand-in for an accelerator: waits like one, without the processor, then gives fixed outputs.

It is the fake SDK of the tests, so that everything between camera and results is what runs on a
robot: adapters, threads or worker processes, decoding of the demo model's heads.
"""
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
    return write_demo_config(folder, runtime, model, task_num)


def write_demo_config(folder: Path, runtime: str, model: Path, task_num: int) -> Path:
    """Write the demo model's work config for another model file, runtime or number of workers."""
    shipped = json.loads((ROOT / 'config' / 'demo_float.json').read_text())
    path = folder / f'{runtime}_{task_num}.json'
    path.write_text(json.dumps({
        **shipped, 'model_file': str(model), 'runtime': runtime, 'task_num': task_num,
        'cls_names_list': str(ROOT / 'config' / 'shapes.list')}))
    return path


def demo_config(folder: Path, task_num: int) -> Path:
    """The demo model itself, on the processor."""
    model = ROOT / 'resource' / 'demo' / 'shapes_seg_float.onnx'
    return write_demo_config(folder, 'onnxruntime', model, task_num)
