"""Raw outputs -> detections with instance masks: the package against the plain way."""
from __future__ import annotations

from functools import partial

import numpy as np
import plain
from other_heads import OTHER_HEADS
from scenes import crowd, make_heads, pipeline_of, stored
from table import Table
from timing import Measurement, measure

from yolo_seg_node.letterbox import SizeWH, make_letterbox
from yolo_seg_node.pipeline import NO_MASKS, PROTO_MASKS, SOURCE_MASKS, Pipeline, StageTimes

IMAGE_WH = (1280, 720)
OBJECTS = (0, 5, 20, 100)


def candidates_of(pipeline: Pipeline, image_wh: SizeWH = IMAGE_WH) -> dict:
    """The package's decoding of its runtime's outputs, with each kind of masks."""
    letterbox = make_letterbox(image_wh, pipeline.runtime.input_format.size_wh, align=2)
    outputs = pipeline.runtime.infer([])

    def decode(masks: str) -> object:
        return pipeline.decode(outputs, letterbox, masks, pipeline.settings, StageTimes())
    return {kind: partial(decode, kind) for kind in (SOURCE_MASKS, PROTO_MASKS, NO_MASKS)}


def measured(objects: int, repetitions: int) -> tuple[Measurement, Measurement, dict]:
    """Times of the package alone and beside the plain way, and the package's candidates."""
    outputs = stored(make_heads(objects), 'int')
    letterbox = make_letterbox(IMAGE_WH, outputs.input_format.size_wh, align=2)
    ours = candidates_of(pipeline_of(outputs))
    everything = {**ours, 'plain': partial(plain.detect, outputs, letterbox, True),
                  'plain boxes': partial(plain.detect, outputs, letterbox, False)}
    return measure(ours, repetitions), measure(everything, repetitions), ours


def objects_table(repetitions: int) -> Table:
    """Cost against the number of objects, and how much the plain way takes."""
    table = Table('Decode and masks', (
        'objects', 'kept', 'masks at source, CPU ms', 'at prototype size', 'boxes only',
        'plain way', 'masks at source beside it', 'plain / source', 'plain / boxes only'))
    for objects in OBJECTS:
        alone, beside, ours = measured(objects, repetitions)
        table.add(objects, len(ours[NO_MASKS]().detections),
                  *(alone.timing(kind).cpu_ms for kind in ours),
                  beside.timing('plain').cpu_ms, beside.timing(SOURCE_MASKS).cpu_ms,
                  beside.ratio('plain', SOURCE_MASKS), beside.ratio('plain boxes', NO_MASKS))
    return table


def forms_table(repetitions: int) -> Table:
    """Other dtypes, layouts and head families with 20 objects, beside the integer heads."""
    table = Table('Other heads, 20 objects', ('heads', 'CPU ms', 'ratio to int32/int16'))
    heads = make_heads(20)
    runs = {form: candidates_of(pipeline_of(stored(heads, form)))[SOURCE_MASKS]
            for form in ('int', 'float', 'nchw', 'fp16')}
    runs['int, boxes only'] = candidates_of(pipeline_of(stored(heads, 'int')))[NO_MASKS]
    runs.update({name: candidates_of(make())[NO_MASKS] for name, make in OTHER_HEADS.items()})
    times = measure(runs, repetitions)
    for name in runs:
        base = 'int, boxes only' if name in OTHER_HEADS or 'boxes' in name else 'int'
        table.add(name, times.timing(name).cpu_ms, times.ratio(name, base))
    return table


def crowd_table(repetitions: int) -> Table:
    """Every one of the 8400 cells above the threshold, against a normal picture."""
    table = Table('8400 cells above the threshold', ('scene', 'CPU ms', 'ratio to 20 objects'))
    crowded = make_heads(20)
    crowd(crowded)
    normal = candidates_of(pipeline_of(stored(make_heads(20), 'int')))
    worst = candidates_of(pipeline_of(stored(crowded, 'int')))
    times = measure({'20 objects': normal[SOURCE_MASKS], 'all cells': worst[SOURCE_MASKS]},
                    max(5, repetitions // 4))
    for name in ('20 objects', 'all cells'):
        table.add(name, times.timing(name).cpu_ms, times.ratio(name, '20 objects'))
    return table


def agreement(objects: int) -> float:
    """Smallest mask IoU between package and plain way; they must do the same work."""
    outputs = stored(make_heads(objects), 'int')
    letterbox = make_letterbox(IMAGE_WH, outputs.input_format.size_wh, align=2)
    detections = candidates_of(pipeline_of(outputs))[SOURCE_MASKS]().detections
    xyxy, masks = plain.detect(outputs, letterbox, True)
    if len(xyxy) != len(detections) or not np.allclose(xyxy, detections.xyxy_image, atol=0.01):
        return 0.0
    return min((_iou(detections, i, mask) for i, mask in enumerate(masks)), default=1.0)


def _iou(detections: object, index: int, mask: np.ndarray) -> float:
    found, (x, y) = detections.masks.crops[index], detections.masks.origin_xy[index]
    common = np.count_nonzero(found & mask[y:y + found.shape[0], x:x + found.shape[1]])
    return common / max(np.count_nonzero(found) + np.count_nonzero(mask) - common, 1)
