"""The whole node through ROS 2: does it keep the accelerator busy, and how late are results?"""
from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import stand_in
from table import Table
from timing import measure

from yolo_seg_node.config import load_work_config
from yolo_seg_node.model_input import Preprocessor
from yolo_seg_node.pipeline import SOURCE_MASKS, Pipeline
from yolo_seg_node.tools import benchmark_run
from yolo_seg_node.tools.benchmark_node import measure_node
from yolo_seg_node.tools.benchmark_run import Measured
from yolo_seg_node.tools.benchmark_sources import read_source
from yolo_seg_node.workers import open_workers

SOURCE = 'nv12:1920x1080'
WORKERS = 2
# A larger segmentation model on an X5, and a nano one.
WAITS_MS = (30, 10)
# The first is that of the shipped model.
MODEL_WIDTHS = (320, 1280)
FASTER = 1.2
SLOW_HZ, CAMERAS_HZ, WARM_UP = 30, 24, 10
LIMIT_SECS = 10.0
INFERENCES = 60
CAMERAS = (1, 2, 4)


def rates_table(seconds: float, repetitions: int) -> Table:
    """Published rate against the bare runtime with pictures faster than the model."""
    table = Table(f'Rate of the node, {SOURCE}, task_num {WORKERS}, detections and instance mask', (
        'runtime', 'bare runtime, frames/s', 'published, results/s', 'published / bare',
        'CPU ms a picture in the node', 'lost before the node'))
    with tempfile.TemporaryDirectory() as folder:
        for name, config in _rate_configs(Path(folder)):
            table.add(name, *_rates(config, seconds, repetitions))
    return table


def _rate_configs(folder: Path) -> list[tuple[str, Path]]:
    configs = [(f'onnxruntime, demo model of {width}x{width} (on the same processor)',
                stand_in.demo_config(folder, WORKERS, width)) for width in MODEL_WIDTHS]
    for runtime, workers in (('hbm_runtime', 'threads'), ('hobot_dnn', 'processes')):
        for wait_ms in WAITS_MS:
            part = folder / f'{runtime}_{wait_ms}'
            part.mkdir()
            configs.append((f'stand-in of {runtime}, {wait_ms} ms, {workers}',
                            stand_in.write_config(part, runtime, wait_ms, WORKERS)))
    return configs


def check_ratio(seconds: float) -> float:
    """Published rate over bare rate for the slower stand-in with worker threads."""
    with tempfile.TemporaryDirectory() as folder:
        config = stand_in.write_config(Path(folder), 'hbm_runtime', WAITS_MS[0], WORKERS)
        return _rates(config, seconds, 1)[2]


def _rates(config: Path, seconds: float, repetitions: int) -> tuple[float, ...]:
    """The columns of ``rates_table``, medians."""
    runs = []
    for _ in range(repetitions):
        bare = bare_rate(config, seconds)
        rate_hz = FASTER * bare
        node = measure_node(str(config), read_source(SOURCE), rate_hz, round(rate_hz * seconds),
                            WARM_UP)
        runs.append((bare, node['results_per_second'], node['results_per_second'] / bare,
                     node['cpu_ms_per_frame'], node['lost_before_node']))
    return tuple(statistics.median(column) for column in zip(*runs))


def bare_rate(config: Path, seconds: float) -> float:
    """Inferences per second of the runtime alone, with as many workers as the node has."""
    with _bare_inference(config) as infer:
        def measured(_: int) -> Measured:
            infer()
            return Measured({}, 0)

        begin_secs = time.monotonic()
        infer()
        count = max(10, round(seconds / (time.monotonic() - begin_secs)))
        return count / benchmark_run.measure(measured, WORKERS, count, WARM_UP).elapsed_secs


@contextmanager
def _bare_inference(config: Path) -> Iterator[Callable[[], object]]:
    """An inference of the runtime alone, on a picture that was prepared before."""
    with closing(Pipeline.open(load_work_config(config))) as pipeline:
        arrays, _ = Preprocessor(pipeline.runtime.input_format).prepare(
            read_source(SOURCE)[0].frame())
        yield lambda: pipeline.runtime.infer(arrays)


def slow_table(seconds: float) -> Table:
    """Age and CPU time of everything but the inference, at the rate of a usual camera."""
    table = Table(f'Age of results, {SOURCE} at {SLOW_HZ} Hz, detections and instance mask', (
        'inference, ms', 'from publishing to the result, ms', 'more than the inference, ms',
        'CPU ms a picture in the node', 'of that in the stand-in', 'everything else'))
    with tempfile.TemporaryDirectory() as folder:
        config = stand_in.write_config(Path(folder), 'hbm_runtime', WAITS_MS[-1], 1)
        stand_in_ms = _inference_cpu_ms(config)
        node = measure_node(str(config), read_source(SOURCE), SLOW_HZ, round(SLOW_HZ * seconds),
                            WARM_UP)
    infer_ms, age_ms = node['stages_ms']['infer'], node['age_ms']['p50']
    cpu_ms = node['cpu_ms_per_frame']
    table.add(infer_ms, age_ms, age_ms - infer_ms, cpu_ms, stand_in_ms, cpu_ms - stand_in_ms)
    return table


def _inference_cpu_ms(config: Path) -> float:
    """CPU time of one inference by the stand-in itself: it converts a picture, copies outputs."""
    with _bare_inference(config) as infer:
        return measure({'inference': infer}, INFERENCES).timing('inference').cpu_ms


def cameras_table(seconds: float) -> Table:
    """Several cameras that share the workers; the pictures per second are the same in all rows."""
    table = Table(f'Cameras, {SOURCE}, {CAMERAS_HZ} pictures/s altogether', (
        'cameras', 'results', 'dropped', 'CPU ms a picture in the node (expected: the same)',
        'from publishing to the result, ms'))
    with tempfile.TemporaryDirectory() as folder:
        config = stand_in.write_config(Path(folder), 'hbm_runtime', WAITS_MS[-1], WORKERS)
        frames = round(CAMERAS_HZ * seconds)
        for cameras in CAMERAS:
            node = measure_node(str(config), read_source(SOURCE), CAMERAS_HZ, frames, WARM_UP,
                                cameras)
            table.add(cameras, f'{node["results"]} of {frames}', node['dropped'],
                      node['cpu_ms_per_frame'], node['age_ms']['p50'])
    return table


def workers_table(repetitions: int) -> Table:
    """What it costs that a worker does it, with an inference that takes no time."""
    table = Table(f'A worker, {SOURCE}, wall ms', (
        'worker', 'in the calling thread', 'in the worker', 'copy of the picture',
        'overhead beyond the copy'))
    for worker, runtime in (('thread', 'hbm_runtime'), ('process', 'hobot_dnn')):
        inside, outside, copy = _worker_ms(runtime, repetitions)
        if worker == 'thread':
            copy = 0.0  # it takes the picture where it is
        table.add(worker, inside, outside, copy, outside - inside - copy)
    return table


def _worker_ms(runtime: str, repetitions: int) -> list[float]:
    """Wall milliseconds of one picture here, in a worker as the node has it, and of a copy."""
    frame = read_source(SOURCE)[0].frame()
    with tempfile.TemporaryDirectory() as folder:
        config = load_work_config(stand_in.write_config(Path(folder), runtime, 0, 1))
        with closing(Pipeline.open(config)) as pipeline, \
                closing(open_workers(config, LIMIT_SECS)) as workers:
            candidates = {
                'here': lambda: pipeline.process(frame, SOURCE_MASKS),
                'worker': lambda: workers.process(frame, SOURCE_MASKS),
                'copy': lambda: [plane.copy() for plane in frame.planes]}
            times = measure(candidates, repetitions)
    return [times.timing(name).wall_ms for name in candidates]
