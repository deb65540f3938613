"""Prints and draws what the demo received."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from collector import FrameMessages

# in the order in which a picture passes them
STAGES = ('receive', 'preprocess', 'infer', 'decode', 'masks', 'messages', 'publish')
HEADER = f'{"frame":>5} {"stamp":>15}  {"class":<9} {"score":>5}  {"box x1 y1 x2 y2":<27} {"mask px":>7}'


def print_table(frames: dict[int, FrameMessages], truth: dict[int, dict]) -> None:
    """Every detection of every picture, and how many of the true objects were among them."""
    print(f'\n{HEADER}')
    for number, (stamp_ns, frame) in enumerate(sorted(frames.items()), 1):
        areas = _mask_areas(frame)
        for k, detection in enumerate(frame.detections.detections, 1):
            print(_row(number, stamp_ns, detection, areas[k] if k < len(areas) else 0))
    wanted = [(ns, entry) for ns in frames for entry in truth.get(ns, {}).get('objects', [])]
    found = sum(_is_found(frames[ns], entry) for ns, entry in wanted)
    print(f'\n{len(frames)} of {len(truth)} pictures processed; {found} of {len(wanted)} objects '
          'found (same class, box IoU >= 0.8)')


def _row(number: int, stamp_ns: int, detection: object, area: int) -> str:
    hypothesis = detection.results[0].hypothesis
    box = ' '.join(f'{value:6.1f}' for value in _xyxy(detection))
    return (f'{number:>5} {stamp_ns / 1e9:>15.3f}  {hypothesis.class_id:<9} '
            f'{hypothesis.score:>5.2f}  {box} {area:>7}')


def _xyxy(detection: object) -> tuple[float, float, float, float]:
    box = detection.bbox
    x, y = box.center.position.x, box.center.position.y
    return (x - box.size_x / 2, y - box.size_y / 2, x + box.size_x / 2, y + box.size_y / 2)


def _mask_areas(frame: FrameMessages) -> np.ndarray:
    """Pixels per value of the instance mask; index k is detection k, counted from 1."""
    if frame.instance_mask is None:
        return np.zeros(0, np.int64)
    return np.bincount(np.frombuffer(frame.instance_mask.data, np.uint8))


def _is_found(frame: FrameMessages, entry: dict) -> bool:
    return any(d.results[0].hypothesis.class_id == entry['class_name']
               and _iou(_xyxy(d), entry['xyxy']) >= 0.8 for d in frame.detections.detections)


def _iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)


def save_picture(frames: dict[int, FrameMessages], path: Path) -> Path:
    """Write the overlay of the picture in the middle."""
    drawn = [frame.overlay for _, frame in sorted(frames.items()) if frame.overlay is not None]
    overlay = drawn[len(drawn) // 2]
    pixels = np.frombuffer(overlay.data, np.uint8).reshape(overlay.height, overlay.width, 3)
    cv2.imwrite(str(path), pixels)
    return path


def print_stages(stage_times: dict[str, str]) -> None:
    """One line: the median time of each stage, as the node's diagnostics give it."""
    stages = ', '.join(f'{stage} {stage_times[stage + "_ms"]}' for stage in STAGES
                       if stage + '_ms' in stage_times)
    print(f'stage times (median, ms): {stages}')
