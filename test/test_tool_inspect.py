"""``yolo_seg inspect`` on the demo models, on saved model_info texts, and on what does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from heads_factory import Form, make_scene, store
from model_text_factory import model_info_text

from yolo_seg_node.tensors import TensorSpec
from yolo_seg_node.tools.cli import main

ROOT = Path(__file__).parents[1]
X5_TEXT = Path(__file__).parent / 'data' / 'model_info_x5.txt'
INTEGERS = Form(dtypes={'box': 'int32', 'mc': 'int32', 'proto': 'int16'},
                per_channel=frozenset(['box', 'mc']))
HEADER = ['output', 'shape', 'dtype', 'scales', 'role', 'decided', 'by']


def inspect(capsys, *args):
    """(exit code, printed lines, errors)."""
    code = main(['inspect', *map(str, args)])
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err


def fields(lines):
    """The lines before the table as name -> value; the last of equal names."""
    return {line[:12].strip(): line[13:] for line in lines[:header_index(lines)]}


def header_index(lines):
    return next(i for i, line in enumerate(lines) if line.split() == HEADER)


def table(lines):
    """Rows of the table as dicts, cut at the columns of the header."""
    header = lines[header_index(lines)]
    names = ('output', 'shape', 'dtype', 'scales', 'role', 'decided by')
    starts = [header.index(name) for name in names] + [None]
    return [{name: line[start:end].strip() for name, start, end
             in zip(names, starts, starts[1:])} for line in lines[header_index(lines) + 1:]]


def test_a_work_config_whose_model_opens_here(capsys):
    code, lines, _ = inspect(capsys, 'demo_int.json')
    found, rows = fields(lines), table(lines)
    sidecar = json.loads((ROOT / 'resource/demo/shapes_seg_int.scales.json').read_text())
    assert code == 0
    assert found['work config'] == str(ROOT / 'config/demo_int.json')
    assert found['parser'] == 'yolov8_seg'
    assert found['classes'] == '4: box, ball, cone, cylinder'
    assert found['runtime'] == 'onnxruntime CPUExecutionProvider'
    assert found['input'].startswith('nchw 320x320, letterbox, float32, rgb, (pixel - [0, 0, 0])')
    assert found['decoder'] == 'AnchorFreeDecoder'
    assert [row['output'] for row in rows] == [
        *(f'{kind}_{s}' for s in (8, 16, 32) for kind in ('cls', 'box', 'mc')), 'proto']
    assert [row['role'] for row in rows] == [
        *(f'{kind} stride {s} NHWC' for s in (8, 16, 32) for kind in ('cls', 'box', 'mc')),
        'proto stride 4 NHWC']
    assert {row['decided by'] for row in rows} == {'shape'}
    scale = sidecar['outputs']['mc_16']['scale']
    assert rows[5] == {'output': 'mc_16', 'shape': '1x20x20x32', 'dtype': 'int32',
                       'scales': f'32 on axis 3: {min(scale):.3g}..{max(scale):.3g}',
                       'role': 'mc stride 16 NHWC', 'decided by': 'shape'}
    assert rows[0]['scales'] == '-'


def test_a_bare_model_lists_what_fits_and_which_scales_are_missing(capsys):
    code, lines, _ = inspect(capsys, ROOT / 'resource/demo/shapes_seg_int.onnx')
    assert code == 0
    fit = '"dnn_Parser": "yolov8_seg", "class_num": 4, "strides": [8, 16, 32]'
    assert f'fits         {fit}' in lines
    rows = table(lines)
    assert [row['scales'] for row in rows] == ['-', 'missing', 'missing'] * 3 + ['missing']
    assert rows[9]['role'] == 'proto stride 4 NHWC'


def test_the_text_of_an_x5_model_without_its_board(capsys):
    code, lines, _ = inspect(capsys, X5_TEXT)
    found, rows = fields(lines), table(lines)
    assert code == 0
    assert found['runtime'] == ('none, described by model_info_x5.txt '
                                '(model yolo11nseg_detect_bayese_640x640_nv12)')
    assert found['input'] == 'nv12 640x640, letterbox, padding 114'
    assert found['fits'] == '"dnn_Parser": "yolov8_seg", "class_num": 80, "strides": [8, 16, 32]'
    assert rows[0] == {'output': 'output0', 'shape': '1x80x80x80', 'dtype': 'float32',
                       'scales': '-', 'role': 'cls stride 8 NHWC',
                       'decided by': 'shape; its layout by the others'}
    assert rows[2]['scales'].startswith('32 on axis 3: ')
    assert (rows[9]['role'], rows[9]['scales']) == ('proto stride 4 NHWC', '1: 0.000192')


def test_a_work_config_with_the_text_in_place_of_its_model(capsys):
    code, lines, _ = inspect(capsys, 'yolo11_seg_x5.json', '--model-info', X5_TEXT)
    found = fields(lines)
    assert code == 0
    assert found['model'] == 'yolo11n_seg_bayese_640x640_nv12_modified.bin'
    assert any(line.startswith('runs here    nothing: No runtime on this machine')
               for line in lines)
    assert any('hobot_dnn: the binding of RDK X3, Ultra and X5 cannot be imported' in line
               for line in lines)
    assert [row['role'].split()[0] for row in table(lines)] == ['cls', 'box', 'mc'] * 3 + ['proto']


def test_the_text_of_an_s100_model(capsys, tmp_path):
    stored = store(make_scene(size_wh=(320, 256)), INTEGERS)
    text = tmp_path / 'model_info.log'
    text.write_text(model_info_text(stored.specs, stored.scene.size_wh, 's100', 'toy'))
    code, lines, _ = inspect(capsys, text)
    found, rows = fields(lines), table(lines)
    assert code == 0
    assert found['input'] == 'y_uv 320x256, letterbox, padding 114'
    assert '"class_num": 5' in found['fits']
    scale = stored.specs[1].quantization.scale
    assert rows[1]['scales'] == f'64 on axis 3: {scale.min():.3g}..{scale.max():.3g}'
    assert rows[1]['role'] == 'box stride 8 NHWC'


@pytest.mark.parametrize(('form', 'why'), [
    (Form(), 'order, as 1 has the same shape'),
    (Form(dtypes={'box': 'int32'}, per_channel=frozenset(['box'])),
     'dtype and order, as 1 has the same shape')])
def test_why_64_classes_are_told_from_64_box_values(capsys, tmp_path, form, why):
    stored = store(make_scene(class_num=64, size_wh=(320, 256)), form)
    text = tmp_path / 'model_info.txt'
    text.write_text(model_info_text(stored.specs, stored.scene.size_wh))
    _, lines, _ = inspect(capsys, write_config(tmp_path, class_num=64), '--model-info', text)
    rows = table(lines)
    assert [row['role'].split()[0] for row in rows[:3]] == ['cls', 'box', 'mc']
    assert (rows[0]['decided by'], rows[2]['decided by']) == (why, 'shape')


def test_the_word_of_the_user_goes_first(capsys, tmp_path):
    stored = store(make_scene(), Form(order='vacc'))
    text = tmp_path / 'model_info.txt'
    text.write_text(model_info_text(stored.specs, stored.scene.size_wh))
    order = [stored.places[role, s] for s in (8, 16, 32) for role in ('cls', 'box', 'mc')] + [9]
    config = write_config(tmp_path, class_num=5, output_order=order)
    _, lines, _ = inspect(capsys, config, '--model-info', text)
    assert {row['decided by'] for row in table(lines)} == {'"output_order"'}


def write_config(folder, **keys):
    path = folder / 'work.json'
    path.write_text(json.dumps({'model_file': 'no_such.bin', 'dnn_Parser': 'yolov8_seg', **keys}))
    return path


def specs_of(*shapes, dtype=np.float32):
    return [TensorSpec(f'out{i}', shape, np.dtype(dtype)) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(('shapes', 'fits', 'decoder'), [
    ([(1, 12, 12, 255), (1, 6, 6, 255), (1, 3, 3, 255)], ['yolov5', 'yolov4', 'yolov3'],
     'AnchorBasedDecoder'),
    ([(1, 100), (1, 100), (1, 100, 4)], ['yolov8'], 'SuppressedDecoder'),
    ([(1, 567, 1, 4), (1, 567, 80)], ['yolov4'], 'EndToEndDecoder'),
    ([(1, 84, 189)], ['yolov8'], 'CombinedDecoder'),
    ([(1, 116, 189, 1), (1, 32, 24, 24)], ['yolov8_seg'], 'CombinedDecoder'),
    ([(1, 12, 12, 7), (1, 12, 12, 4), (1, 6, 6, 7), (1, 6, 6, 4), (1, 3, 3, 7), (1, 3, 3, 4)],
     ['yolo26'], 'AnchorFreeDecoder'),
])
def test_bare_models_of_every_family(capsys, tmp_path, shapes, fits, decoder):
    text = tmp_path / 'model_info.txt'
    text.write_text(model_info_text(specs_of(*shapes), (96, 96)))
    code, lines, _ = inspect(capsys, text)
    parsers = [json.loads('{' + line[13:] + '}')['dnn_Parser'] for line in lines
               if line.startswith('fits ')]
    assert (code, parsers, fields(lines)['decoder']) == (0, fits, decoder)


def test_a_model_that_fits_no_parser(capsys, tmp_path):
    text = tmp_path / 'model_info.txt'
    text.write_text(model_info_text(specs_of((1, 1000)), (96, 96)))
    code, lines, errors = inspect(capsys, text)
    assert code == 2
    assert 'No parser fits this model' in errors
    assert table(lines)[0]['shape'] == '1x1000'


def test_a_config_that_does_not_fit_shows_the_outputs_and_the_table(capsys, tmp_path):
    keys = json.loads((ROOT / 'config/demo_float.json').read_text())
    keys.update(class_num=7, model_file=str(ROOT / 'resource/demo/shapes_seg_float.onnx'))
    del keys['cls_names_list']
    (tmp_path / 'work.json').write_text(json.dumps(keys))
    code, lines, errors = inspect(capsys, tmp_path / 'work.json')
    assert code == 2
    assert 'expected cls_8    40x40x7' in errors
    assert [row['role'] for row in table(lines)] == [''] * 10
    assert table(lines)[0]['shape'] == '1x40x40x4'


@pytest.mark.parametrize(('args', 'message'), [
    (['no_such.json'], 'there is no such file; give a path, or one of the shipped: demo_float'),
    (['no_such.onnx'], "There is no model 'no_such.onnx'"),
    (['no_such.txt'], "There is no model 'no_such.txt'"),
    ([ROOT / 'config/coco.list'], 'No runtime is known for model files like'),
    ([X5_TEXT, '--model-info', X5_TEXT], '--model-info goes with a work config'),
    (['yolo11_seg_x5.json', '--model-info', ROOT / 'LICENSE'], 'holds no model with outputs'),
    (['yolo11_seg_x5.json'], '"model_file" is'),
])
def test_what_cannot_be_inspected(capsys, args, message):
    code, _, errors = inspect(capsys, *args)
    assert code == 2
    assert message in errors
