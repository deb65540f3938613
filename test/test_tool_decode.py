"""``yolo_seg decode``: recorded tensors give what the pipeline gives, for every head family."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from heads_factory import Form, make_scene, store, write_recording
from model_text_factory import model_info_text
from pycocotools import mask as coco_mask
from reference import anchor_based_reference, anchor_free, geometry, nms_form_reference, \
    yolov4_reference
from reference.masks import full_mask

from yolo_seg_node.config import find_work_config, load_work_config
from yolo_seg_node.decoders.anchor_based import YOLOV5_ANCHORS
from yolo_seg_node.decoders.yolov4 import YOLOV4_ANCHORS
from yolo_seg_node.frame import frame_from_bgr
from yolo_seg_node.model_input import Preprocessor
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.tools.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / 'demo'))

from scenes import scene  # noqa: E402

INTEGERS = Form(dtypes={'box': 'int32', 'mc': 'int32', 'proto': 'int16'},
                per_channel=frozenset(['box', 'mc']))
# pycocotools does not know numpy 2 yet.
pytestmark = pytest.mark.filterwarnings('ignore:__array__ implementation')
STRIDES = (8, 16, 32)
MODEL_WH = (192, 128)
IMAGE_WH = (210, 100)


def decode(tmp_path, config, *args):
    """(exit code, records) of a run."""
    out = tmp_path / 'found.json'
    code = main(['decode', *map(str, [config, *args]), '--out', str(out)])
    return code, json.loads(out.read_text()) if code == 0 else None


def write_npz(path, arrays):
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{f'output_{i}': array for i, array in enumerate(arrays)})
    return path


def write_json(path, values):
    path.write_text(json.dumps(values))
    return path


def recorded(config_name, frames, folder):
    """Outputs of a demo model for each frame as files, the results of its pipeline, a config."""
    config = load_work_config(find_work_config(config_name))
    pipeline = Pipeline.open(config)
    results = []
    for i, frame in enumerate(frames):
        arrays, _ = Preprocessor(pipeline.runtime.input_format).prepare(frame)
        write_npz(folder / f'{i:03d}.npz', pipeline.runtime.infer(arrays))
        results.append(pipeline.process(frame).detections)
    values = json.loads(config.path.read_text())
    values.update(input_size=[320, 320], cls_names_list='config/shapes.list')
    if config.scales_file:
        values['scales_file'] = str(config.find(config.scales_file))
    return results, write_json(folder.parent / 'work.json', values)


def pictures(*sizes_wh):
    return [cv2.resize(scene(5_000_000 + i, 320)[0], size) for i, size in enumerate(sizes_wh)]


def assert_records_are(records, detections, image_id):
    assert len(records) == len(detections) > 0
    for record, xyxy, score, class_id, whole in zip(
            records, detections.xyxy_image.tolist(), detections.score.tolist(),
            detections.class_id.tolist(), whole_masks(detections)):
        x, y, w, h = record['bbox']
        assert [x, y, x + w, y + h] == pytest.approx(xyxy, abs=1e-4)
        assert (record['image_id'], record['category_id'], record['score']) == (
            image_id, class_id, score)
        np.testing.assert_array_equal(coco_mask.decode(record['segmentation']), whole)


def whole_masks(detections):
    width, height = detections.masks.size_wh
    for crop, (x, y) in zip(detections.masks.crops, detections.masks.origin_xy.tolist()):
        whole = np.zeros((height, width), bool)
        whole[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
        yield whole


@pytest.mark.parametrize('name', ['demo_float.json', 'demo_int.json'])
def test_one_recording_gives_what_the_pipeline_gives(tmp_path, name):
    (picture,) = pictures((400, 230))
    (expected,), config = recorded(name, [frame_from_bgr(picture)], tmp_path / 'npz')
    code, records = decode(tmp_path, config, '--tensors', tmp_path / 'npz/000.npz',
                           '--image-size', '400x230')
    assert code == 0
    assert_records_are(records, expected, 0)


def test_a_folder_and_its_data_list_of_pictures_and_npz(tmp_path):
    """Line i of the list belongs to file i of the folder; ids come from the names of pictures."""
    images = pictures((400, 230), (151, 300))
    expected, config = recorded('demo_int.json', map(frame_from_bgr, images), tmp_path / 'npz')
    cv2.imwrite(str(tmp_path / '000000000139.png'), images[0])
    np.savez(tmp_path / 'corridor.npz', input_0=images[1].transpose(2, 0, 1))
    (tmp_path / 'list.txt').write_text('/elsewhere/000000000139.png\ncorridor.npz\n')
    code, records = decode(tmp_path, config, '--tensors', tmp_path / 'npz', '--datalist',
                           tmp_path / 'list.txt')
    assert code == 0
    assert_records_are(records[:len(expected[0])], expected[0], 139)
    assert_records_are(records[len(expected[0]):], expected[1], 'corridor')


def test_ids_from_annotations(tmp_path):
    (picture,) = pictures((400, 230))
    (expected,), config = recorded('demo_float.json', [frame_from_bgr(picture)], tmp_path / 'npz')
    categories = [{'id': 10 * i, 'name': name} for i, name
                  in enumerate(('cylinder', 'cone', 'ball', 'box'), 1)]
    annotations = write_json(tmp_path / 'instances.json', {
        'images': [{'id': 77, 'file_name': '000.jpg', 'width': 400, 'height': 230}],
        'categories': categories, 'annotations': []})
    arguments = ('--tensors', tmp_path / 'npz/000.npz', '--image-size', '400x230')
    code, records = decode(tmp_path, config, *arguments, '--annotations', annotations)
    assert code == 0
    assert [record['category_id'] for record in records] == [
        40 - 10 * class_id for class_id in expected.class_id]
    assert {record['image_id'] for record in records} == {77}
    annotations.write_text(annotations.read_text().replace('000.jpg', '001.jpg'))
    assert decode(tmp_path, config, *arguments, '--annotations', annotations)[0] == 2


def anchor_free_records(real, scene_, image_wh, threshold=0.4):
    """(box, score, class id, mask) by the plain reference, best first."""
    placement = geometry.place(image_wh, scene_.size_wh)
    found = anchor_free.detections(real, scene_.strides, scene_.reg_max, placement,
                                   score_threshold=threshold, nms_threshold=0.5)
    for one, box in found:
        coefficients = real['mc', one.stride][one.row, one.column]
        yield box, one.score, one.class_id, full_mask(coefficients, real['proto', 4], box,
                                                      placement)


@pytest.mark.parametrize('source', ['config', 'sidecar', 'x5 text', 's100 text'])
def test_scales_from_every_source(tmp_path, source):
    stored = store(make_scene(size_wh=(320, 256)), INTEGERS)
    keys = write_recording(stored, tmp_path)
    scales = tmp_path / keys['scales_file']
    arguments = []
    if source != 'config':
        del keys['scales_file']
        arguments = ['--scales', scales]
    if source.endswith('text'):
        del keys['input_size']  # the text tells it
        board = source.split()[0]
        scales = tmp_path / f'{board}.txt'
        scales.write_text(model_info_text(stored.specs, stored.scene.size_wh, board))
        arguments = ['--scales', scales]
    code, records = decode(tmp_path, write_json(tmp_path / 'work.json', keys), '--tensors',
                           tmp_path / 'model.npz', '--image-size', '300x200', *arguments)
    assert code == 0
    assert_same_records(records, list(anchor_free_records(stored.real, stored.scene, (300, 200))))


def assert_same_records(records, expected):
    """Records against (box, score, class id and, where there are masks, mask) of a reference."""
    assert len(records) == len(expected) > 0
    for record, (box, score, class_id, *whole) in zip(records, expected):
        x, y, w, h = record['bbox']
        assert [x, y, x + w, y + h] == pytest.approx(box, abs=0.02)
        assert record['score'] == pytest.approx(score, abs=1e-3)
        assert record['category_id'] == class_id
        assert ('segmentation' in record) == bool(whole)
        for mask in whole:
            found = coco_mask.decode(record['segmentation']).astype(bool)
            assert np.count_nonzero(found ^ mask) <= 0.01 * np.count_nonzero(mask) + 1


def suppressed(boxes, image_wh, threshold):
    """Boxes of a reference through suppression, in the picture, best first."""
    placement = geometry.place(image_wh, MODEL_WH)
    found = [anchor_free.Found(tuple(box[:4]), box[4], box[5], 0, 0, 0) for box in boxes]
    in_image = [(geometry.box_in_image(placement, one.box), one.score, one.class_id)
                for one in anchor_free.suppress(found, threshold)]
    return [one for one in in_image if one[0][2] > one[0][0] and one[0][3] > one[0][1]]


def random_heads(seed=3, classes=7):
    """Raw heads with anchors, most of them well below the threshold."""
    rng = np.random.default_rng(seed)
    heads = [rng.normal(-2.5, 2.0, (3, 5 + classes, MODEL_WH[1] // s, MODEL_WH[0] // s))
             for s in STRIDES]
    for head in heads:
        head[:, :4] = rng.normal(0, 0.4, head[:, :4].shape)
    return [head.reshape(-1, *head.shape[2:]).astype(np.float32) for head in heads]


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
@pytest.mark.parametrize(('parser', 'anchors', 'formula', 'nms_threshold'), [
    ('yolov5', YOLOV5_ANCHORS, anchor_based_reference.yolov5_centre_size, 0.5),
    ('yolov4', YOLOV4_ANCHORS, anchor_based_reference.yolov4_centre_size, 0.6)])
def test_raw_heads_with_anchors(tmp_path, parser, anchors, formula, nms_threshold, layout):
    heads = random_heads()
    arrays = [(head if layout == 'NCHW' else head.transpose(1, 2, 0))[None] for head in heads]
    table = [anchors[0][stride] for stride in STRIDES]
    boxes = anchor_based_reference.decode(heads, STRIDES, table, 0.4, formula)
    assert_decodes_to(tmp_path, parser, arrays, suppressed(boxes, IMAGE_WH, nms_threshold))


def test_end_to_end_yolov4(tmp_path):
    table = [YOLOV4_ANCHORS[0][stride] for stride in STRIDES]
    boxes, confs = yolov4_reference.end_to_end(random_heads(), STRIDES, table, MODEL_WH)
    expected = yolov4_reference.decode(boxes, confs, MODEL_WH, 0.4)
    assert_decodes_to(tmp_path, 'yolov4', [boxes, confs], suppressed(expected, IMAGE_WH, 0.6))


def assert_decodes_to(tmp_path, parser, arrays, expected):
    config = write_json(tmp_path / 'work.json', {
        'model_file': 'none', 'dnn_Parser': parser, 'class_num': 7, 'input_size': MODEL_WH})
    npz = write_npz(tmp_path / 'npz' / 'corridor.npz', arrays)
    code, records = decode(tmp_path, config, '--tensors', npz, '--image-size',
                           'x'.join(map(str, IMAGE_WH)))
    assert code == 0
    assert_same_records(records, expected)


@pytest.mark.parametrize('masks', [True, False])
def test_finished_boxes_of_a_card(tmp_path, masks):
    """Padded with -1; the size of the model is that of the vdsp_params."""
    rng = np.random.default_rng(0)
    rows = [nms_form_reference.Row(2, 0.5, (40.0, 30.0, 120.0, 100.0), tuple(rng.normal(size=8))),
            nms_form_reference.Row(5, 0.75, (50.0, 20.0, 150.0, 90.0), tuple(rng.normal(size=8)))]
    proto = rng.normal(0, 1, (8, MODEL_WH[1] // 4, MODEL_WH[0] // 4)).astype(np.float16)
    arrays = nms_form_reference.outputs_of(rows, 20, proto)[:5 if masks else 3]
    write_json(tmp_path / 'vdsp.json', {
        'OpType': 'FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR', 'OpConfig': {
            'IimageFormat': 'BGR888', 'OimageWidth': MODEL_WH[0], 'OimageHeight': MODEL_WH[1],
            'NormaType': 'DIV255'}})
    config = write_json(tmp_path / 'work.json', {
        'model_file': 'mod', 'dnn_Parser': 'yolov8_seg' if masks else 'yolov8', 'class_num': 7,
        **({'num_mask': 8} if masks else {}), 'vdsp_params': 'vdsp.json'})
    placement = geometry.place(IMAGE_WH, MODEL_WH)
    expected = []
    for row in sorted(rows, key=lambda row: -row.score):
        box = geometry.box_in_image(placement, row.xyxy)
        coefficients = np.float16(row.coefficients)
        mask = [full_mask(coefficients, proto.transpose(1, 2, 0), box, placement)] * masks
        expected.append((box, row.score, row.class_id, *mask))
    npz = write_npz(tmp_path / 'npz' / 'corridor.npz', arrays)
    code, records = decode(tmp_path, config, '--tensors', npz, '--image-size', '210x100')
    assert code == 0
    assert_same_records(records, expected)


@pytest.mark.parametrize('keys', [{'resize_mode': 'letterbox'}, {'resize_mode': 'stretch'},
                                  {'resize_mode': 'letterbox_top_left'},
                                  {'model_file': 'board.bin'}])
def test_the_picture_lies_where_the_model_had_it(tmp_path, keys):
    """301x181 pixels: NV12 models of a board need even places, others do not."""
    arrays = nms_form_reference.outputs_of(
        [nms_form_reference.Row(0, 0.5, (60.0, 40.0, 130.0, 100.0), ())], 3,
        np.zeros((0, 1, 1)))[:3]
    config = write_json(tmp_path / 'work.json', {
        'model_file': 'm.onnx', 'dnn_Parser': 'yolov8', 'input_size': MODEL_WH, **keys})
    npz = write_npz(tmp_path / 'npz' / 'a.npz', arrays)
    placement = geometry.place((301, 181), MODEL_WH, keys.get('resize_mode', 'letterbox'),
                               2 if 'model_file' in keys else 1)
    code, (record,) = decode(tmp_path, config, '--tensors', npz, '--image-size', '301x181')
    assert code == 0
    x, y, w, h = record['bbox']
    assert [x, y, x + w, y + h] == pytest.approx(
        geometry.box_in_image(placement, (60, 40, 130, 100)), abs=1e-3)


def errors_of(tmp_path, capsys, config, *args):
    assert decode(tmp_path, config, *args)[0] == 2
    return capsys.readouterr().err


def test_bad_input_is_a_sentence(tmp_path, capsys):
    arrays = random_heads()
    keys = {'model_file': 'none', 'dnn_Parser': 'yolov5', 'class_num': 7, 'input_size': MODEL_WH}
    config = write_json(tmp_path / 'work.json', keys)
    one = write_npz(tmp_path / 'npz' / 'a.npz', arrays)
    size = ('--image-size', '210x100')

    def errors(*args, config=config):
        return errors_of(tmp_path, capsys, config, *args)

    assert 'no such file or folder' in errors('--tensors', tmp_path / 'none.npz', *size)
    assert 'give --datalist' in errors('--tensors', tmp_path / 'npz', *size)
    assert 'no such file' in errors('--tensors', one, *size, '--scales', tmp_path / 'none.json')
    (tmp_path / 'broken.npz').write_bytes(one.read_bytes()[:100])
    assert 'cannot be read' in errors('--tensors', tmp_path / 'broken.npz', *size)
    sizeless = write_json(tmp_path / 'b.json', {k: keys[k] for k in list(keys)[:3]})
    assert 'set "input_size"' in errors('--tensors', one, *size, config=sizeless)
    other = write_json(tmp_path / 'c.json', {**keys, 'class_num': 6})
    assert 'expected anchors_8 16x24x33' in errors('--tensors', one, *size, config=other)
    assert 'one of the shipped' in errors('--tensors', one, *size, config='none.json')


def test_bad_data_lists(tmp_path, capsys):
    config = write_json(tmp_path / 'work.json', {
        'model_file': 'none', 'dnn_Parser': 'yolov5', 'class_num': 7, 'input_size': MODEL_WH})
    write_npz(tmp_path / 'npz' / 'a.npz', random_heads())
    data_list = tmp_path / 'list.txt'

    def errors(text):
        data_list.write_text(text)
        return errors_of(tmp_path, capsys, config, '--tensors', tmp_path / 'npz', '--datalist',
                         data_list)

    np.savez(tmp_path / 'grey.npz', input_0=np.zeros((1, 4, 4)))
    (tmp_path / 'text.jpg').write_text('no picture')
    assert 'has 2 lines, but there are 1 recordings' in errors('a.jpg\nb.jpg\n')
    assert "names 'a.jpg', which does not exist" in errors('a.jpg\n')
    assert 'a picture has (3, h, w)' in errors('grey.npz\n')
    assert 'no picture that can be decoded' in errors('text.jpg\n')


def test_recordings_of_two_models_are_not_mixed(tmp_path, capsys):
    config = write_json(tmp_path / 'work.json', {
        'model_file': 'none', 'dnn_Parser': 'yolov5', 'class_num': 7, 'input_size': MODEL_WH})
    write_npz(tmp_path / 'npz' / 'a.npz', random_heads())
    write_npz(tmp_path / 'npz' / 'b.npz', [head.astype(np.float16) for head in random_heads()])
    cv2.imwrite(str(tmp_path / 'picture.png'), np.zeros((100, 210, 3), np.uint8))
    (tmp_path / 'list.txt').write_text('picture.png\npicture.png\n')
    assert 'all must be of the same model' in errors_of(
        tmp_path, capsys, config, '--tensors', tmp_path / 'npz', '--datalist',
        tmp_path / 'list.txt')


@pytest.mark.parametrize('size', ['0x10', '10', '10x', 'axb', '10x10x3'])
def test_bad_sizes(tmp_path, capsys, size):
    with pytest.raises(SystemExit) as error:
        main(['decode', 'c.json', '--tensors', 'a.npz', '--image-size', size, '--out', 'o.json'])
    assert error.value.code == 2
    assert 'write WIDTHxHEIGHT, as in 1280x720' in capsys.readouterr().err
