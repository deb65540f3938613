"""The node in its own process, measured from outside; needs ROS 2."""

import time
from typing import Any, Dict, List

import numpy as np

from ..ros.probe import NodeProbe
from .bag_pictures import BagPicture
from .benchmark_report import STAGES, spread_ms
from .benchmark_run import process_cpu_secs
from .errors import ToolError

# So long without a result, and the node has finished what it had begun.
DRAIN_SECS = 1.0


def measure_node(config: str, pictures: List[BagPicture], rate_hz: float, frames: int,
                 warm_up: int, cameras: int = 1) -> Dict[str, Any]:
    """Publish pictures at a steady rate and time their results.

    :param config: path of the work config.
    :param cameras: they take turns; rate and frames are those of all together.
    :raises NodeError: the node does not start or does not answer.
    :raises ToolError: no picture gave a result.
    """
    with NodeProbe(config, [fields_of(picture) for picture in pictures], cameras) as probe:
        probe.warm_up(warm_up)
        cpu_secs = process_cpu_secs(probe.pid)
        _publish_steadily(probe, rate_hz, frames)
        probe.wait_until_quiet(DRAIN_SECS)
        cpu_secs = process_cpu_secs(probe.pid) - cpu_secs
        counts, stages, ages_ns = probe.counts(), probe.stages_ms(), probe.ages_ns()
        results_per_second = probe.results_per_second()
    if not ages_ns:
        raise ToolError(f'None of {frames} pictures gave a result: {counts}.')
    return {
        'sent': frames, 'results': len(ages_ns),
        'lost_before_node': frames - counts['received'],
        'dropped': counts['dropped'], 'refused': counts['refused'],
        'results_per_second': round(results_per_second, 2),
        'cpu_ms_per_frame': round(1e3 * cpu_secs / max(1, len(ages_ns)), 3),
        'age_ms': spread_ms(ages_ns),
        'stages_ms': {stage: round(float(np.median(stages[stage])), 3)
                      for stage in STAGES if stage in stages},
    }


def fields_of(picture: BagPicture) -> Dict[str, Any]:
    """Fields of the message of a picture."""
    layout = {'format': 'jpeg'} if picture.raw is None else picture.raw._asdict()
    return {**layout, 'data': picture.data}


def _publish_steadily(probe: NodeProbe, rate_hz: float, frames: int) -> None:
    begin_secs = time.monotonic()
    for i in range(frames):
        time.sleep(max(0.0, begin_secs + i / rate_hz - time.monotonic()))
        probe.publish(i)
