"""Frame to Detections: golden tensors and a real model, end to end."""
import threading

import numpy as np
import pytest
from heads_factory import Form, make_scene, store, write_recording
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_writer import node, write_bright_finder, write_model
from reference import anchor_free as reference
from reference.geometry import place
from reference.masks import full_mask, mask_iou, proto_grid

from yolo_seg_node.config import make_work_config
from yolo_seg_node.errors import ConfigError, InferenceError, ModelError
from yolo_seg_node.frame import frame_from_bgr, frame_from_buffer
from yolo_seg_node.letterbox import MODES
from yolo_seg_node.pipeline import NO_MASKS, PROTO_MASKS, SOURCE_MASKS, STAGES, Pipeline

BOARD = Form(dtypes={'box': 'int32', 'mc': 'int32', 'proto': 'int16'},
             per_channel=frozenset(['box', 'mc']))
IMAGES = [(1280, 720), (360, 640), (31, 17), (641, 479), (256, 256), (1366, 768), (90, 500)]


def recorded(tmp_path, stored, **keys):
    """A pipeline that plays the outputs back."""
    values = {**write_recording(stored, tmp_path), **keys}
    return Pipeline.open(make_work_config(values, tmp_path / 'config.json'))


def black(size_wh):
    return frame_from_bgr(np.zeros((size_wh[1], size_wh[0], 3), np.uint8))


def expected_of(stored, image_wh, mode='letterbox', **limits):
    """Detections by the plain decoder, and where the picture lies."""
    scene = stored.scene
    placement = place(image_wh, scene.size_wh, mode)
    limits = {'score_threshold': 0.4, 'nms_threshold': 0.5, **limits}
    return reference.detections(stored.real, scene.strides, scene.reg_max, placement,
                                **limits), placement


def assert_same(found, expected, image_wh):
    assert len(found) == len(expected) and found.image_wh == image_wh
    assert found.class_id.tolist() == [one.class_id for one, _ in expected]
    boxes = np.array([box for _, box in expected]).reshape(-1, 4)
    # boxes of a picture that is larger than the model are as much less exact
    pixels = 1e-3 * max(1, max(image_wh) / 256)
    np.testing.assert_allclose(found.xyxy_image, boxes, rtol=0, atol=pixels)
    np.testing.assert_allclose(found.score, [one.score for one, _ in expected], rtol=0, atol=1e-5)
    assert (np.diff(found.score) <= 0).all()


def whole(masks, i):
    crop, (x, y) = masks.crops[i], masks.origin_xy[i]
    canvas = np.zeros(masks.size_wh[::-1], bool)
    canvas[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
    return canvas


def assert_same_masks(found, expected, placement, stored, grid):
    assert found.masks.size_wh == grid
    for i, (one, box) in enumerate(expected):
        mask = full_mask(stored.real['mc', one.stride][one.row, one.column],
                         stored.real['proto', 4], box, placement, grid)
        drawn = whole(found.masks, i)
        # rounding may decide a pixel whose logit, or a box edge, lies exactly on the limit
        assert mask_iou(drawn, mask) >= 0.999 or np.count_nonzero(drawn ^ mask) <= 2


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('image_wh', IMAGES)
@pytest.mark.parametrize('masks', [SOURCE_MASKS, PROTO_MASKS])
def test_detections_and_masks_are_those_of_the_reference(tmp_path, image_wh, mode, masks):
    stored = store(make_scene(), BOARD)
    pipeline = recorded(tmp_path, stored, resize_mode=mode)
    found = pipeline.process(black(image_wh), masks).detections
    expected, placement = expected_of(stored, image_wh, mode)
    assert len(expected) >= 2
    assert_same(found, expected, image_wh)
    grid = image_wh if masks == SOURCE_MASKS else proto_grid(placement, (64, 64))
    assert_same_masks(found, expected, placement, stored, grid)


@pytest.mark.parametrize('size_wh', [(320, 192), (192, 320), (64, 64)])
@pytest.mark.parametrize('form', [Form(), Form('vacc', 'NCHW', dtypes=dict.fromkeys(
    ('cls', 'box', 'mc', 'proto'), 'float16')), BOARD])
def test_other_model_sizes_and_forms(tmp_path, size_wh, form):
    stored = store(make_scene(size_wh=size_wh), form)
    found = recorded(tmp_path, stored).process(black((640, 480))).detections
    expected, placement = expected_of(stored, (640, 480))
    assert_same(found, expected, (640, 480))
    assert_same_masks(found, expected, placement, stored, (640, 480))


@pytest.mark.parametrize('keys, limits', [
    ({'score_threshold': 0.8}, {'score_threshold': 0.8}),
    ({'nms_threshold': 1}, {'nms_threshold': 1}),
    ({'nms_top_k': 3}, {'max_detections': 3}),
    ({'max_candidates': 4}, {'max_candidates': 4}),
    ({'class_agnostic_nms': True, 'nms_threshold': 0},
     {'class_agnostic': True, 'nms_threshold': 0}),
])
def test_limits_of_the_work_config(tmp_path, keys, limits):
    stored = store(make_scene(objects=9))
    found = recorded(tmp_path, stored, **keys).process(black((256, 256))).detections
    assert_same(found, expected_of(stored, (256, 256), **limits)[0], (256, 256))


def test_limits_change_between_frames(tmp_path):
    stored = store(make_scene(class_num=3, objects=9))
    pipeline = recorded(tmp_path, stored)
    pipeline.update(score_threshold=0.7, classes=frozenset([1, 2]), max_detections=2)
    found = pipeline.process(black((256, 256))).detections
    expected = expected_of(stored, (256, 256), score_threshold=0.7, classes={1, 2},
                           max_detections=2)[0]
    assert_same(found, expected, (256, 256))
    assert len(found) == 2


def test_boxes_in_the_padding_do_not_take_the_places_of_others(tmp_path):
    """The picture is wide, so objects at the top and bottom of the model input are outside it."""
    stored = store(make_scene(objects=9))
    found = recorded(tmp_path, stored, nms_top_k=3).process(black((600, 100))).detections
    expected = expected_of(stored, (600, 100), max_detections=3)[0]
    everywhere = expected_of(stored, (256, 256), max_detections=3)[0]
    assert [one for one, _ in expected] != [one for one, _ in everywhere]
    assert_same(found, expected, (600, 100))
    assert (found.xyxy_image[:, 2:] > found.xyxy_image[:, :2]).all()
    assert (found.xyxy_image >= 0).all() and (found.xyxy_image <= [600, 100, 600, 100]).all()


def test_masks_are_only_made_when_wanted(tmp_path):
    pipeline = recorded(tmp_path, store(make_scene()))
    without, result = (pipeline.process(black((64, 64)), masks)
                       for masks in (NO_MASKS, SOURCE_MASKS))
    assert without.detections.masks is None and set(without.times.ns) == set(STAGES) - {'masks'}
    assert result.detections.masks is not None and tuple(result.times.ns) == STAGES
    assert all(ns >= 0 for ns in result.times.ns.values())


def test_detection_models_have_no_masks(tmp_path):
    pipeline = recorded(tmp_path, store(make_scene(num_mask=None)))
    assert pipeline.facts == (pipeline.config.model_path(), 'recorded outputs, 1 file(s)',
                              (256, 256), False)
    result = pipeline.process(black((64, 64)), SOURCE_MASKS)
    assert len(result.detections) and result.detections.masks is None


def test_nothing_found(tmp_path):
    found = recorded(tmp_path, store(make_scene(objects=0))).process(black((64, 48))).detections
    assert len(found) == 0 and found.xyxy_image.shape == (0, 4)
    assert found.instance_map().shape == (48, 64) and not found.class_map().any()
    assert (found.xyxy_image.dtype, found.score.dtype, found.class_id.dtype) == (
        np.float32, np.float32, np.int32)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('masks', [SOURCE_MASKS, PROTO_MASKS])
@pytest.mark.filterwarnings('error')
def test_outputs_that_are_not_finite_never_crash(tmp_path, bad, masks):
    stored = store(make_scene())
    for role in ('mc', 'proto'):
        for key, index in stored.places.items():
            if key[0] == role:
                stored.arrays[index][..., ::3] = bad
    found = recorded(tmp_path, stored).process(black((320, 200)), masks).detections
    assert len(found) > 3 and not found.masks.area().any()
    for array in stored.arrays:
        array[:] = bad
    assert len(recorded(tmp_path, stored).process(black((320, 200)), masks).detections) == 0


def test_integer_outputs_need_scales(tmp_path):
    with pytest.raises(ModelError, match=r'integer output\(s\) without scales: output_1 .* int32, '
                                         '.*Set "scales_file" to their sidecar'):
        values = write_recording(store(make_scene(), BOARD), tmp_path)
        del values['scales_file']
        Pipeline.open(make_work_config(values, tmp_path / 'config.json'))


def test_scales_of_float_outputs_are_not_looked_at(tmp_path):
    """One work config may serve the integer model on the robot and the float one on a PC."""
    (tmp_path / 'other.json').write_text('{"outputs": {"not_here": {"scale": 1}}}')
    pipeline = recorded(tmp_path, store(make_scene()), scales_file='other.json')
    assert len(pipeline.process(black((64, 64))).detections)


def test_outputs_that_are_no_numbers_are_refused(tmp_path):
    stored = store(make_scene())
    stored.arrays[3] = stored.arrays[3] > 0
    with pytest.raises(ModelError, match=r'no numbers: output_3 \(.*\) bool'):
        recorded(tmp_path, stored)


@pytest.mark.parametrize('keys, problem', [
    ({'class_num': 6}, 'No assignment of the outputs to the heads fits'),
    ({'input_size': [250, 256]}, '250x256, which stride 8 does not divide'),
    ({'strides': [8, 16]}, 'The model has 10 outputs, but the parser needs 7'),
])
def test_a_model_that_does_not_fit_is_refused(tmp_path, keys, problem):
    with pytest.raises(ModelError, match=problem):
        recorded(tmp_path, store(make_scene()), **keys)


def test_a_model_is_reopened(tmp_path):
    first, second = (store(make_scene(seed)) for seed in (1, 2))
    pipeline = recorded(tmp_path, first)
    write_recording(second, tmp_path)
    pipeline.reopen()
    found = pipeline.process(black((256, 256))).detections
    assert_same(found, expected_of(second, (256, 256))[0], (256, 256))
    (tmp_path / 'model.npz').unlink()
    with pytest.raises(ConfigError, match='no such file'):
        pipeline.reopen()


# -- a real model ---------------------------------------------------------------------------------

MODEL = (320, 256)


@pytest.fixture(scope='module')
def finder(tmp_path_factory):
    """Pipelines by resize mode of a model that finds bright cells of 8x8 pixels."""
    folder = tmp_path_factory.mktemp('model')
    write_bright_finder(folder / 'bright.onnx', MODEL)
    values = {'model_file': 'bright.onnx', 'dnn_Parser': 'yolo26', 'class_num': 1, 'strides': [8],
              'pad_value': 0, 'score_threshold': 0.5}
    return {mode: Pipeline.open(make_work_config({**values, 'resize_mode': mode},
                                                 folder / 'config.json')) for mode in MODES}


def assert_finds(pipeline, size_wh, frame_of=frame_from_bgr):
    """The cells of a white box, found in a black picture, reach as far as the box does."""
    width, height = size_wh
    xyxy = np.array([width * 3 // 8, height // 4, width * 7 // 8, height * 3 // 4])
    bgr = np.zeros((height, width, 3), np.uint8)
    bgr[xyxy[1]:xyxy[3], xyxy[0]:xyxy[2]] = 255
    found = pipeline.process(frame_of(bgr)).detections
    assert len(found)
    boxes = found.xyxy_image
    extent = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    # a cell counts when half of it is bright, and sampling may shift an edge by half a pixel
    placement = place(size_wh, MODEL, pipeline.config.resize_mode)
    gain = np.tile([c / i for c, i in zip(placement.content, placement.image)], 2)
    assert (np.abs(extent - xyxy) <= 4.5 / gain + 0.5).all()


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('size_wh', [(1280, 720), (360, 640), (32, 20), (641, 479), (17, 13),
                                     (320, 256), (1920, 1080), (16, 16)])
def test_a_planted_object_is_found_at_its_pixel(finder, size_wh, mode):
    assert_finds(finder[mode], size_wh)


@settings(max_examples=60)
@given(st.integers(16, 800), st.integers(16, 800), st.sampled_from(MODES))
def test_a_planted_object_is_found_at_its_pixel_for_any_size(finder, width, height, mode):
    if 1 / 3 < width / height < 3:  # else the box is thinner than a cell
        assert_finds(finder[mode], (width, height))


def test_a_planted_object_is_found_in_a_grey_picture_with_padded_rows(finder):
    def mono(bgr):
        padded = np.full((bgr.shape[0], bgr.shape[1] + 9), 255, np.uint8)
        padded[:, :-9] = bgr[..., 0]
        return frame_from_buffer(padded.tobytes(), 'mono8', bgr.shape[1], bgr.shape[0],
                                 padded.shape[1])

    assert_finds(finder['letterbox'], (640, 480), mono)


def test_threads_share_a_pipeline(finder):
    pipeline, wrong = finder['letterbox'], []

    def work(size):
        try:
            for _ in range(20):
                assert_finds(pipeline, size)
        except Exception as error:  # an assertion of another thread would go unseen
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(size,))
               for size in ((320, 256), (200, 300), (640, 360), (64, 64))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_closed_pipeline_loses_frames_until_it_is_reopened(tmp_path):
    write_bright_finder(tmp_path / 'bright.onnx', MODEL)
    pipeline = Pipeline.open(make_work_config(
        {'model_file': 'bright.onnx', 'dnn_Parser': 'yolo26', 'class_num': 1, 'strides': [8]},
        tmp_path / 'config.json'))
    pipeline.close()
    with pytest.raises(InferenceError, match='closed'):
        pipeline.process(black((64, 64)))
    pipeline.reopen()
    assert len(pipeline.process(black((64, 64))).detections) == 0
    write_bright_finder(tmp_path / 'bright.onnx', (64, 96))
    pipeline.reopen()
    assert pipeline.facts.model_wh == (64, 96)
    assert len(pipeline.process(black((64, 64))).detections) == 0
    write_model(tmp_path / 'bright.onnx', [node('Identity', ['images'], ['same'])],
                [('images', 'float32', (1, 3, 32, 32))], [('same', 'float32', (1, 3, 32, 32))])
    with pytest.raises(ModelError, match='has 1 outputs, but the parser needs 2'):
        pipeline.reopen()
