"""``yolo_seg export`` of ONNX files; checkpoints are in test_export/, since they need torch."""
from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

onnx = pytest.importorskip('onnx', reason='these tests need the extra "export"')
pytest.importorskip('onnxruntime', reason='these tests need onnxruntime')

from onnx_factory import anchor_based_model, raw_model, save, ultralytics_model  # noqa: E402
from test_tool_rdk_files import YOLO11_REMOVED, modifier_log  # noqa: E402
from yolo_seg_node.config import load_work_config  # noqa: E402
from yolo_seg_node.frame import frame_from_compressed  # noqa: E402
from yolo_seg_node.pipeline import Pipeline  # noqa: E402
from yolo_seg_node.tools import cli  # noqa: E402
from yolo_seg_node.tools.export_targets import TARGETS  # noqa: E402

ROOT = Path(__file__).parents[1]
SEG = {'cls': 5, 'box': 64, 'mc': 16}
COMPILED = {'rdk-x3': 'toy_seg_bernoulli2_96x64_nv12', 'rdk-ultra': 'toy_seg_bayes_96x64_nv12',
            'rdk-x5': 'toy_seg_bayese_96x64_nv12', 'rdk-s100': 'toy_seg_nashe_96x64_nv12'}
REMOVED = [node.replace('model.23', 'model.22') for node in list(YOLO11_REMOVED.values())[:-1]]
NAMES = ['one', 'two', 'three', 'four', 'five']


def export(tmp_path, target, *arguments, model=None, name='toy-seg.onnx'):
    weights = save(model or ultralytics_model(SEG)[0], tmp_path / name)
    code = cli.main(['export', '--weights', str(weights), '--target', target,
                     '--out', str(tmp_path / 'out'), *map(str, arguments)])
    return code, tmp_path / 'out'


def commands(folder):
    """The commands in README.txt, each on one line."""
    text = (folder / 'README.txt').read_text().replace('\\\n', ' ')
    return [' '.join(line.split()) for line in text.splitlines() if line.startswith('    ')]


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    for i in range(22):
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 255, (40, 60, 3), np.uint8))
    return folder


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_text('\n'.join(NAMES))
    return path


@pytest.mark.parametrize('target', TARGETS)
def test_the_folder_holds_all_that_the_work_config_names(tmp_path, target, labels, pictures):
    code, folder = export(tmp_path, target, '--labels', labels, '--calibration', pictures)
    assert code == 0
    config = load_work_config(folder / 'toy-seg.json')
    assert (config.parser, config.class_num, config.reg_max, config.num_mask, config.strides) == (
        'yolov8_seg', 5, 16, 16, (8, 16, 32))
    assert config.class_names == tuple(NAMES)
    listed = (folder / 'README.txt').read_text()
    for path in folder.iterdir():
        assert path.name in listed or path.name == 'README.txt'


@pytest.mark.parametrize('target', TARGETS)
def test_the_work_config_runs_here(tmp_path, target):
    """The board's model does not exist yet, so its fallback runs."""
    _, folder = export(tmp_path, target)
    pipeline = Pipeline.open(load_work_config(folder / 'toy-seg.json'))
    picture = cv2.imencode('.png', np.full((30, 50, 3), 90, np.uint8))[1].tobytes()
    pipeline.update(score_threshold=0.0)
    assert len(pipeline.process(frame_from_compressed(picture)).detections) > 0
    assert pipeline.facts.model_wh == (96, 64)


@pytest.mark.parametrize('target', ['rdk-x3', 'rdk-ultra', 'rdk-x5'])
def test_three_commands_are_left_for_a_board_with_bin_models(tmp_path, target):
    _, folder = export(tmp_path, target)
    compiled = COMPILED[target]
    assert commands(folder) == [
        f'hb_mapper makertbin --model-type onnx --config {compiled}.yaml',
        f'hb_model_modifier {compiled}.bin ' + ' '.join(
            f'-r {node}' for node in [*REMOVED, 'proto_HzDequantize']),
        'ros2 run yolo_seg_node yolo_seg_node --ros-args -p config_file:=$PWD/toy-seg.json']
    assert json.loads((folder / 'toy-seg.json').read_text())['model_file'] == (
        f'{compiled}_modified.bin')


def test_three_commands_are_left_for_an_s100(tmp_path):
    _, folder = export(tmp_path, 'rdk-s100')
    compiled = COMPILED['rdk-s100']
    assert commands(folder)[:2] == [f'hb_compile --config {compiled}.yaml',
                                    f'hrt_model_exec model_info --model_file {compiled}.hbm']
    config = yaml.safe_load((folder / f'{compiled}.yaml').read_text())
    assert len(config['model_parameters']['remove_node_name'].split(';')) == 7


def test_three_commands_are_left_for_vacc(tmp_path):
    _, folder = export(tmp_path, 'vacc')
    prefix = 'deploy_weights/toy-seg_int8/mod'
    assert commands(folder)[:2] == [
        'vamc compile toy-seg_vamc.yaml',
        f'vamp -m {prefix} --vdsp_params toy-seg_vdsp_params.json -i 1 -p 1 -b 1']
    assert json.loads((folder / 'toy-seg.json').read_text())['model_file'] == prefix


def test_the_commands_name_files_that_are_there(tmp_path):
    for target in ('rdk-x5', 'rdk-s100', 'vacc'):
        _, folder = export(tmp_path, target)
        config = shlex.split(commands(folder)[0])[-1]
        assert yaml.safe_load((folder / config).read_text())


@pytest.mark.parametrize('target, layout', [('rdk-x5', 'NHWC'), ('vacc', 'NCHW'), ('onnx', 'NHWC')])
def test_heads_have_the_layout_of_the_target(tmp_path, target, layout):
    _, folder = export(tmp_path, target)
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim][1:]
              for value in onnx.load(str(folder / 'toy-seg.onnx')).graph.output}
    assert shapes['mc_16'] == ([4, 6, 16] if layout == 'NHWC' else [16, 4, 6])
    assert list(shapes)[:3] == (['cls_8', 'box_8', 'mc_8'] if layout == 'NHWC'
                                else ['box_8', 'cls_8', 'box_16'])


@pytest.mark.parametrize('target, names', [
    ('rdk-x5', 'calibration_data_rgb_f32/*.rgb'), ('rdk-s100', 'calibration_data_rgb_f32/*.npy'),
    ('vacc', 'calibration_pictures/*.jpg'), ('onnx', '*.nothing')])
def test_calibration_pictures_are_written_for_the_target(tmp_path, target, names, pictures):
    _, folder = export(tmp_path, target, '--calibration', pictures, '--count', 20)
    assert len(list(folder.glob(names))) == (0 if target == 'onnx' else 20)


def test_without_pictures_the_readme_says_what_is_missing(tmp_path):
    _, folder = export(tmp_path, 'rdk-x5')
    assert 'missing: export again with --calibration DIR' in (folder / 'README.txt').read_text()


def test_node_names_come_from_the_log_where_it_is_given(tmp_path):
    roles = [f'{kind}_{s}' for kind in ('box', 'mc') for s in (8, 16, 32)] + ['proto']
    log = tmp_path / 'hb_model_modifier.log'
    log.write_text(modifier_log({role: f'/renamed/{role}_HzDequantize' for role in roles}))
    _, folder = export(tmp_path, 'rdk-x5', '--modifier-log', log)
    assert commands(folder)[1].split(' -r ')[1:] == [f'/renamed/{r}_HzDequantize' for r in roles]


def test_a_log_of_another_model_writes_nothing(tmp_path, capsys):
    log = tmp_path / 'hb_model_modifier.log'
    log.write_text(modifier_log({'585': '585_HzDequantize'}))
    code, folder = export(tmp_path, 'rdk-x5', '--modifier-log', log)
    assert code == 2 and not folder.exists()
    assert 'no Dequantize node for the output(s) box_8' in capsys.readouterr().err


def test_a_cut_model_is_taken_as_it_is_but_for_the_traces_of_its_making(tmp_path):
    model = raw_model(SEG)
    code, folder = export(tmp_path, 'onnx', model=model)
    written = folder / 'toy-seg.onnx'
    assert code == 0 and b'/home/somebody' not in written.read_bytes()
    nodes = [[(node.name, list(node.input), list(node.output)) for node in m.graph.node]
             for m in (model, onnx.load(str(written)))]
    assert nodes[0] == nodes[1]


def test_an_anchor_based_model_of_another_framework(tmp_path, capsys):
    model, _ = anchor_based_model(class_num=7)
    code, folder = export(tmp_path, 'vacc', model=model, name='v5.onnx')
    assert code == 2 and not folder.exists()
    assert 'anchor-based; say which with --parser: yolov5' in capsys.readouterr().err
    code, folder = export(tmp_path, 'vacc', '--parser', 'yolov5', model=model, name='v5.onnx')
    config = load_work_config(folder / 'v5.json')
    assert code == 0 and (config.parser, config.class_num) == ('yolov5', 7)
    assert Pipeline.open(config).facts.has_masks is False


def test_nv12_or_rgb(tmp_path):
    _, folder = export(tmp_path, 'rdk-x5', '--input', 'rgb')
    assert (folder / 'toy_seg_bayese_96x64_rgb.yaml').exists()
    _, folder = export(tmp_path, 'vacc', '--input', 'nv12')
    assert 'NV12' in (folder / 'toy-seg_vdsp_params.json').read_text()


@pytest.mark.parametrize('target, arguments, sentence', [
    ('onnx', ['--input', 'nv12'], 'can only be fed with rgb'),
    ('rdk-x5', ['--imgsz', '640'], '--imgsz is for checkpoints'),
    ('rdk-x5', ['--modifier-log', 'nowhere.log'], 'log cannot be read'),
    ('rdk-x5', ['--calibration', 'nowhere'], 'There is no folder'),
    ('rdk-x5', ['--parser', 'yolov4'], 'which is for anchor-based models'),
])
def test_what_cannot_be_done_is_said_before_anything_is_written(
        tmp_path, capsys, target, arguments, sentence):
    code, folder = export(tmp_path, target, *arguments)
    assert code == 2 and not folder.exists()
    assert sentence in capsys.readouterr().err


def test_the_model_that_was_given_is_not_overwritten(tmp_path, capsys):
    code, _ = export(tmp_path, 'vacc', '--out', tmp_path)
    assert code == 2 and 'would overwrite' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['toy-seg.onnx']


@pytest.mark.parametrize('weights, sentence', [
    ('model.h5', 'is no ultralytics checkpoint (.pt or .yaml)'),
    ('nowhere.pt', 'There is no checkpoint')])
def test_weights_of_another_kind_are_refused(tmp_path, capsys, weights, sentence):
    assert cli.main(['export', '--weights', str(tmp_path / weights), '--target', 'onnx',
                     '--out', str(tmp_path / 'out')]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize('package', ['torch', 'ultralytics'])
def test_missing_packages_are_named_with_what_to_install(tmp_path, capsys, monkeypatch, package):
    for name in ('torch', 'ultralytics'):
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)
    assert cli.main(['export', '--weights', 'yolo11n-seg.yaml', '--target', 'rdk-x5',
                     '--out', str(tmp_path / 'out')]) == 2
    assert f'{package} cannot be imported' in (error := capsys.readouterr().err)
    assert '`pip install torch torchvision ultralytics`' in error


def documented():
    """The commands of docs/export.md, continued lines joined."""
    text = (ROOT / 'docs/export.md').read_text().replace('\\\n', ' ')
    return re.findall('^yolo_seg (.*)$', text, re.MULTILINE)


@pytest.mark.parametrize('command', documented())
def test_documented_commands_have_right_arguments(command, capsys, monkeypatch):
    """The files that they name are not there, so each stops with a sentence about that."""
    monkeypatch.chdir(ROOT / 'docs')
    assert cli.main(shlex.split(command)) == 2
    assert capsys.readouterr().err.startswith(f'yolo_seg {command.split()[0]}: ')


@pytest.mark.parametrize('size', ['0', '640x', 'big', '-32'])
def test_a_size_that_is_none_is_refused(size, capsys):
    with pytest.raises(SystemExit):
        cli.main(['export', '--weights', 'm.pt', '--target', 'onnx', f'--imgsz={size}'])
    assert 'is no size' in capsys.readouterr().err
