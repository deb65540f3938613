"""What reads bytes from outside, as functions of those bytes.

Each target does with them what the package does, and may raise nothing but ``YoloSegError``.
``test/test_hostile_input.py`` runs them on the corpus and on changed copies of it, and
``fuzz.py`` under a coverage-guided fuzzer.
"""
import struct
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from yolo_seg_node.config import load_work_config, make_work_config
from yolo_seg_node.errors import YoloSegError
from yolo_seg_node.frame import (
    ALIASES,
    ENCODINGS,
    MAX_PIXELS,
    frame_from_buffer,
    frame_from_compressed,
    frame_stamp_ns,
)
from yolo_seg_node.labels import read_labels
from yolo_seg_node.letterbox import LETTERBOX, make_letterbox
from yolo_seg_node.model_info import read_model_info
from yolo_seg_node.model_input import NCHW, NV12, PICTURE, InputFormat, Preprocessor
from yolo_seg_node.npz import MAX_BYTES, npz_shape
from yolo_seg_node.picture_header import claimed_size_wh
from yolo_seg_node.pipeline import SOURCE_MASKS, Pipeline, StageTimes
from yolo_seg_node.ros.hbm_pictures import frame_from_hbm, hbm_stamp_ns
from yolo_seg_node.runtimes.recorded import load_outputs
from yolo_seg_node.runtimes.vdsp_params import read_vdsp_params
from yolo_seg_node.scales import with_scales
from yolo_seg_node.tensors import TensorSpec

CORPUS = Path(__file__).parent / 'corpus'
SPECS = (TensorSpec('cls', (1, 4, 4, 3), np.dtype(np.float32)),
         TensorSpec('box', (1, 4, 4, 8), np.dtype(np.int32)),
         TensorSpec('proto', (1, 8, 8, 8), np.dtype(np.int16)))
# Fields of a raw picture in front of its pixels: encoding, width, height, step, seconds, ns.
RAW_HEAD = '<BIIIiI'
MODEL_WH = (32, 32)
LEVELS = (8, 16)
CHANNELS = {'cls': 2, 'box': 16, 'mc': 4}


@lru_cache(maxsize=1)
def _folder():
    return tempfile.TemporaryDirectory()


def _written(data, suffix):
    path = Path(_folder().name) / f'input{suffix}'
    path.write_bytes(data)
    return path


def config(data):
    """A work config."""
    found = load_work_config(_written(data, '.json'), require_model=False)
    found.decode_settings()
    # what a model is fed with goes through float32
    assert np.isfinite(np.float32(found.input_mean + found.input_scale)).all()
    assert np.isfinite(np.float64(found.anchors_table or 0)).all()


def labels(data):
    """Class names."""
    names = read_labels(_written(data, '.list'))
    assert names and all(names)


def sidecar(data):
    """Scales beside a model."""
    for spec in with_scales(SPECS, _written(data, '.json')):
        _check_quantization(spec)


def model_info(data):
    """The text of model_info, as facts of a model and as scales."""
    path = _written(data, '.txt')
    outputs = read_model_info(path)[0].outputs
    for spec in with_scales([replace(spec, quantization=None) for spec in outputs], path):
        _check_quantization(spec)


def _check_quantization(spec):
    str(spec)
    if spec.quantization:
        assert np.isfinite(spec.quantization.scale).all() and (spec.quantization.scale > 0).all()


def vdsp_params(data):
    """Pre-processing of a VACC card."""
    read_vdsp_params(_written(data, '.json'))


def npz(data):
    """Recorded tensors."""
    path = _written(data, '.npz')
    arrays = load_outputs(path)
    assert sum(array.nbytes for array in arrays) <= MAX_BYTES
    assert npz_shape(path, 'output_0') == arrays[0].shape


def compressed(data):
    """The data of a CompressedImage."""
    frame = frame_from_compressed(data)
    assert frame.size_wh == claimed_size_wh(data)
    assert frame.width * frame.height <= MAX_PIXELS
    _prepare(frame)


def raw(data):
    """The fields of an Image, see RAW_HEAD."""
    head, pixels = data[:struct.calcsize(RAW_HEAD)], data[struct.calcsize(RAW_HEAD):]
    encoding, width, height, step, sec, nanosec = struct.unpack(
        RAW_HEAD, head.ljust(struct.calcsize(RAW_HEAD), b'\0'))
    names = [*ENCODINGS, *ALIASES, '', '\0', 'nv12\0']
    frame = frame_from_buffer(pixels, names[encoding % len(names)], width, height, step,
                              frame_stamp_ns(sec, nanosec))
    assert frame.width * frame.height <= max(len(pixels), 1)
    _prepare(frame)


def hbm(data):
    """A serialized shared-memory picture."""
    hbm_stamp_ns(data)
    _prepare(frame_from_hbm(data))


def _prepare(frame):
    for kind in (NV12, NCHW, PICTURE):
        Preprocessor(InputFormat(kind, (64, 48))).prepare(frame)


def tensors(data):
    """Values of the outputs of a small model, repeated as often as needed."""
    pipeline = _pipeline()
    values = np.frombuffer(data[:len(data) // 4 * 4] or bytes(4), np.float32)
    outputs = [np.resize(values, spec.shape).astype(np.float32) for spec in pipeline.outputs]
    letterbox = make_letterbox((50, 30), MODEL_WH, LETTERBOX, 1)
    found = pipeline.decode(outputs, letterbox, SOURCE_MASKS, pipeline.settings,
                            StageTimes()).detections
    assert np.isfinite(found.xyxy_image).all() and np.isfinite(found.score).all()
    assert (found.xyxy_image >= 0).all() and (found.xyxy_image <= [50, 30, 50, 30]).all()
    assert len(found.masks.crops) == len(found)


@lru_cache(maxsize=1)
def _pipeline():
    shapes = [(1, MODEL_WH[1] // s, MODEL_WH[0] // s, n) for s in LEVELS for n in CHANNELS.values()]
    shapes.append((1, MODEL_WH[1] // 4, MODEL_WH[0] // 4, CHANNELS['mc']))
    path = Path(_folder().name) / 'model.npz'
    np.savez(path, **{f'output_{i}': np.zeros(shape, np.float32) for i, shape in enumerate(shapes)})
    return Pipeline.open(make_work_config({
        'model_file': str(path), 'dnn_Parser': 'yolov8_seg', 'class_num': CHANNELS['cls'],
        'reg_max': CHANNELS['box'] // 4, 'num_mask': CHANNELS['mc'], 'strides': list(LEVELS),
        'input_size': list(MODEL_WH), 'max_candidates': 20, 'nms_top_k': 20}))


TARGETS = {target.__name__: target for target in (
    config, labels, sidecar, model_info, vdsp_params, npz, compressed, raw, hbm, tensors)}


def run(name, data):
    """Run a target; an error of ours must have a text that every log can show."""
    try:
        TARGETS[name](data)
    except YoloSegError as error:
        assert str(error).strip()
        str(error).encode('utf-8')
