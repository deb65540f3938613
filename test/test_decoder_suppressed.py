"""Models with suppression built in: lists of finished boxes, with and without masks."""

import json

import numpy as np
import pytest
from reference import geometry, masks
from reference import nms_form_reference as reference
from reference.nms_form_reference import Row

from yolo_seg_node.config import WorkConfig, make_work_config
from yolo_seg_node.decoders import DecodeSettings, make_decoder
from yolo_seg_node.decoders.suppressed import SuppressedDecoder
from yolo_seg_node.errors import ConfigError, InferenceError, ModelError
from yolo_seg_node.letterbox import make_letterbox
from yolo_seg_node.pipeline import SOURCE_MASKS, Pipeline, StageTimes
from yolo_seg_node.tensors import Quantization, TensorSpec

SIZE_WH = (128, 96)
CHANNELS = 8
SLOTS = 10


def random_rows(seed=0, count=4):
    """Boxes that overlap, so a second suppression would show."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        x, y = rng.integers(8, 40), rng.integers(16, 40)
        coefficients = tuple(rng.normal(0, 1, CHANNELS).astype(np.float16).astype(float))
        rows.append(Row(1, 0.9 - i / 8, (float(x), float(y), float(x + 50), float(y + 40)),
                        coefficients))
    return rows


def random_proto(seed=1):
    proto = np.random.default_rng(seed).normal(0, 1, (CHANNELS, 24, 32))
    return proto.astype(np.float16)


def specs_of(outputs, quantization=None):
    return [TensorSpec(f'output_{i}', out.shape, out.dtype, quantization)
            for i, out in enumerate(outputs)]


def seg_config(**keys):
    return WorkConfig('model', 'yolov8_seg', **{'class_num': 3, 'num_mask': CHANNELS, **keys})


def decoder_of(outputs, **keys):
    return make_decoder(specs_of(outputs), SIZE_WH, seg_config(**keys))


@pytest.mark.parametrize('last_axis', [True, False])
def test_rows_become_boxes(last_axis):
    rows = random_rows()
    outputs = reference.outputs_of(rows, SLOTS, random_proto(), last_axis)
    decoder = decoder_of(outputs)
    boxes = decoder.decode(outputs, DecodeSettings(0.0))
    assert (decoder.suppressed, decoder.has_masks) == (True, True)
    np.testing.assert_allclose(boxes.xyxy_model, [row.xyxy for row in rows], atol=1e-3)
    np.testing.assert_allclose(boxes.score, [row.score for row in rows], atol=5e-4)  # float16
    assert boxes.class_id.tolist() == [1, 1, 1, 1]
    assert boxes.source.tolist() == [0, 1, 2, 3]


def test_the_threshold_can_only_be_raised():
    outputs = reference.outputs_of(random_rows(), SLOTS, random_proto())
    assert len(decoder_of(outputs).decode(outputs, DecodeSettings(0.7))) == 2


def test_unused_and_broken_rows_anywhere():
    rows = [row._replace(class_id=class_id) for row, class_id in
            zip(random_rows(count=5), (-1, 2, np.nan, np.inf, 0))]
    outputs = reference.outputs_of(rows, SLOTS, random_proto())
    outputs[2][0, 1, 3] = np.nan
    outputs[1][0, 4] = 0.5
    boxes = decoder_of(outputs).decode(outputs, DecodeSettings(0.0))
    assert boxes.source.tolist() == [4]


def test_wanted_classes():
    rows = [row._replace(class_id=i) for i, row in enumerate(random_rows(count=3))]
    outputs = reference.outputs_of(rows, SLOTS, random_proto())
    wanted = DecodeSettings(0.0, classes=frozenset([0, 2]))
    assert decoder_of(outputs).decode(outputs, wanted).class_id.tolist() == [0, 2]


@pytest.mark.parametrize('class_id', [17, 2**32])
def test_more_classes_than_the_config_has_are_an_error(class_id):
    outputs = reference.outputs_of([random_rows()[0]], SLOTS, random_proto())
    outputs[0] = np.full(outputs[0].shape, class_id, np.float32)
    with pytest.raises(InferenceError, match=f'class id {class_id},.*"class_num".* 3'):
        decoder_of(outputs).decode(outputs, DecodeSettings(0.0))


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('image_wh', [(128, 96), (200, 100), (61, 97)])
def test_masks_through_the_pipeline(tmp_path, image_wh, channels_last):
    """Boxes, masks and their place in the picture against the plain reference."""
    rows, proto = random_rows(), random_proto()
    outputs = reference.outputs_of(rows, SLOTS, proto)
    if channels_last:
        outputs[4] = np.ascontiguousarray(outputs[4].transpose(0, 2, 3, 1))
    pipeline = recorded_pipeline(tmp_path, outputs)
    found = pipeline.decode(outputs, make_letterbox(image_wh, SIZE_WH), SOURCE_MASKS,
                            pipeline.settings, StageTimes()).detections
    placement = geometry.place(image_wh, SIZE_WH)
    assert len(found) == len(rows)
    for i, row in enumerate(rows):
        box = geometry.box_in_image(placement, row.xyxy)
        np.testing.assert_allclose(found.xyxy_image[i], box, atol=1e-3)
        whole = masks.full_mask(row.coefficients, proto.transpose(1, 2, 0), box, placement)
        drawn = np.zeros_like(whole)
        (x, y), crop = found.masks.origin_xy[i], found.masks.crops[i]
        drawn[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
        assert masks.mask_iou(drawn, whole) >= 0.99


def recorded_pipeline(tmp_path, outputs):
    np.savez(tmp_path / 'outputs.npz', **{f'output_{i}': out for i, out in enumerate(outputs)})
    keys = {'model_file': 'outputs.npz', 'dnn_Parser': 'yolov8_seg', 'class_num': 3,
            'num_mask': CHANNELS, 'model_output_count': 5, 'input_size': list(SIZE_WH),
            'runtime': 'recorded'}
    (tmp_path / 'work.json').write_text(json.dumps(keys))
    return Pipeline.open(make_work_config(keys, tmp_path / 'work.json'))


def test_quantised_proto_and_coefficients():
    rows, proto = random_rows(), random_proto()
    real = reference.outputs_of(rows, SLOTS, proto)
    scale = Quantization(np.float32([0.001]), np.int32([7]))
    stored = [*real[:3], *(np.round(out.astype(float) / 0.001 + 7).astype(np.int16)
                           for out in real[3:])]
    specs = [*specs_of(real)[:3], *specs_of(stored, scale)[3:]]
    decoder = make_decoder(specs, SIZE_WH, seg_config())
    exact = decoder_of(real)
    boxes = decoder.decode(stored, DecodeSettings(0.0))
    found, wanted = decoder.mask_basis(stored, boxes), exact.mask_basis(real, boxes)
    logits = [np.asarray(b.proto, np.float32) @ b.coefficients.T + b.bias for b in (found, wanted)]
    np.testing.assert_allclose(logits[0], logits[1], atol=0.05)


def test_class_id_and_score_in_the_order_of_the_user():
    outputs = reference.outputs_of(random_rows(), SLOTS, random_proto())
    shuffled = [outputs[i] for i in (1, 0, 4, 2, 3)]
    with pytest.raises(ModelError, match='The model has 5 outputs'):
        decoder_of(shuffled)
    decoder = decoder_of(shuffled, output_order=(1, 0, 3, 4, 2))
    assert decoder.decode(shuffled, DecodeSettings(0.0)).class_id.tolist() == [1, 1, 1, 1]
    assert decoder.describe() == [(0, 'score'), (1, 'class id'), (2, 'proto NCHW'), (3, 'box'),
                                  (4, 'mc')]


def test_detection_without_masks_for_any_parser():
    outputs = reference.outputs_of(random_rows(), SLOTS, random_proto())[:3]
    for parser in ('yolov8', 'yolov5', 'yolov4'):
        config = WorkConfig('model', parser, class_num=3)
        decoder = make_decoder(specs_of(outputs), SIZE_WH, config)
        assert isinstance(decoder, SuppressedDecoder)
        assert not decoder.has_masks
        assert len(decoder.decode(outputs, DecodeSettings(0.0))) == 4


@pytest.mark.parametrize(('index', 'shape'), [
    (0, (1, SLOTS - 1)), (2, (1, SLOTS, 5)), (3, (1, SLOTS, CHANNELS + 1)),
    (4, (1, CHANNELS, 12, 16)), (4, (1, CHANNELS + 1, 24, 32))])
def test_what_does_not_fit_is_refused(index, shape):
    outputs = reference.outputs_of(random_rows(), SLOTS, random_proto())
    outputs[index] = np.zeros(shape, np.float16)
    with pytest.raises(ModelError) as error:
        decoder_of(outputs)
    assert 'class id 1xN, score 1xN, box 1xNx4, mc 1xNx8' in str(error.value)
    assert f'output_{index} {shape} float16' in str(error.value)


def test_masks_that_the_parser_does_not_have_are_refused():
    outputs = reference.outputs_of(random_rows(), SLOTS, random_proto())
    with pytest.raises(ModelError, match='The model has 5 outputs, but the parser needs 6'):
        make_decoder(specs_of(outputs), SIZE_WH, WorkConfig('model', 'yolov8', class_num=3))


def test_a_single_slot():
    outputs = reference.outputs_of(random_rows(count=1), 1, random_proto())
    assert len(decoder_of(outputs).decode(outputs, DecodeSettings(0.0))) == 1


@pytest.mark.parametrize(('parser', 'counts'), [('yolov8_seg', (10, 5)), ('yolov8', (6, 3)),
                                                ('yolov5', (3,))])
def test_model_output_count(parser, counts):
    for count in range(1, 12):
        keys = {'model_file': 'm', 'dnn_Parser': parser, 'model_output_count': count}
        if count in counts:
            make_work_config(keys, require_model=False)
        else:
            with pytest.raises(ConfigError, match=f'strides has {" or ".join(map(str, counts))}'):
                make_work_config(keys, require_model=False)
