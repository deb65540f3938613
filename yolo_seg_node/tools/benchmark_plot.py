"""The stages of a benchmark as a picture: one bar for each number of workers."""

from pathlib import Path
from typing import Any, Dict, List, Tuple

import cv2
import numpy as np

from ..drawing import class_colour
from .benchmark_report import STAGES
from .side_by_side import write_picture

WIDTH, LEFT, ROW, TOP = 900, 130, 56, 70
BAR_HEIGHT, RIGHT_MARGIN = 30, 190
INK, PAPER = (40, 40, 40), 255


def write_plot(path: Path, values: Dict[str, Any]) -> None:
    """Draw the average of each stage, with frames per second and the 99th percentile beside it.

    :param values: as ``yolo_seg benchmark --json`` prints them.
    :raises ToolError: the picture cannot be written.
    """
    runs = values['runs']
    canvas = np.full((TOP + ROW * len(runs) + ROW, WIDTH, 3), PAPER, np.uint8)
    _write(canvas, f'{values["config"]} on {values["source"]}, {values["machine"]["board"]}',
           (10, 24))
    _legend(canvas, [stage for stage in STAGES if any(stage in r['stages_ms'] for r in runs)])
    scale = (WIDTH - LEFT - RIGHT_MARGIN) / max(_total_ms(run) for run in runs)
    for i, run in enumerate(runs):
        _bar(canvas, run, TOP + ROW * i, scale)
    write_picture(path, canvas)


def _total_ms(run: Dict[str, Any]) -> float:
    return sum(spread['avg'] for spread in run['stages_ms'].values())


def _bar(canvas: np.ndarray, run: Dict[str, Any], top: int, scale: float) -> None:
    _write(canvas, f'{run["workers"]} worker(s)', (10, top + 21))
    x = float(LEFT)
    for stage, spread in run['stages_ms'].items():
        end = x + spread['avg'] * scale
        cv2.rectangle(canvas, (round(x), top), (round(end), top + BAR_HEIGHT), _colour(stage),
                      cv2.FILLED)
        x = end
    latency = run['latency_ms']
    _write(canvas, f'{latency["avg"]:.1f} ms, p99 {latency["p99"]:.1f}', (round(x) + 8, top + 13))
    _write(canvas, f'{run["frames_per_second"]:.1f} frames/s', (round(x) + 8, top + 29))


def _legend(canvas: np.ndarray, stages: List[str]) -> None:
    for i, stage in enumerate(stages):
        x = LEFT + 105 * i
        cv2.rectangle(canvas, (x, 38), (x + 12, 50), _colour(stage), cv2.FILLED)
        _write(canvas, stage, (x + 18, 49))


def _colour(stage: str) -> Tuple[int, int, int]:
    return class_colour(STAGES.index(stage))


def _write(canvas: np.ndarray, text: str, place: Tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
