"""The whole node over time: how soon it gives results, and how much memory it takes."""
from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import stand_in
from scenes import NMS_IOU, NUM_MASK, SCORE, make_heads, stored
from table import Table

from yolo_seg_node.ros.probe import NodeProbe
from yolo_seg_node.tools.benchmark_node import fields_of
from yolo_seg_node.tools.benchmark_sources import read_source

CROWD_SOURCE, CROWD_HZ, CROWD_SECS = 'nv12:1920x1080', 10, 6
LASTING_SOURCE, LASTING_HZ, LASTING_WAIT_MS = 'nv12:640x480', 150, 2
STEADY_AFTER = 500
OPEN_MODEL = """
import sys, time
from yolo_seg_node.config import find_work_config, load_work_config
from yolo_seg_node.pipeline import Pipeline
config = load_work_config(find_work_config(sys.argv[1]))
begin = time.monotonic()
Pipeline.open(config)
print(time.monotonic() - begin)
"""


def start_table(repetitions: int) -> Table:
    """Seconds from the start of the process to the first result."""
    runs = []
    for _ in range(repetitions):
        first = _first_result_secs(stand_in.DEMO_CONFIG)
        load = _load_secs(stand_in.DEMO_CONFIG)
        runs.append((first, load, first - load))
    table = Table('Start of the node, demo model, seconds', (
        'from the start of the process to the first result', 'loading the model alone',
        'difference'))
    table.add(*(statistics.median(column) for column in zip(*runs)))
    return table


def _first_result_secs(config: Path) -> float:
    with NodeProbe(str(config), _messages(CROWD_SOURCE)) as probe:
        probe.warm_up(1)
        return probe.first_result_secs


def _load_secs(config: Path) -> float:
    done = subprocess.run([sys.executable, '-c', OPEN_MODEL, str(config)], check=True,
                          capture_output=True, text=True, cwd=stand_in.ROOT)
    return float(done.stdout)


def _messages(source: str) -> list[dict]:
    return [fields_of(picture) for picture in read_source(source)]


def steady_table(pictures: int) -> Table:
    """Resident memory after many pictures against that after a few.

    Pages of the shared memory for pictures count from their first use on; there is an end to them.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = stand_in.write_config(Path(folder), 'hbm_runtime', LASTING_WAIT_MS, 2)
        with NodeProbe(str(config), _messages(LASTING_SOURCE)) as probe:
            probe.warm_up(10)
            published = _publish_until(probe, STEADY_AFTER, 0)
            early = _resident_mib(probe.pid)
            _publish_until(probe, pictures, published)
            late = _resident_mib(probe.pid)
    table = Table(f'Memory of the node over time, {LASTING_SOURCE}, MiB', (
        'memory', f'after {STEADY_AFTER} results', f'after {pictures} results', 'ratio'))
    for name, value in early.items():
        table.add(name, value, late[name], late[name] / value)
    return table


def _resident_mib(pid: int) -> dict[str, float]:
    resident = memory_mib(pid, 'VmRSS')
    return {'resident': resident,
            'without shared memory': resident - memory_mib(pid, 'RssShmem')}


def _publish_until(probe: NodeProbe, results: int, published: int) -> int:
    """Publish until so many results have come; gives how many pictures that took, all together."""
    begin_secs, first = time.monotonic(), published
    while len(probe.ages_ns()) < results:
        time.sleep(max(0.0, begin_secs + (published - first) / LASTING_HZ - time.monotonic()))
        probe.publish(published)
        published += 1
    return published


def crowd_table() -> Table:
    """Peak memory with many objects against that with none."""
    table = Table(f'Peak memory of the node, {CROWD_SOURCE}, instance mask, MiB', (
        'objects', 'peak', 'ratio to none'))
    with tempfile.TemporaryDirectory() as folder:
        none = None
        for objects in (0, 100):
            peak = _peak_mib(_recorded_config(Path(folder), objects))
            none = none or peak
            table.add(objects, peak, peak / none)
    return table


def _recorded_config(folder: Path, objects: int) -> Path:
    """A model whose outputs are always those of a scene with so many objects."""
    heads, path = folder / f'heads_{objects}.npz', folder / f'heads_{objects}.json'
    arrays = stored(make_heads(objects), 'float').arrays
    np.savez(heads, **{f'output_{i}': array for i, array in enumerate(arrays)})
    path.write_text(json.dumps({
        'model_file': str(heads), 'runtime': 'recorded', 'input_size': [640, 640],
        'dnn_Parser': 'yolov8_seg', 'class_num': 80, 'num_mask': NUM_MASK,
        'score_threshold': SCORE, 'nms_threshold': NMS_IOU, 'nms_top_k': 300}))
    return path


def _peak_mib(config: Path) -> float:
    with NodeProbe(str(config), _messages(CROWD_SOURCE)) as probe:
        probe.warm_up(10)
        for i in range(CROWD_HZ * CROWD_SECS):
            probe.publish(i)
            time.sleep(1 / CROWD_HZ)
        return memory_mib(probe.pid, 'VmHWM')


def memory_mib(pid: int, kind: str) -> float:
    """``VmRSS`` (now), ``RssShmem`` (shared part of it) or ``VmHWM`` (the most ever)."""
    status = Path(f'/proc/{pid}/status').read_text()
    return int(re.search(rf'^{kind}:\s+(\d+) kB$', status, re.MULTILINE).group(1)) / 1024
