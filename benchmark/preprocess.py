"""Camera pictures -> model input: the package against the ways that samples and libraries take."""
from __future__ import annotations

import cv2
import numpy as np
from table import Table
from timing import measure

from yolo_seg_node.frame import frame_from_bgr, frame_from_buffer
from yolo_seg_node.letterbox import make_letterbox
from yolo_seg_node.model_input import NCHW, NV12, InputFormat, Preprocessor

MODEL_WH = (640, 640)
SIZES_WH = ((1920, 1080), (1280, 720), (640, 480))
PAD = (114, 114, 114)


def _letterboxed(bgr: np.ndarray) -> np.ndarray:
    letterbox = make_letterbox((bgr.shape[1], bgr.shape[0]), MODEL_WH, align=2)
    (x, y), (w, h) = letterbox.pad_xy, letterbox.content_wh
    small = cv2.resize(bgr, (w, h))
    return cv2.copyMakeBorder(small, y, MODEL_WH[1] - h - y, x, MODEL_WH[0] - w - x,
                              cv2.BORDER_CONSTANT, value=PAD)


def through_bgr(nv12: np.ndarray) -> np.ndarray:
    """NV12 -> BGR -> letterbox -> I420 -> NV12."""
    i420 = cv2.cvtColor(_letterboxed(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12)),
                        cv2.COLOR_BGR2YUV_I420).reshape(-1)
    area = MODEL_WH[0] * MODEL_WH[1]
    out = np.empty(area * 3 // 2, np.uint8)
    out[:area] = i420[:area]
    out[area::2], out[area + 1::2] = i420[area:area * 5 // 4], i420[area * 5 // 4:]
    return out


def blob(bgr: np.ndarray) -> np.ndarray:
    """Letterbox and OpenCV's own conversion to a float NCHW RGB array."""
    return cv2.dnn.blobFromImage(_letterboxed(bgr), 1 / 255, swapRB=True)


def table(repetitions: int) -> Table:
    """CPU time per picture size."""
    result = Table('Pre-processing to 640x640', (
        'picture', 'NV12 by planes, CPU ms', 'through BGR', 'through BGR / by planes',
        'bgr8 to NCHW float32, CPU ms', 'blobFromImage', 'blobFromImage / ours'))
    for width, height in SIZES_WH:
        nv12 = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, width), np.uint8)
        bgr = cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12)
        to_nv12, to_nchw = (Preprocessor(InputFormat(kind, MODEL_WH)) for kind in (NV12, NCHW))
        frame = frame_from_buffer(nv12, 'nv12', width, height, width)
        times = measure({
            'planes': lambda: to_nv12.prepare(frame), 'detour': lambda: through_bgr(nv12),
            'nchw': lambda: to_nchw.prepare(frame_from_bgr(bgr)), 'blob': lambda: blob(bgr),
        }, repetitions)
        ms = {name: times.timing(name).cpu_ms for name in ('planes', 'detour', 'nchw', 'blob')}
        result.add(f'{width}x{height}', ms['planes'], ms['detour'],
                   times.ratio('detour', 'planes'), ms['nchw'], ms['blob'],
                   times.ratio('blob', 'nchw'))
    return result
