"""The form of the shipped demo models: names, shapes, dtypes, scales, the integer arithmetic."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'demo'))

from scenes import scene  # noqa: E402

FOLDER = ROOT / 'resource' / 'demo'
FLOAT_FILE = FOLDER / 'shapes_seg_float.onnx'
INT_FILE = FOLDER / 'shapes_seg_int.onnx'
SCALES = json.loads((FOLDER / 'shapes_seg_int.scales.json').read_text())['outputs']

CHANNELS = {'cls': 4, 'box': 64, 'mc': 32}
SHAPES = {f'{kind}_{stride}': [1, 320 // stride, 320 // stride, channels]
          for stride in (8, 16, 32) for kind, channels in CHANNELS.items()}
SHAPES['proto'] = [1, 80, 80, 32]
INT_TYPES = {'cls': 'tensor(float)', 'box': 'tensor(int32)', 'mc': 'tensor(int32)',
             'proto': 'tensor(int16)'}


def open_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=['CPUExecutionProvider'])


def images(seed: int) -> np.ndarray:
    bgr = scene(seed, 320)[0]
    return np.ascontiguousarray(bgr[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255


def run(session: onnxruntime.InferenceSession, seed: int) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {'images': images(seed)})))


def dequantised(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value * np.float32(SCALES[name]['scale']) if name in SCALES else value
            for name, value in outputs.items()}


def kind_of(name: str) -> str:
    return name.split('_')[0]


@pytest.mark.parametrize('path', [FLOAT_FILE, INT_FILE])
def test_one_float_input_and_ten_nhwc_outputs_in_order(path):
    session = open_session(path)
    (entry,) = session.get_inputs()
    assert (entry.name, entry.type, entry.shape) == ('images', 'tensor(float)', [1, 3, 320, 320])
    assert {output.name: output.shape for output in session.get_outputs()} == SHAPES
    assert [output.name for output in session.get_outputs()] == list(SHAPES)


def test_float_outputs_are_float():
    assert {output.type for output in open_session(FLOAT_FILE).get_outputs()} == {'tensor(float)'}


def test_integer_outputs_have_the_board_models_types():
    types = {output.name: output.type for output in open_session(INT_FILE).get_outputs()}
    assert types == {name: INT_TYPES[kind_of(name)] for name in SHAPES}


def test_the_sidecar_describes_exactly_the_integer_outputs():
    assert set(SCALES) == {name for name in SHAPES if kind_of(name) != 'cls'}
    for name, entry in SCALES.items():
        per_tensor = name == 'proto'
        assert entry['dtype'] == ('int16' if per_tensor else 'int32')
        assert entry['axis'] == (None if per_tensor else 3)
        assert entry['zero_point'] == 0
        assert len(entry['scale']) == (1 if per_tensor else SHAPES[name][3])
        assert min(entry['scale']) > 0


@pytest.mark.parametrize('path', [FLOAT_FILE, INT_FILE])
def test_the_files_carry_no_metadata(path):
    meta = open_session(path).get_modelmeta()
    assert meta.custom_metadata_map == {}
    assert meta.description == ''


def test_the_files_are_small():
    assert FLOAT_FILE.stat().st_size < 1_700_000
    assert INT_FILE.stat().st_size < 700_000


@pytest.mark.parametrize('seed', [5_000_000, 5_000_001, 5_000_002])
def test_dequantised_outputs_follow_the_float_model(seed):
    """Cosine similarity per output, the measure of the board tool chain's own report."""
    wanted, found = run(open_session(FLOAT_FILE), seed), run(open_session(INT_FILE), seed)
    for name, value in dequantised(found).items():
        a, b = value.ravel().astype(float), wanted[name].ravel().astype(float)
        assert a @ b / np.sqrt((a @ a) * (b @ b)) > 0.98, name


def test_scales_are_needed_per_channel():
    """One mean scale for all channels would not do, so a test with it would notice."""
    wanted, found = run(open_session(FLOAT_FILE), 5_000_000), run(open_session(INT_FILE), 5_000_000)
    right = np.abs(dequantised(found)['mc_8'] - wanted['mc_8']).mean()
    wrong = np.abs(found['mc_8'] * np.mean(SCALES['mc_8']['scale']) - wanted['mc_8']).mean()
    assert wrong > 2 * right


def test_int16_proto_uses_its_range_without_clipping():
    largest = max(int(np.abs(run(open_session(INT_FILE), seed)['proto'].astype(int)).max())
                  for seed in range(5_000_000, 5_000_008))
    assert 8_000 < largest < 32_767


def test_integer_heads_are_exact_sums_of_products():
    """Recompute int32 = (x - zero point) @ weight + bias in 64 bits from the file's constants."""
    onnx = pytest.importorskip('onnx', reason='this test needs the extra "export"')
    model = onnx.load(INT_FILE)
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    products = {node.output[0]: node for node in model.graph.node
                if node.op_type == 'MatMulInteger'}
    for node in products.values():
        model.graph.output.append(onnx.ValueInfoProto(name=node.input[0]))
    outputs = run(open_session(model.SerializeToString()), 5_000_000)
    heads = [name for name in SHAPES if kind_of(name) in ('box', 'mc')]
    for name in heads:
        value, weight, zero_point = products[f'{name}/product'].input
        x = outputs[value].astype(np.int64) - constants[zero_point]
        total = x @ constants[weight].astype(np.int64) + constants[f'{name}/bias']
        assert np.array_equal(total, outputs[name]), name
