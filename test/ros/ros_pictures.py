"""The scene of the sample bag in every encoding, and its ground truth."""

import json
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Tuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from rosbags.highlevel import AnyReader

from yolo_seg_node.paths import share_dir

FRAME_ID = 'camera_optical_frame'
DEMO = share_dir() / 'resource' / 'demo'


class Thing(NamedTuple):
    """One object of the scene."""

    class_name: str
    xyxy: Tuple[int, int, int, int]
    mask: np.ndarray


@lru_cache(maxsize=None)
def scene() -> List[Tuple[np.ndarray, List[Thing]]]:
    """The bgr8 pictures of the sample bag (h, w, 3) and what is in them."""
    truth = json.loads((DEMO / 'sample_truth.json').read_text())['frames']
    things = {frame['stamp_ns']: [
        Thing(thing['class_name'], thing['xyxy'], coco_mask.decode(thing['mask']).astype(bool))
        for thing in frame['objects']] for frame in truth}
    with AnyReader([DEMO / 'sample_bag']) as bag:
        connections = [c for c in bag.connections if c.topic == '/camera_bgr/image_raw']
        messages = [bag.deserialize(raw, c.msgtype) for c, _, raw in bag.messages(connections)]
    return [(m.data.reshape(m.height, m.width, 3),
             things[m.header.stamp.sec * 10**9 + m.header.stamp.nanosec]) for m in messages]


def picture(bgr: np.ndarray, encoding: str = 'bgr8', padding: int = 0) -> Dict[str, Any]:
    """Fields of an Image; every row ends with ``padding`` bytes that are no pixels."""
    rows = _rows(bgr, encoding)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    return {'encoding': encoding, 'width': bgr.shape[1], 'height': bgr.shape[0],
            'step': padded.shape[1], 'data': padded, 'frame_id': FRAME_ID}


def compressed(bgr: np.ndarray, suffix: str = 'jpeg') -> Dict[str, Any]:
    """Fields of a CompressedImage."""
    return {'format': suffix, 'data': cv2.imencode(f'.{suffix}', bgr)[1], 'frame_id': FRAME_ID}


def _rows(bgr: np.ndarray, encoding: str) -> np.ndarray:
    """(rows, bytes) uint8 of a picture in an encoding."""
    height = bgr.shape[0]
    if encoding in ('nv12', 'nv21'):
        return _semi_planar(bgr, encoding)
    if encoding.startswith('bayer'):
        return _mosaic(bgr, encoding[len('bayer_'):-1])
    if encoding in ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv'):
        return _packed_422(bgr, luma_first=encoding in ('yuv422_yuy2', 'yuyv'))
    code = {'bgr8': None, '8UC3': None, 'rgb8': cv2.COLOR_BGR2RGB, 'bgra8': cv2.COLOR_BGR2BGRA,
            'rgba8': cv2.COLOR_BGR2RGBA, 'mono8': cv2.COLOR_BGR2GRAY}[encoding]
    pixels = bgr if code is None else cv2.cvtColor(bgr, code)
    return pixels.reshape(height, -1)


def _planes(bgr: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y (h, w), U and V (h / 2, w / 2)."""
    height, width = bgr.shape[:2]
    planar = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    u, v = planar[height:].reshape(2, height // 2, width // 2)
    return planar[:height], u, v


def _semi_planar(bgr: np.ndarray, encoding: str) -> np.ndarray:
    y, u, v = _planes(bgr)
    chroma = np.stack([u, v] if encoding == 'nv12' else [v, u], axis=2)
    return np.vstack([y, chroma.reshape(y.shape[0] // 2, -1)])


def _packed_422(bgr: np.ndarray, luma_first: bool) -> np.ndarray:
    y, u, v = _planes(bgr)
    chroma = np.repeat(np.stack([u, v], axis=2).reshape(u.shape[0], -1), 2, axis=0)
    pair = [y, chroma] if luma_first else [chroma, y]
    return np.stack(pair, axis=2).reshape(y.shape[0], -1)


def _mosaic(bgr: np.ndarray, pattern: str) -> np.ndarray:
    """One colour of each pixel, the pattern named by the first two rows' first two pixels."""
    mosaic = np.empty(bgr.shape[:2], np.uint8)
    for i, colour in enumerate(pattern):
        row, column = divmod(i, 2)
        mosaic[row::2, column::2] = bgr[row::2, column::2, 'bgr'.index(colour)]
    return mosaic
