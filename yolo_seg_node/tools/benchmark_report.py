"""The figures of a benchmark as JSON values, and as tables for people."""

import os
import platform
from pathlib import Path
from typing import Any, Dict, List, Sequence

import cv2
import numpy as np

from .benchmark_run import Run

COLUMNS = ('avg', 'min', 'p50', 'p90', 'p99', 'max')
# In the order in which a frame goes through them; the node has all of them.
STAGES = ('receive', 'preprocess', 'infer', 'decode', 'masks', 'messages', 'publish')


def machine() -> Dict[str, Any]:
    """What the figures hold for."""
    return {'board': _board(), 'cpus': len(os.sched_getaffinity(0)),
            'architecture': platform.machine(), 'python': platform.python_version(),
            'numpy': np.__version__, 'opencv': cv2.__version__}


def _board() -> str:
    """Name of a board, or of the processor of a PC."""
    board = Path('/proc/device-tree/model')
    if board.is_file():
        return board.read_text(encoding='utf-8', errors='replace').strip('\0\n')
    lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else 'unknown'


def run_values(workers: int, run: Run) -> Dict[str, Any]:
    """Figures of one number of workers."""
    count = len(run.frames)
    stages = {stage: [frame.stages_ns[stage] for frame in run.frames if stage in frame.stages_ns]
              for stage in STAGES}
    return {
        'workers': workers,
        'frames_per_second': round(count / run.elapsed_secs, 2),
        'cpu_ms_per_frame': round(1e3 * run.cpu_secs / count, 3),
        'detections_per_frame': round(sum(f.detections for f in run.frames) / count, 2),
        'latency_ms': spread_ms(run.latency_ns),
        'warm_up_ms': {'first': round(run.warm_up_ns[0] / 1e6, 3), **spread_ms(run.warm_up_ns)},
        'stages_ms': {stage: spread_ms(ns) for stage, ns in stages.items() if ns},
    }


def spread_ms(durations_ns: Sequence[int]) -> Dict[str, float]:
    """Average, least, greatest and percentiles in milliseconds."""
    ms = np.asarray(durations_ns, float) / 1e6
    values = (ms.mean(), ms.min(), *np.percentile(ms, (50, 90, 99)), ms.max())
    return {name: round(float(value), 3) for name, value in zip(COLUMNS, values)}


def table(values: Dict[str, Any]) -> List[str]:
    """Latency and throughput by number of workers, then the stages."""
    lines = [*_head(values), f'runtime: {values["runtime"]}', '',
             f'{"workers":>10s} {"frames/s":>9s} {"CPU ms":>8s} {"objects":>8s}'
             + _titles() + f' {"first":>8s}  ms']
    for run in values['runs']:
        lines.append(f'{run["workers"]:10d} {run["frames_per_second"]:9.1f} '
                     f'{run["cpu_ms_per_frame"]:8.2f} {run["detections_per_frame"]:8.1f}'
                     + _numbers(run['latency_ms']) + f' {run["warm_up_ms"]["first"]:8.2f}')
    for run in values['runs']:
        lines += ['', f'stages with {run["workers"]} worker(s)'.ljust(38) + _titles() + '  ms']
        lines += [f'{stage:>38s}{_numbers(spread)}' for stage, spread in run['stages_ms'].items()]
    return lines


def _head(values: Dict[str, Any]) -> List[str]:
    about = values['machine']
    return [f'{about["board"]}, {about["cpus"]} CPUs, {about["architecture"]}, Python '
            f'{about["python"]}, numpy {about["numpy"]}, OpenCV {about["opencv"]}',
            f'{values["config"]} on {values["source"]}: {values["frames"]} frames after '
            f'{values["warm_up_frames"]} to warm up']


def _titles() -> str:
    return ''.join(f' {name:>8s}' for name in COLUMNS)


def _numbers(spread: Dict[str, float]) -> str:
    return ''.join(f' {spread[name]:8.2f}' for name in COLUMNS)


def node_table(values: Dict[str, Any]) -> List[str]:
    """What went through the node."""
    node = values['node']
    return [
        *_head(values), '',
        f'{node["sent"]} pictures at {values["rate_hz"]} Hz, {node["results"]} results: '
        f'{node["lost_before_node"]} lost on the way to the node, {node["dropped"]} dropped for a '
        f'newer one, {node["refused"]} refused',
        f'results per second {node["results_per_second"]:.1f}, CPU of the node '
        f'{node["cpu_ms_per_frame"]:.2f} ms a picture', '',
        'from publishing to the result'.ljust(38) + _titles() + '  ms',
        ' ' * 38 + _numbers(node['age_ms']), '',
        'stages in the node, medians'.ljust(38) + '  ms',
        *(f'{stage:>38s} {ms:8.2f}' for stage, ms in node['stages_ms'].items())]
