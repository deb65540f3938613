"""How cost grows with objects, classes, model size and picture size."""
from __future__ import annotations

import math
from collections.abc import Callable

from decode import IMAGE_WH, candidates_of
from preprocess import MODEL_WH
from scenes import make_heads, pipeline_of, stored
from table import Table
from timing import measure

from yolo_seg_node.frame import frame_from_buffer
from yolo_seg_node.model_input import NV12, InputFormat, Preprocessor
from yolo_seg_node.pipeline import NO_MASKS, SOURCE_MASKS

OBJECTS = (0, 10, 30, 100, 300)
CLASSES = (1, 4, 80, 365)
MODEL_SIZES = (320, 640, 1280)
PICTURES_WH = ((640, 480), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))


def _table(title: str, unit: str, expected: str, values: list, runs: dict[object, Callable],
           repetitions: int) -> Table:
    """One row per value, and the exponent of the growth between the last two."""
    times = measure(runs, repetitions)
    ms = [times.timing(value).cpu_ms for value in runs]
    table = Table(title, (unit, 'CPU ms', f'order from the row above (expected: {expected})'))
    for i, name in enumerate(runs):
        order = '' if i == 0 or not values[i - 1] else math.log(ms[i] / ms[i - 1]) / math.log(
            values[i] / values[i - 1])
        table.add(name, ms[i], order)
    return table


def tables(repetitions: int) -> list[Table]:
    """All scaling tables."""
    def decoding(masks: str, image_wh=IMAGE_WH, classes: int = 80, **scene) -> Callable:
        outputs = stored(make_heads(classes=classes, **scene), 'int')
        return candidates_of(pipeline_of(outputs, classes), image_wh)[masks]

    def preprocessing(width: int, height: int) -> Callable:
        frame = frame_from_buffer(bytes(width * height * 3 // 2), 'nv12', width, height, width)
        preprocessor = Preprocessor(InputFormat(NV12, MODEL_WH))
        return lambda: preprocessor.prepare(frame)
    areas = [w * h for w, h in PICTURES_WH]
    return [
        _table('Objects: decode and masks', 'objects', '<= 1', list(OBJECTS),
               {n: decoding(SOURCE_MASKS, objects=n) for n in OBJECTS}, repetitions),
        _table('Classes: boxes of 20 objects', 'classes', '<= 1', list(CLASSES),
               {n: decoding(NO_MASKS, classes=n, objects=20) for n in CLASSES}, repetitions),
        _table('Model size: boxes of 20 objects', 'model width', '<= 2', list(MODEL_SIZES),
               {n: decoding(NO_MASKS, size=n, objects=20) for n in MODEL_SIZES}, repetitions),
        _table('Picture size: masks of 20 objects', 'picture', '<= 1 in pixels', areas,
               {f'{w}x{h}': decoding(SOURCE_MASKS, image_wh=(w, h), objects=20)
                for w, h in PICTURES_WH}, repetitions),
        _table('Picture size: NV12 to 640x640', 'picture', '<= 1 in pixels', areas,
               {f'{w}x{h}': preprocessing(w, h) for w, h in PICTURES_WH}, repetitions),
    ]
