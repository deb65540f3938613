"""Detections -> ``ai_msgs``, field by field as ``dnn_node_example`` of TROS fills them.

Import this module only where ``ai_msgs`` is installed; it comes with TROS.
"""

from array import array
from typing import List, NamedTuple, Tuple

import cv2
import numpy as np
from ai_msgs.msg import Attribute, Capture, Perf, Roi, Target
from rclpy.time import Time
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from ..detections import Detections
from ..labels import label_of
from ..letterbox import Letterbox
from ..pipeline import StageTimes

try:
    from ai_msgs.msg import PerceptionInfo
except ImportError:  # boards whose ai_msgs is from before August 2024
    PerceptionInfo = None

SEGMENTATION_TYPE = 'parking_space'
LABEL_COUNT = 'segmentation_label_count'
# Prototypes have a quarter of the resolution of the model input.
PROTO_PIXELS = 4


class LabelGrid(NamedTuple):
    """Size of the label maps in messages, and what TROS writes into their ``step``."""

    size_wh: Tuple[int, int]
    step: int


def label_grid(letterbox: Letterbox) -> LabelGrid:
    """Grid with one label for each prototype cell that the picture covers.

    ``step`` is how many times the resized picture fits into the width of the model input.
    """
    content_w, content_h = letterbox.content_wh
    size_wh = (max(1, round(content_w / PROTO_PIXELS)), max(1, round(content_h / PROTO_PIXELS)))
    return LabelGrid(size_wh, letterbox.model_wh[0] // content_w)


def detection_targets(detections: Detections, names: Tuple[str, ...]) -> List[Target]:
    """One target with one roi for each detection, by falling score.

    The roi is the smallest rectangle of whole source-image pixels that holds the box, so it lies
    inside the picture and is never empty.
    """
    low = np.floor(detections.xyxy_image[:, :2]).astype(int)
    high = np.ceil(detections.xyxy_image[:, 2:]).astype(int)
    rows = np.hstack([low, high - low]).tolist()
    return [_target(label_of(names, class_id), score, *row) for class_id, score, row in zip(
        detections.class_id.tolist(), detections.score.tolist(), rows)]


def _target(name: str, score: float, x: int, y: int, width: int, height: int) -> Target:
    rect = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
    return Target(type=name, rois=[Roi(type=name, rect=rect, confidence=score)])


def segmentation_target(detections: Detections, grid: LabelGrid, class_num: int) -> Target:
    """The target that carries the class map; it stands last, and also where nothing was found.

    :param detections: with masks; labels are class id + 1, and 0 is the background.
    """
    count = Attribute(type=LABEL_COUNT, value=float(class_num))
    labels = _on_grid(detections.class_map(), detections, grid)
    return Target(type=SEGMENTATION_TYPE, attributes=[count], captures=[_capture(labels, grid)])


def instance_capture(detections: Detections, index: int, grid: LabelGrid) -> Capture:
    """A capture like that of the class map, with the whole mask of one detection alone."""
    masks = detections.masks
    crop, (x, y) = masks.crops[index], masks.origin_xy[index]
    labels = np.zeros(masks.size_wh[::-1], np.uint16)
    labels[y:y + crop.shape[0], x:x + crop.shape[1]][crop] = detections.class_id[index] + 1
    return _capture(_on_grid(labels, detections, grid), grid)


def _on_grid(labels: np.ndarray, detections: Detections, grid: LabelGrid) -> np.ndarray:
    """Labels at the resolution of the messages; those of the prototypes have it already."""
    if detections.masks.size_wh != detections.image_wh:
        return labels
    return cv2.resize(labels, grid.size_wh, interpolation=cv2.INTER_NEAREST_EXACT)


def _capture(labels: np.ndarray, grid: LabelGrid) -> Capture:
    """``features`` are the (h, w) labels row by row; ``img`` has their size and no pixels."""
    features = array('f')
    features.frombytes(memoryview(labels.astype(np.float32)).cast('B'))
    height, width = labels.shape
    return Capture(img=Image(height=height, width=width, step=grid.step), features=features)


def perfs(model_name: str, times: StageTimes, stamp_ns: int, now_ns: int) -> List[Perf]:
    """Durations under the names of TROS; the stages followed each other and ended just now.

    ``_predict_parse`` is the decoding of the boxes and ``_postprocess`` that of the masks;
    ``_pipeline`` is the time since the picture was taken.

    :param now_ns: time of the clock that the stamps of pictures are compared with.
    """
    stages = [('preprocess', 'preprocess'), ('predict_infer', 'infer'),
              ('predict_parse', 'decode'), ('postprocess', 'masks')]
    made, end_ns = [_perf(f'{model_name}_pipeline', stamp_ns, now_ns)], now_ns
    for name, stage in reversed(stages):
        start_ns = end_ns - times.ns.get(stage, 0)
        made.insert(0, _perf(f'{model_name}_{name}', start_ns, end_ns))
        end_ns = start_ns
    return made


def _perf(name: str, start_ns: int, end_ns: int) -> Perf:
    # A simulated clock may stand at zero while the stages take real time.
    start, end = (Time(nanoseconds=max(0, time_ns)).to_msg() for time_ns in (start_ns, end_ns))
    return Perf(type=name, stamp_start=start, stamp_end=end,
                time_ms_duration=(end_ns - start_ns) / 1e6)


def perception_info(stamp: Time, frame_id: str, size_wh: Tuple[int, int],
                    names: Tuple[str, ...]) -> 'PerceptionInfo':
    """Size of the pictures, in whose pixels the rois are, and class names; label k is name k - 1.

    :param stamp: the time of publishing.
    """
    return PerceptionInfo(header=Header(stamp=stamp.to_msg(), frame_id=frame_id), width=size_wh[0],
                          height=size_wh[1], class_names=list(names))
