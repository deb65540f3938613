"""Where the time of one picture goes, from the bytes of its message to those of its results."""
from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from scenes import make_heads, pipeline_of, stored
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from table import Table
from timing import WARM_UP
from transport import PICTURES

from yolo_seg_node.detections import Detections
from yolo_seg_node.drawing import class_colour
from yolo_seg_node.pipeline import StageTimes
from yolo_seg_node.ros.frames import frame_from_message
from yolo_seg_node.ros.messages import SpareDetections, detection_array, mask_image

SIZE = '1920x1080 nv12'
TITLE = f'One picture, {SIZE}, without inference and transport, wall ms'
OBJECTS = (0, 5, 20, 100)
STEPS = ('deserialise', 'receive', 'preprocess', 'decode', 'masks', 'array', 'instance map',
         'serialise')
LEFT, TOP, ROW, BAR, SCALE_WIDTH, WIDTH = 110, 72, 46, 26, 760, 1000
INK, PAPER = (40, 40, 40), 255


def table(repetitions: int) -> Table:
    """Medians of each step by number of objects."""
    result = Table(TITLE, ('objects', *STEPS, 'altogether'))
    for objects in OBJECTS:
        process = _process_of(objects)
        runs = [process() for _ in range(WARM_UP + repetitions)][WARM_UP:]
        ms = [statistics.median(run[step] for run in runs) / 1e6 for step in STEPS]
        result.add(objects, *ms, sum(ms))
    return result


def _process_of(objects: int) -> Callable[[], dict[str, int]]:
    """What the node does with a picture; gives nanoseconds by step."""
    pipeline, spares = pipeline_of(stored(make_heads(objects), 'int')), SpareDetections()
    received = serialize_message(PICTURES[SIZE].message())

    def process() -> dict[str, int]:
        times = StageTimes()
        message = times.run('deserialise', deserialize_message, received, Image)
        frame = times.run('receive', frame_from_message, message)
        result = pipeline.process(frame)
        times.ns.update(result.times.ns)
        _publish(times, message.header, result.detections, spares)
        return times.ns
    return process


def _publish(times: StageTimes, header: Header, detections: Detections,
             spares: SpareDetections) -> None:
    found = times.run('array', detection_array, header, detections, str, spares)
    drawn = times.run('instance map', lambda: mask_image(header, detections.instance_map()))
    times.run('serialise', lambda: [serialize_message(message) for message in (found, drawn)])
    spares.add(found)


def draw(profile: Table, path: Path) -> None:
    """Draw the table as one bar for each number of objects."""
    canvas = np.full((TOP + ROW * len(profile.rows), WIDTH, 3), PAPER, np.uint8)
    _write(canvas, TITLE, (10, 24))
    for i, step in enumerate(STEPS):
        x = 10 + 122 * i
        cv2.rectangle(canvas, (x, 40), (x + 12, 52), class_colour(i), cv2.FILLED)
        _write(canvas, step, (x + 17, 51))
    scale = SCALE_WIDTH / max(profile.column('altogether'))
    for i, row in enumerate(profile.rows):
        _bar(canvas, row, TOP + ROW * i, scale)
    if not cv2.imwrite(str(path), canvas):
        raise OSError(f'The picture of the profile cannot be written: {path}')


def _bar(canvas: np.ndarray, row: tuple, top: int, scale: float) -> None:
    objects, *parts, altogether = row
    _write(canvas, f'{objects} objects', (10, top + 18))
    x = float(LEFT)
    for i, ms in enumerate(parts):
        end = x + ms * scale
        cv2.rectangle(canvas, (round(x), top), (round(end), top + BAR), class_colour(i), cv2.FILLED)
        x = end
    _write(canvas, f'{altogether:.2f} ms', (round(x) + 8, top + 18))


def _write(canvas: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
