"""YOLOv5 heads in every form in which boards and cards give them, against a plain reference."""

import numpy as np
import pytest
from reference import anchor_based_reference as reference

from yolo_seg_node.config import WorkConfig, make_work_config
from yolo_seg_node.decoders import DecodeSettings, make_decoder
from yolo_seg_node.decoders.anchor_based import YOLOV5_ANCHORS
from yolo_seg_node.errors import ConfigError, ModelError
from yolo_seg_node.tensors import Quantization, TensorSpec

CLASSES = 7
SIZE_WH = (192, 128)
P5, P6 = (8, 16, 32), (8, 16, 32, 64)
ALL = DecodeSettings(score_threshold=0.0, max_candidates=100000)


def anchors_of(strides):
    known = next(a for a in YOLOV5_ANCHORS if tuple(a) == tuple(strides))
    return [known[stride] for stride in strides]


def random_heads(strides=P5, size_wh=SIZE_WH, classes=CLASSES, seed=0):
    """Logits (channels, h, w) per stride, a few per cent of them above a score of one half."""
    rng = np.random.default_rng(seed)
    return [rng.normal(-0.5, 2.0, (3 * (5 + classes), size_wh[1] // stride, size_wh[0] // stride))
            for stride in strides]


def stored_float(heads, dtype, layout):
    """The heads as a float model gives them, and the real values of what was stored."""
    stored = [head.astype(dtype) for head in heads]
    outputs = [one.transpose(1, 2, 0)[None] if layout == 'NHWC' else one[None] for one in stored]
    specs = [TensorSpec(f'output_{i}', out.shape, out.dtype) for i, out in enumerate(outputs)]
    return [np.ascontiguousarray(out) for out in outputs], specs, stored


def stored_int(heads, zero_points=False, seed=1):
    """The heads as int32 with one scale per channel, channels last, as the BPU gives them."""
    rng = np.random.default_rng(seed)
    outputs, specs, real = [], [], []
    for i, head in enumerate(heads):
        scale = rng.uniform(1e-4, 1e-3, len(head)).astype(np.float32)
        zero_point = rng.integers(-50, 50, len(head)).astype(np.int32) * zero_points
        wide = scale.astype(float)[:, None, None]
        ints = np.round(head / wide).astype(np.int64) + zero_point[:, None, None]
        real.append((ints - zero_point[:, None, None]) * wide)
        outputs.append(np.ascontiguousarray(ints.astype(np.int32).transpose(1, 2, 0)[None]))
        quantization = Quantization(scale, zero_point if zero_points else None, 3)
        specs.append(TensorSpec(f'output_{i}', outputs[-1].shape, np.dtype(np.int32),
                                quantization))
    return outputs, specs, real


def config(parser='yolov5', **keys):
    return WorkConfig('model', parser, **{'class_num': CLASSES, **keys})


def assert_same(boxes, expected):
    """Boxes of the decoder and of the reference are the same, in whatever order."""
    assert len(boxes) == len(expected) > 0
    found = np.column_stack([boxes.xyxy_model, boxes.score, boxes.class_id]).astype(float)
    wanted = np.array(expected, float)
    found, wanted = (rows[np.lexsort((rows[:, 1], rows[:, 0]))] for rows in (found, wanted))
    np.testing.assert_array_equal(found[:, 5], wanted[:, 5])
    np.testing.assert_allclose(found[:, :4], wanted[:, :4], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[:, 4], wanted[:, 4], rtol=0, atol=1e-5)


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('dtype', [np.float32, np.float16])
@pytest.mark.parametrize('strides', [P5, P6])
def test_float_heads(layout, dtype, strides):
    outputs, specs, real = stored_float(random_heads(strides), dtype, layout)
    decoder = make_decoder(specs, SIZE_WH, config(strides=strides))
    boxes = decoder.decode(outputs, DecodeSettings(score_threshold=0.3))
    assert_same(boxes, reference.decode(real, strides, anchors_of(strides), 0.3))


@pytest.mark.parametrize('zero_points', [False, True])
@pytest.mark.parametrize('threshold', [0.05, 0.25, 0.6])
def test_int32_heads_with_scales(zero_points, threshold):
    outputs, specs, real = stored_int(random_heads(), zero_points)
    decoder = make_decoder(specs, SIZE_WH, config('yolov5x'))
    boxes = decoder.decode(outputs, DecodeSettings(threshold, max_candidates=100000))
    assert_same(boxes, reference.decode(real, P5, anchors_of(P5), threshold))


def test_int32_heads_with_one_scale():
    one = Quantization(np.float32([4e-4]))
    outputs = [np.round(head / one.scale[0]).astype(np.int32)[None] for head in random_heads()]
    specs = [TensorSpec(f'output_{i}', out.shape, out.dtype, one) for i, out in enumerate(outputs)]
    real = [out[0] * float(one.scale[0]) for out in outputs]
    boxes = make_decoder(specs, SIZE_WH, config()).decode(outputs, DecodeSettings(0.3))
    assert_same(boxes, reference.decode(real, P5, anchors_of(P5), 0.3))


def test_padded_channels_of_the_s100():
    """255 channels in rows of 256, as the S100 gives them: a strided view."""
    outputs, specs, real = stored_int(random_heads())
    padded = [np.zeros((*out.shape[:3], out.shape[3] + 1), np.int32) for out in outputs]
    for wide, out in zip(padded, outputs):
        wide[..., :-1], wide[..., -1] = out, 1 << 30
    views = [wide[..., :-1] for wide in padded]
    boxes = make_decoder(specs, SIZE_WH, config()).decode(views, DecodeSettings(0.3))
    assert_same(boxes, reference.decode(real, P5, anchors_of(P5), 0.3))


def test_anchors_of_the_config_belong_to_its_strides():
    table = (((100, 90),), ((40, 50),), ((10, 20),))
    strides = (32, 16, 8)
    heads = [head[:5 + CLASSES] for head in random_heads(strides)]
    outputs, specs, real = stored_float(heads, np.float32, 'NHWC')
    decoder = make_decoder(specs, SIZE_WH, config(strides=strides, anchors_table=table))
    boxes = decoder.decode(outputs, DecodeSettings(0.3))
    assert_same(boxes, reference.decode(real, strides, table, 0.3))


@pytest.mark.parametrize('order', [(2, 1, 0), (1, 2, 0)])
def test_outputs_in_any_order(order):
    outputs, specs, real = stored_float(random_heads(), np.float32, 'NHWC')
    shuffled = [outputs[i] for i in order]
    decoder = make_decoder([specs[i] for i in order], SIZE_WH, config())
    boxes = decoder.decode(shuffled, DecodeSettings(0.3))
    assert_same(boxes, reference.decode(real, P5, anchors_of(P5), 0.3))
    assert [text.split()[3] for _, text in decoder.describe()] == [str(P5[i]) for i in order]


def test_the_other_heads_decide_the_layout_of_a_cube():
    """4 classes with one anchor are 9 channels, on a grid of 9x9 cells at stride 16."""
    anchors = (((30, 40),), ((60, 50),))
    heads = [np.random.default_rng(i).normal(0, 2, (9, n, n)) for i, n in enumerate((18, 9))]
    outputs, specs, real = stored_float(heads, np.float32, 'NCHW')
    decoder = make_decoder(specs, (144, 144), config(
        class_num=4, strides=(8, 16), anchors_table=anchors))
    boxes = decoder.decode(outputs, DecodeSettings(0.3))
    assert_same(boxes, reference.decode(real, (8, 16), anchors, 0.3))


def one_level():
    """A head of one level with nothing on it, as (anchors, 5 + classes, h, w), and its decoder."""
    block = np.zeros((3, 5 + CLASSES, 16, 24))
    block[:, 4:] = -20.0
    spec = TensorSpec('output_0', (1, 36, 16, 24), np.dtype(np.float32))
    anchors = (((10, 13), (16, 30), (33, 23)),)
    return block, make_decoder([spec], SIZE_WH, config(strides=(8,), anchors_table=anchors))


def decode_block(decoder, block, threshold):
    head = block.reshape(1, 36, 16, 24).astype(np.float32)
    return decoder.decode([head], DecodeSettings(threshold))


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_give_no_box(bad):
    block, decoder = one_level()
    block[0, 4:, 2, 3] = 9.0  # the only good one
    block[1, 4:, 5, 6], block[1, 4, 5, 6] = 9.0, bad
    block[2, 4, 7, 8], block[2, 5:, 7, 8] = 9.0, bad
    block[0, 4:, 9, 9], block[0, 0, 9, 9] = 9.0, np.nan
    boxes = decode_block(decoder, block, 0.3)
    assert boxes.source.tolist() == [(2 * 24 + 3) * 3]
    assert np.isfinite(boxes.xyxy_model).all()


def test_every_anchor_of_a_cell_counts():
    block, decoder = one_level()
    block[:, 4, 1, 2], block[:, 6, 1, 2] = 9.0, 9.0
    boxes = decode_block(decoder, block, 0.3)
    assert boxes.source.tolist() == [78, 79, 80]
    assert boxes.class_id.tolist() == [1, 1, 1]


def test_objectness_and_class_both_count():
    block, decoder = one_level()
    block[0, 4, 0, 0], block[0, 5, 0, 0] = 0.0, 20.0    # 0.5 * 1
    block[1, 4, 0, 1], block[1, 5, 0, 1] = 0.0, 0.0     # 0.5 * 0.5
    block[2, 4, 0, 2], block[2, 5, 0, 2] = -1.0, 20.0   # below 0.3 by objectness alone
    block[2, 4, 0, 3], block[2, 5, 0, 3] = 20.0, -2.0   # below 0.2 by class alone
    assert decode_block(decoder, block, 0.3).score.tolist() == [0.5]
    assert decode_block(decoder, block, 0.2).score.tolist() == pytest.approx(
        [0.5, 0.25, 1 / (1 + np.e)])


def test_best_candidates_and_wanted_classes():
    outputs, specs, real = stored_float(random_heads(), np.float32, 'NHWC')
    decoder = make_decoder(specs, SIZE_WH, config())
    wanted = DecodeSettings(0.1, max_candidates=5, classes=frozenset([2, 4]))
    boxes = decoder.decode(outputs, wanted)
    expected = [b for b in reference.decode(real, P5, anchors_of(P5), 0.1) if b.class_id in (2, 4)]
    assert_same(boxes, sorted(expected, key=lambda b: -b.score)[:5])


def test_nothing_above_the_threshold():
    outputs, specs, _ = stored_float([h * 0 - 9 for h in random_heads()], np.float32, 'NHWC')
    boxes = make_decoder(specs, SIZE_WH, config()).decode(outputs, DecodeSettings(0.5))
    assert len(boxes) == 0
    assert boxes.xyxy_model.shape == (0, 4)


def test_a_model_that_does_not_fit_is_refused_with_a_table():
    _, specs, _ = stored_float(random_heads(), np.float32, 'NHWC')
    with pytest.raises(ModelError) as error:
        make_decoder(specs, SIZE_WH, config(class_num=80))
    text = str(error.value)
    assert 'expected anchors_8 16x24x255' in text
    assert 'output_2 (1, 4, 6, 36) float32' in text
    assert 'class id 1xN' in text


def test_strides_without_default_anchors_are_refused():
    _, specs, _ = stored_float(random_heads()[:2], np.float32, 'NHWC')
    with pytest.raises(ModelError, match=r'no default anchors for strides \[8, 16\].*anchors'):
        make_decoder(specs, SIZE_WH, config(strides=(8, 16)))


def test_uneven_anchors_are_refused():
    keys = {'model_file': 'm', 'dnn_Parser': 'yolov5',
            'anchors_table': [[[1, 2], [3, 4]], [[1, 2]], [[1, 2]]]}
    with pytest.raises(ConfigError, match=r'levels of \[2, 1, 1\] anchors'):
        make_work_config(keys, require_model=False)
