"""Every runtime finds the same things in the same picture."""
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from fake_sdks import (
    OLD_ORDER, SIZE, installed, vacc_model, vdsp_params, work_config, write_board_file)

from yolo_seg_node.config import load_work_config
from yolo_seg_node.frame import frame_from_bgr, frame_from_buffer
from yolo_seg_node.letterbox import LETTERBOX, STRETCH
from yolo_seg_node.model_input import Preprocessor
from yolo_seg_node.pipeline import Pipeline

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'demo'))

from scenes import moving_scene, scene  # noqa: E402

SEEDS = (5_000_000, 5_000_003)


@dataclass
class Case:
    """A runtime, the fake SDK that it needs, and how the model for it is made.

    :ivar march: of an RDK model; without one it is a VACC model.
    :ivar exact: the model sees the very same pixels and hands out the very same numbers, when the
        picture is NV12 and has the size of the model.
    :ivar mode: how the picture is brought to the size of the model.
    """

    sdk: str
    march: str = ''
    suffix: str = ''
    model: str = 'float'
    exact: bool = True
    options: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)
    vdsp: dict = field(default_factory=dict)
    mode: str = LETTERBOX

    def config(self, folder):
        if self.march:
            path = write_board_file(folder / f'model{self.suffix}', self.march, self.model,
                                    **self.options)
            return work_config(path, **self.keys)
        return work_config(vacc_model(folder), vdsp_params=str(vdsp_params(folder, **self.vdsp)),
                           **self.keys)


# A card computes in float16: 11 bits of each raw value, so boxes move by a fraction of a pixel.
VACC = {'sdk': 'vaststreamx', 'exact': False}
CASES = {
    'hobot_dnn x5 float': Case('hobot_dnn', 'x5', '.bin'),
    'hobot_dnn x5 int': Case('hobot_dnn', 'x5', '.bin', 'int'),
    'hobot_dnn x3 22.04 old order': Case(
        'hobot_dnn', 'x3', '.bin', options={'order': OLD_ORDER}),
    'hobot_dnn x3 20.04': Case('hobot_dnn', 'x3_20_04', '.bin'),
    'hobot_dnn_rdkx5': Case('hobot_dnn_rdkx5', 'x5', '.bin', 'int'),
    'hbm_runtime x5 packed': Case('hbm_runtime', 'x5', '.bin', 'int'),
    'hbm_runtime s100 two planes': Case('hbm_runtime', 's100', '.hbm', 'float'),
    'hbm_runtime s100 int with zero points': Case(
        'hbm_runtime', 's100', '.hbm', 'int', options={'zero_point': 3}),
    'vaststreamx sync rgb planar': Case(**VACC),
    'vaststreamx async rgb planar': Case(**VACC, keys={'stream_mode': 'async'}),
    'vaststreamx sync bgr': Case(
        **VACC, vdsp={'IimageFormat': 'BGR888', 'ColorCvtCode': 'BGR2RGB'}),
    'vaststreamx nv12': Case(
        **VACC, vdsp={'op_type': 'FUSION_OP_YUV_NV12_LETTERBOX_2RGB_NORM_TENSOR'}),
    'vaststreamx stretched': Case(
        **VACC, vdsp={'op_type': 'FUSION_OP_RGB_RESIZE_CVTCOLOR_NORM_TENSOR'}, mode=STRETCH),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    with installed(request.param.sdk):
        yield request.param


@pytest.fixture
def pipeline(case, tmp_path):
    opened = Pipeline.open(case.config(tmp_path))
    yield opened
    opened.close()


def reference(case, frame):
    """What the same model gives in onnxruntime."""
    config = load_work_config(ROOT / 'config' / f'demo_{case.model}.json')
    pipeline = Pipeline.open(replace(config, resize_mode=case.mode))
    result = pipeline.process(frame).detections
    pipeline.close()
    return result


def nv12_frame(bgr):
    """The picture in NV12, by BT.601 with limited range and the mean chroma of 2x2 pixels."""
    b, g, r = np.moveaxis(bgr.astype(float), 2, 0)
    luma = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112 * b) / 255
    v = 128 + (112 * r - 93.786 * g - 18.214 * b) / 255
    height, width = luma.shape
    chroma = np.stack([plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
                       for plane in (u, v)], axis=2)
    data = np.concatenate([np.rint(luma).reshape(-1), np.rint(chroma).reshape(-1)])
    return frame_from_buffer(data.astype(np.uint8), 'nv12', width, height, width)


def box_iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = np.prod(np.maximum(sides, 0))
    return common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common)


def mask_iou(a, b, index_a, index_b):
    one, other = (whole_mask(d.masks, i) for d, i in ((a, index_a), (b, index_b)))
    return (one & other).sum() / (one | other).sum()


def whole_mask(masks, index):
    width, height = masks.size_wh
    whole = np.zeros((height, width), bool)
    x, y = masks.origin_xy[index]
    crop = masks.crops[index]
    whole[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
    return whole


def assert_alike(found, wanted, least_box_iou, least_mask_iou, score_gap):
    """Each thing that is surely there is found once, with like box and mask."""
    sure = np.flatnonzero(wanted.score > 0.6)
    assert len(sure) >= 3
    for i in sure:
        best = max(np.flatnonzero(found.class_id == wanted.class_id[i]),
                   key=lambda j: box_iou(found.xyxy_image[j], wanted.xyxy_image[i]))
        assert box_iou(found.xyxy_image[best], wanted.xyxy_image[i]) > least_box_iou
        assert mask_iou(found, wanted, best, i) > least_mask_iou
        assert abs(found.score[best] - wanted.score[i]) < score_gap
    assert (found.score > 0.6 + score_gap).sum() <= len(sure)


@pytest.mark.parametrize('seed', SEEDS)
def test_nv12_picture_of_the_size_of_the_model(pipeline, case, seed):
    frame = nv12_frame(scene(seed, SIZE)[0])
    found, wanted = pipeline.process(frame).detections, reference(case, frame)
    if not case.exact:
        assert_alike(found, wanted, 0.98, 0.98, 0.01)
        return
    # Zero points and the order of a sum change the last bits only.
    assert np.array_equal(found.class_id, wanted.class_id) and len(found.class_id) >= 3
    np.testing.assert_allclose(found.xyxy_image, wanted.xyxy_image, atol=1e-3)
    np.testing.assert_allclose(found.score, wanted.score, atol=1e-5)
    assert min(mask_iou(found, wanted, i, i) for i in range(len(found.score))) > 0.999


@pytest.mark.parametrize('size', [(480, 360), (640, 481)])
def test_bgr_picture_that_must_be_resized(pipeline, case, size):
    """NV12 models see colours of half the resolution, and odd sizes are cut to even ones."""
    ((bgr, _),) = moving_scene(5, size, [1.5])
    frame = frame_from_bgr(bgr)
    assert_alike(pipeline.process(frame).detections, reference(case, frame), 0.96, 0.96, 0.04)


def test_recorded_outputs_give_the_same(tmp_path):
    config = load_work_config(ROOT / 'config' / 'demo_float.json')
    pipeline = Pipeline.open(config)
    frame = frame_from_bgr(scene(SEEDS[0], SIZE)[0])
    arrays, _ = Preprocessor(pipeline.runtime.input_format).prepare(frame)
    np.savez(tmp_path / 'one.npz', **{f'output_{i}': array for i, array in enumerate(
        pipeline.runtime.infer(arrays))})
    recorded = Pipeline.open(work_config(tmp_path / 'one.npz', input_size=[SIZE, SIZE]))
    found, wanted = (p.process(frame).detections for p in (recorded, pipeline))
    assert np.array_equal(found.xyxy_image, wanted.xyxy_image) and len(wanted) >= 3
    assert np.array_equal(found.score, wanted.score)
