"""``yolo_seg quantize``: the trained demo model with the integer heads of a board."""
from __future__ import annotations

import contextlib
import functools
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='these tests need the extra "export"')
onnxruntime = pytest.importorskip('onnxruntime', reason='these tests need onnxruntime')

from dataset import write_coco_set  # noqa: E402
from onnx_factory import raw_model, save, ultralytics_model  # noqa: E402
from scenes import scene  # noqa: E402
from yolo_seg_node.config import load_work_config  # noqa: E402
from yolo_seg_node.frame import frame_from_compressed  # noqa: E402
from yolo_seg_node.pipeline import Pipeline  # noqa: E402
from yolo_seg_node.tools import cli  # noqa: E402

ROOT = Path(__file__).parents[1]
FLOAT_FILE = ROOT / 'resource/demo/shapes_seg_float.onnx'
KINDS = {'cls': 'float32', 'box': 'int32', 'mc': 'int32', 'proto': 'int16'}
HELD_OUT = 5_000_000  # seeds that neither training nor calibration draws from


@functools.lru_cache
def session(path):
    source = path if isinstance(path, bytes) else str(path)
    return onnxruntime.InferenceSession(source, providers=['CPUExecutionProvider'])


def run(path, array):
    opened = session(path)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, {'images': array})))


def held_out(number):
    bgr = scene(HELD_OUT + number, 320)[0]
    return np.ascontiguousarray(bgr[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255


def quantize(folder, pictures, *arguments, model=FLOAT_FILE, name='int8'):
    path = folder / f'{name}.onnx'
    code = cli.main(['quantize', str(model), '--calibration', str(pictures), '--out', str(path),
                     *map(str, arguments)])
    return code, path


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('calibration')
    for seed in range(24):
        cv2.imwrite(str(folder / f'{seed}.png'), scene(1000 + seed, 320)[0])
    return folder


@pytest.fixture(scope='module')
def integer(tmp_path_factory, pictures):
    """The quantised demo model."""
    code, path = quantize(tmp_path_factory.mktemp('int8'), pictures,
                          '--labels', ROOT / 'config/shapes.list')
    assert code == 0
    return path


@pytest.fixture(scope='module')
def scales(integer):
    return json.loads(integer.with_suffix('.scales.json').read_text())['outputs']


@pytest.fixture(scope='module')
def twin_and_text(tmp_path_factory, pictures):
    """The same int8 model with nothing removed, so that all outputs are real; and what is said."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        code, path = quantize(tmp_path_factory.mktemp('twin'), pictures, '--integer')
    assert code == 0
    return path, text.getvalue()


@pytest.fixture(scope='module')
def twin(twin_and_text):
    return twin_and_text[0]


def dequantised(outputs, scales):
    return {name: value * np.float32(scales[name]['scale']) if name in scales else value
            for name, value in outputs.items()}


def cosine(a, b):
    a, b = a.ravel().astype(float), b.ravel().astype(float)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_outputs_keep_names_order_and_shapes_and_have_the_types_of_a_board(integer):
    wanted, found = (session(path).get_outputs() for path in (FLOAT_FILE, integer))
    assert [(o.name, o.shape) for o in found] == [(o.name, o.shape) for o in wanted]
    for name, value in run(integer, held_out(0)).items():
        assert value.dtype == KINDS[name.split('_')[0]], name


def test_the_sidecar_has_the_scales_of_the_integer_outputs(integer, scales):
    shapes = {output.name: output.shape for output in session(integer).get_outputs()}
    assert set(scales) == {name for name in shapes if not name.startswith('cls')}
    for name, entry in scales.items():
        count, axis = (1, None) if name == 'proto' else (shapes[name][3], 3)
        assert (len(entry['scale']), entry['axis'], entry['zero_point']) == (count, axis, 0)


@pytest.mark.parametrize('number', range(3))
def test_real_values_follow_the_float_model(integer, scales, number):
    wanted = run(FLOAT_FILE, held_out(number))
    for name, value in dequantised(run(integer, held_out(number)), scales).items():
        assert cosine(value, wanted[name]) > 0.98, name


@pytest.mark.parametrize('number', range(2))
def test_only_the_last_dequantise_differs_from_the_model_with_all_of_them(
        integer, twin, scales, number):
    """float32 rounds a sum of up to 2**24 steps; the prototypes may fall on the next step."""
    wanted = run(twin, held_out(number))
    for name, value in dequantised(run(integer, held_out(number)), scales).items():
        step = scales[name]['scale'][0] if name == 'proto' else 1e-5
        assert wanted[name].dtype == np.float32
        assert np.abs(value - wanted[name]).max() <= step, name
        if name.startswith('cls'):
            assert np.array_equal(value, wanted[name])


def test_integer_heads_are_exact_sums_of_products(integer):
    """(x - zero point) @ (weight - zero point) + bias in 64 bits from the file's constants."""
    model = onnx.load(str(integer))
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    products = {node.output[0]: node for node in model.graph.node
                if node.op_type == 'MatMulInteger'}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(node.input[0])
                              for node in products.values())
    outputs = run(model.SerializeToString(), held_out(0))
    heads = [name for name in outputs if name.startswith(('box_', 'mc_')) and '/' not in name]
    assert len(heads) == 6
    for name in heads:
        value, weight, zero_point, weight_zero_point = products[f'{name}/product'].input
        x = outputs[value].astype(np.int64) - constants[zero_point]
        w = constants[weight].astype(np.int64) - constants[weight_zero_point]
        assert np.array_equal(x @ w + constants[f'{name}/bias'], outputs[name]), name


def test_scales_are_those_of_input_and_weight(integer, scales):
    """scale[c] = scale of the input * largest weight of channel c / 127, as on the BPU."""
    model = onnx.load(str(integer))
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    float_model = onnx.load(str(FLOAT_FILE))
    float_constants = {c.name: onnx.numpy_helper.to_array(c) for c in float_model.graph.initializer}
    transpose = next(n for n in float_model.graph.node if n.output[0] == 'box_16')
    conv = next(n for n in float_model.graph.node if n.output[0] == transpose.input[0])
    largest = np.abs(float_constants[conv.input[1]]).reshape(64, -1).max(axis=1)
    stored = made[made['box_16/product'].input[0]].input[0]
    input_scale = constants[made[stored].input[1]]
    assert np.allclose(scales['box_16']['scale'], input_scale * largest / 127, rtol=1e-5)


def test_the_work_config_runs_and_finds_what_the_float_model_finds(integer):
    found = Pipeline.open(load_work_config(integer.with_suffix('.json')))
    wanted = Pipeline.open(load_work_config(ROOT / 'config/demo_float.json'))
    assert found.config.class_names == wanted.config.class_names
    near = total = 0
    for number in range(10):
        data = cv2.imencode('.png', scene(HELD_OUT + number, 320)[0])[1].tobytes()
        a, b = (p.process(frame_from_compressed(data)).detections for p in (wanted, found))
        total += len(a)
        near += sum(any(a.class_id[i] == b.class_id[k] and np.abs(
            a.xyxy_image[i] - b.xyxy_image[k]).max() < 5 for k in range(len(b)))
            for i in range(len(a)))
    assert total > 15 and near >= 0.9 * total


def test_the_printed_cosines_are_those_of_the_calibration_pictures(pictures, twin_and_text):
    twin, text = twin_and_text
    printed = dict(re.findall(r'^  (\w+) +([\d.]+)  float32$', text, re.MULTILINE))
    assert len(printed) == 10
    a, b = [], []
    for picture in pictures.iterdir():
        array = cv2.imread(str(picture))[None, :, :, ::-1].transpose(0, 3, 1, 2) / np.float32(255)
        a.append(run(FLOAT_FILE, array)['mc_16'])
        b.append(run(twin, array)['mc_16'])
    assert float(printed['mc_16']) == pytest.approx(cosine(np.array(a), np.array(b)), abs=2e-6)


def test_evaluate_prints_the_ap_lost(tmp_path, pictures, capsys):
    pytest.importorskip('pycocotools', reason='this test needs the extra "evaluate"')
    annotations = write_coco_set(tmp_path, range(HELD_OUT, HELD_OUT + 30), 320)
    code, _ = quantize(tmp_path, pictures, '--labels', ROOT / 'config/shapes.list',
                       '--evaluate', tmp_path / 'images', annotations)
    rows = re.findall(r'^  (box|mask) +([\d.]+) +([\d.]+) +(-?[\d.]+)$', capsys.readouterr().out,
                      re.MULTILINE)
    assert code == 0 and [row[0] for row in rows] == ['box', 'mask']
    for _, before, after, lost in rows:
        assert float(before) > 0.6
        assert float(lost) == pytest.approx(float(before) - float(after), abs=1.1e-4)
        assert abs(float(lost)) < 0.05


@pytest.mark.parametrize('layout', ['tros', 'vacc'])
def test_either_layout_and_a_dynamic_batch(tmp_path, pictures, layout):
    channels = {'cls': 3, 'box': 64, 'mc': 8}
    model = raw_model(channels, layout, size_wh=(64, 64), batch='n')
    source = save(model, tmp_path / 'random.onnx')
    code, path = quantize(tmp_path, pictures, model=source)
    entries = json.loads(path.with_suffix('.scales.json').read_text())['outputs']
    assert code == 0 and entries['mc_8']['axis'] == (3 if layout == 'tros' else 1)
    array = cv2.resize(cv2.imread(str(next(pictures.iterdir()))), (64, 64))
    array = array[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    wanted = run(source, array)
    for name, value in run(path, array).items():
        shape = (-1,) if layout == 'tros' or name == 'proto' else (-1, 1, 1)
        scale = np.float32(entries[name]['scale']).reshape(shape) if name in entries else 1
        assert value.shape == wanted[name].shape
        assert cosine(value * scale, wanted[name]) > 0.99, name


def test_a_dead_channel_keeps_its_bias(tmp_path, pictures):
    """Its weights are zero, so the bias would overflow 32 bits at the scale of the weights."""
    model = raw_model({'cls': 3, 'box': 64}, size_wh=(64, 64))
    for tensor in model.graph.initializer:
        if tensor.name.startswith('/model.22/cv2.1'):
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[5] = 0 if tensor.name.endswith('weight') else -7.25
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    code, path = quantize(tmp_path, pictures, model=save(model, tmp_path / 'dead.onnx'))
    entry = json.loads(path.with_suffix('.scales.json').read_text())['outputs']['box_16']
    found = run(path, np.zeros((1, 3, 64, 64), np.float32))['box_16']
    assert code == 0
    assert np.allclose(found[..., 5] * entry['scale'][5], -7.25, rtol=1e-6)


@pytest.mark.parametrize('count, broken, sentence', [
    (19, 0, 'of the 19 in'), (19, 3, 'of the 22 in'), (0, 0, 'of the 0 in')])
def test_too_few_pictures_are_refused(tmp_path, capsys, count, broken, sentence):
    folder = tmp_path / 'few'
    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f'good_{i}.png'), np.zeros((8, 8, 3), np.uint8))
    for i in range(broken):
        (folder / f'broken_{i}.jpg').write_bytes(b'no picture')
    code, path = quantize(tmp_path, folder)
    error = capsys.readouterr().err
    assert code == 2 and not path.exists()
    assert 'Calibration needs at least 20 pictures' in error and sentence in error
    assert ('broken_1.jpg' in error) == bool(broken)


def test_unreadable_pictures_are_named_and_left_out(tmp_path, pictures, capsys):
    folder = tmp_path / 'mixed'
    folder.mkdir()
    for path in pictures.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / 'torn.jpg').write_bytes(b'\xff\xd8\xff')
    small = raw_model({'cls': 3, 'box': 64}, size_wh=(64, 64))
    model = save(small, tmp_path / 'small.onnx')
    assert quantize(tmp_path, folder, model=model)[0] == 0
    out = capsys.readouterr().out
    assert '1 picture(s) cannot be read' in out and 'torn.jpg' in out and 'over 24 pictures' in out


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert quantize(tmp_path, tmp_path / 'nowhere')[0] == 2
    assert 'There is no folder' in capsys.readouterr().err


def test_a_model_with_its_post_processing_is_refused(tmp_path, pictures, capsys):
    whole = save(ultralytics_model({'cls': 3, 'box': 64})[0], tmp_path / 'whole.onnx')
    assert quantize(tmp_path, pictures, model=whole)[0] == 2
    assert 'cut it first with `yolo_seg cut whole.onnx --auto`' in capsys.readouterr().err


def test_labels_of_another_number_are_refused(tmp_path, pictures, capsys):
    assert quantize(tmp_path, pictures, '--labels', ROOT / 'config/coco.list')[0] == 2
    assert 'There are 80 class names, but the model has 4 classes' in capsys.readouterr().err


def test_a_parser_for_another_kind_of_model_is_refused(tmp_path, pictures, capsys):
    assert quantize(tmp_path, pictures, '--parser', 'yolov5')[0] == 2
    assert 'anchor-based' in capsys.readouterr().err
