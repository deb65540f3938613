"""Published results of a recording, from a bag or from a JSON summary, frame by frame."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..detections import Detections, Masks
from ..letterbox import SizeWH
from .bag import Bag
from .bag_messages import DETECTIONS, INSTANCE_MASK, MSGTYPES, message_types
from .coco import Record, encode_crop
from .errors import ToolError, optional_module
from .rows import check_row, is_box, is_integer, is_number, is_run_lengths, is_text

SUMMARY_VERSION = 1
# COCO's compressed run lengths: 'size' [height, width] and 'counts', a text.
RunLengths = Dict[str, Any]


class FrameKey(NamedTuple):
    """Which picture: namespace of the camera, its stamp, and how often that stamp came before."""

    camera: str
    stamp_ns: int
    repeat: int


@dataclass(frozen=True)
class FrameResults:
    """Detections of one picture as they were published, by falling score.

    :ivar class_names: n texts.
    :ivar score: (n,) float64.
    :ivar xyxy_image: (n, 4) float64 in source-image pixels.
    :ivar masks: n masks, where higher scores cover lower ones; None without masks.
    """

    class_names: Tuple[str, ...]
    score: np.ndarray
    xyxy_image: np.ndarray
    masks: Optional[Tuple[RunLengths, ...]] = None

    def __len__(self) -> int:
        return len(self.class_names)


Results = Dict[FrameKey, FrameResults]


def read_results(path: Path) -> Tuple[Results, List[str]]:
    """Results and warnings from a bag or a summary (``.json``).

    :raises ToolError: it cannot be read or holds no results.
    """
    if path.suffix == '.json':
        return read_summary(path), []
    return _bag_results(path)


def _bag_results(path: Path) -> Tuple[Results, List[str]]:
    types = message_types()
    arrays: Dict[FrameKey, FrameResults] = {}
    maps: Dict[FrameKey, List[RunLengths]] = {}
    seen: Counter = Counter()
    with Bag(path) as bag:
        topics = _result_topics(bag)
        for message in bag.messages(topics):
            camera, _, output = message.topic.rpartition('/')
            kept, take = (arrays, _boxes) if output == DETECTIONS else (maps, _instance_masks)
            # rosbags raises its own error, struct.error, ValueError or UnicodeDecodeError.
            try:
                fields = types.deserialize_cdr(message.data, message.msgtype)
                found = take(fields)
            except Exception as error:
                raise ToolError(f'A message on {message.topic} of bag {path.name} cannot be read '
                                f'as results: {error}. Record the results again.') from error
            stamp = fields.header.stamp
            stamped = (camera, stamp.sec * 10**9 + stamp.nanosec)
            kept[FrameKey(*stamped, seen[(output, *stamped)])] = found
            seen[(output, *stamped)] += 1
        return {key: _with_masks(boxes, maps.get(key))
                for key, boxes in arrays.items()}, bag.warnings


def _result_topics(bag: Bag) -> List[str]:
    topics = [name for name, topic in bag.topics.items()
              for output in (DETECTIONS, INSTANCE_MASK)
              if name.rpartition('/')[2] == output and topic.msgtype == MSGTYPES[output]]
    if not any(topic.endswith(DETECTIONS) for topic in topics):
        raise ToolError(f'Bag {bag.path.name} has no results: no topic ".../{DETECTIONS}" of '
                        f'{MSGTYPES[DETECTIONS]} among {", ".join(bag.topics)}.')
    return topics


def _boxes(fields: Any) -> FrameResults:
    boxes = [detection.bbox for detection in fields.detections]
    centre = np.array([(b.center.position.x, b.center.position.y) for b in boxes]).reshape(-1, 2)
    half = np.array([(b.size_x, b.size_y) for b in boxes]).reshape(-1, 2) / 2
    best = [detection.results[0].hypothesis for detection in fields.detections]
    return FrameResults(
        tuple(h.class_id for h in best), np.array([h.score for h in best], float),
        np.hstack([centre - half, centre + half]))


def _with_masks(boxes: FrameResults, masks: Optional[List[RunLengths]]) -> FrameResults:
    if masks is None:
        return boxes
    # Detections that are wholly covered by others have no pixel in the map.
    empty = encode_crop(np.zeros((0, 0), bool), (0, 0), masks[-1]['size'][::-1])
    masks = (masks[:-1] + [empty] * len(boxes))[:len(boxes)]
    return replace(boxes, masks=tuple(masks))


def _instance_masks(image: Any) -> List[RunLengths]:
    """Mask of each instance of an ``instance_mask`` picture, and at the end an empty one."""
    dtype = np.dtype(np.uint16 if image.encoding == 'mono16' else np.uint8)
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder('>' if image.is_bigendian else '<')
    rows = image.data.reshape(image.height, image.step)
    instance_map = np.ascontiguousarray(rows[:, :image.width * dtype.itemsize]).view(dtype)
    size_wh = (image.width, image.height)
    crops = instance_crops(instance_map, int(instance_map.max(initial=0)) + 1)
    return [encode_crop(crop, origin, size_wh) for crop, origin in crops]


def instance_crops(instance_map: np.ndarray, count: int) -> List[Tuple[np.ndarray, SizeWH]]:
    """Crop (h_i, w_i) bool and its origin x, y for the values 1 ... ``count`` of a map.

    A value that is not in the map has an empty crop.
    """
    width = instance_map.shape[1]
    place = np.flatnonzero(instance_map)
    value = instance_map.ravel()[place]
    order = np.argsort(value, kind='stable')
    parts = np.split(place[order], np.searchsorted(value[order], np.arange(2, count + 1)))
    return [_crop(*np.divmod(part, width)) for part in parts]


def _crop(y: np.ndarray, x: np.ndarray) -> Tuple[np.ndarray, SizeWH]:
    if not len(x):
        return np.zeros((0, 0), bool), (0, 0)
    left, top = int(x.min()), int(y.min())
    crop = np.zeros((int(y.max()) - top + 1, int(x.max()) - left + 1), bool)
    crop[y - top, x - left] = True
    return crop, (left, top)


def results_of_records(records: Sequence[Record], names: Mapping[int, str]) -> FrameResults:
    """COCO result records of one picture as results, by falling score.

    :param names: category id -> name.
    """
    rows = sorted(records, key=lambda record: -record['score'])
    xywh = np.array([row['bbox'] for row in rows], float).reshape(-1, 4)
    masks = None
    if rows and all('segmentation' in row for row in rows):
        masks = tuple(row['segmentation'] for row in rows)
    return FrameResults(
        tuple(names.get(row['category_id'], str(row['category_id'])) for row in rows),
        np.array([row['score'] for row in rows], float),
        np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]), masks)


def to_detections(results: FrameResults, image_wh: SizeWH, names: Sequence[str]) -> Detections:
    """The same as a value that can be drawn.

    :param names: class names in the order of the class ids; unknown ones get an id after them.
    """
    known = list(dict.fromkeys([*names, *results.class_names]))
    class_id = np.array([known.index(name) for name in results.class_names], np.int32)
    masks = None if results.masks is None else _masks(results.masks, image_wh)
    return Detections(image_wh, results.xyxy_image.astype(np.float32),
                      results.score.astype(np.float32), class_id, masks)


def _masks(masks: Sequence[RunLengths], image_wh: SizeWH) -> Masks:
    coco_mask = optional_module('pycocotools.mask', 'evaluate')
    size_wh = tuple(masks[0]['size'][::-1]) if masks else image_wh
    crops = [_crop(*np.nonzero(coco_mask.decode(mask))) for mask in masks]
    origins = np.array([origin for _, origin in crops], np.int32).reshape(-1, 2)
    return Masks(tuple(crop for crop, _ in crops), origins, size_wh)


def write_summary(path: Path, results: Results) -> None:
    """Write results as JSON, one frame a line; small enough to be kept with the code.

    :raises ToolError: the file cannot be written.
    """
    rows = ',\n'.join(json.dumps({**key._asdict(), 'detections': _rows(frame)})
                      for key, frame in results.items())
    try:
        path.write_text(f'{{"version": {SUMMARY_VERSION}, "frames": [\n{rows}\n]}}\n',
                        encoding='utf-8')
    except OSError as error:
        raise ToolError(f'The summary cannot be written: {error}') from None


def _rows(frame: FrameResults) -> List[Dict[str, Any]]:
    rows = [{'class_name': name, 'score': score, 'xyxy_image': box} for name, score, box in
            zip(frame.class_names, frame.score.tolist(), frame.xyxy_image.tolist())]
    for row, mask in zip(rows, frame.masks or ()):
        row['mask'] = mask
    return rows


def read_summary(path: Path) -> Results:
    """What ``write_summary`` wrote.

    :raises ToolError: the file cannot be read or is something else.
    """
    try:
        summary = json.loads(path.read_text(encoding='utf-8'))
        if summary['version'] != SUMMARY_VERSION:
            raise ValueError(f'its version is {summary["version"]!r}, not {SUMMARY_VERSION}')
        return dict(map(_from_frame, summary['frames']))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolError(f'{path} is no summary of a replay: {error}') from None


def _from_frame(frame: Dict[str, Any]) -> Tuple[FrameKey, FrameResults]:
    check_row(frame, {'camera': is_text, 'repeat': is_integer})
    if not isinstance(frame['stamp_ns'], int):
        raise ValueError('a "stamp_ns" is no whole number')
    for row in frame['detections']:
        check_row(row, {'class_name': is_text, 'score': is_number, 'xyxy_image': is_box})
        if 'mask' in row:
            check_row(row, {'mask': is_run_lengths})
    return (FrameKey(frame['camera'], frame['stamp_ns'], frame['repeat']),
            _from_rows(frame['detections']))


def _from_rows(rows: List[Dict[str, Any]]) -> FrameResults:
    masks = tuple(row['mask'] for row in rows) if all('mask' in row for row in rows) else None
    return FrameResults(
        tuple(row['class_name'] for row in rows), np.array([row['score'] for row in rows], float),
        np.array([row['xyxy_image'] for row in rows], float).reshape(-1, 4), masks)
