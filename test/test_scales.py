"""Scales from files: sidecars and model_info texts."""
import json
from pathlib import Path

import numpy as np
import pytest

from yolo_seg_node.errors import ModelError
from yolo_seg_node.model_info import read_model_info
from yolo_seg_node.scales import unscaled_integers, with_scales
from yolo_seg_node.tensors import TensorSpec

INFO = Path(__file__).parent / 'data' / 'model_info_x5.txt'
BOX = TensorSpec('box', (1, 4, 4, 8), np.dtype('int32'))
CLS = TensorSpec('cls', (1, 4, 4, 3), np.dtype('float32'))
PROTO = TensorSpec('proto', (1, 8, 8, 8), np.dtype('int16'))


def sidecar(tmp_path, outputs, name='model.scales.json'):
    path = tmp_path / name
    text = outputs if isinstance(outputs, str) else json.dumps({'outputs': outputs})
    path.write_text(text, encoding='utf-8')
    return path


def test_a_sidecar_gives_scales_by_name(tmp_path):
    scale = np.linspace(0.1, 0.8, 8)
    found = with_scales([CLS, PROTO, BOX], sidecar(tmp_path, {
        'box': {'scale': scale.tolist(), 'axis': 3, 'zero_point': list(range(8))},
        'proto': {'scale': 0.25}}))
    assert [spec.name for spec in found] == ['cls', 'proto', 'box']
    assert found[0] is CLS
    assert found[1].quantization.scale.tolist() == [0.25]
    assert (found[1].quantization.axis, found[1].quantization.zero_point) == (None, None)
    np.testing.assert_allclose(found[2].quantization.scale, scale, rtol=1e-6)
    assert found[2].quantization.axis == 3
    assert found[2].quantization.zero_point.tolist() == list(range(8))


def test_outputs_without_an_entry_stay_without_scales(tmp_path):
    found = with_scales([CLS, PROTO, BOX], sidecar(tmp_path, {'proto': {'scale': [0.25]}}))
    assert unscaled_integers(found) == [BOX]


@pytest.mark.parametrize('entry', [{'scale': [0.5], 'axis': None, 'zero_point': None},
                                   {'scale': [0.5], 'zero_point': 0},
                                   {'scale': 0.5, 'zero_point': [0], 'comment': 'x'}])
def test_values_may_be_null_or_single(tmp_path, entry):
    (found,) = with_scales([BOX], sidecar(tmp_path, {'box': entry}))
    assert found.quantization.scale.tolist() == [0.5]
    assert found.quantization.zero_point is None


@pytest.mark.parametrize('outputs, problem', [
    ({'bx': {'scale': [1]}}, r'names output\(s\) bx, but the model has cls, box'),
    ({'box': {}}, "entry of output 'box' cannot be read: KeyError"),
    ({'box': {'scale': ['x']}}, "entry of output 'box' cannot be read"),
    ({'box': {'scale': [[1, 2], [3]]}}, "output 'box'"),
    ({'box': {'scale': [1], 'axis': 'x'}}, "entry of output 'box' cannot be read"),
    ({'box': {'scale': [1], 'axis': [3]}}, "entry of output 'box' cannot be read"),
    ({'box': {'scale': [1, 2]}}, '2 scales'),
    ({'box': {'scale': []}}, 'empty'),
    ({'box': {'scale': None}}, "Output 'box' has scales that are empty, not finite"),
    ({'cls': {'scale': [1]}}, "'cls' has scales, but is float32"),
    ({'box': 3}, 'no object'),
    ([], 'must be JSON of the form'),
    ('{"outputs": ', 'must be JSON of the form'),
    ('{}', 'must be JSON of the form'),
    ('[]', 'must be JSON of the form'),
    ('[' * 100000, 'must be JSON of the form'),
])
def test_bad_sidecars_say_what_is_wrong(tmp_path, outputs, problem):
    with pytest.raises(ModelError, match=problem):
        with_scales([CLS, BOX], sidecar(tmp_path, outputs))


@pytest.mark.parametrize('name', ['nothing.json', 'nothing.txt'])
def test_a_missing_file_is_an_error(tmp_path, name):
    with pytest.raises(ModelError, match='nothing'):
        with_scales([BOX], tmp_path / name)


def unscaled(names=None):
    """The outputs of the recorded text as a runtime without scales reports them."""
    outputs = read_model_info(INFO)[0].outputs
    return [TensorSpec(names[i] if names else spec.name, spec.shape, spec.dtype)
            for i, spec in enumerate(outputs)]


@pytest.mark.parametrize('names', [None, [f'output_{i}' for i in range(10)]])
def test_a_model_info_text_gives_scales_by_name_or_position(names):
    outputs = unscaled(names)
    found = with_scales(outputs, INFO)
    assert [spec.name for spec in found] == [spec.name for spec in outputs]
    assert [spec.quantization.scale.size if spec.quantization else 0 for spec in found] == [
        0, 64, 32, 0, 64, 32, 0, 64, 32, 1]
    assert unscaled_integers(found) == []


def test_names_go_before_positions():
    outputs = unscaled()[::-1]
    found = with_scales(outputs, INFO)
    assert [spec.name for spec in found] == [spec.name for spec in outputs]
    assert found[0].quantization.scale.size == 1


def test_a_text_of_another_model_is_refused():
    outputs = unscaled([f'output_{i}' for i in range(10)])[::-1]
    with pytest.raises(ModelError, match='no model in it has the outputs output_9 '):
        with_scales(outputs, INFO)


def test_a_text_for_another_dtype_is_refused():
    outputs = unscaled()
    outputs[1] = TensorSpec(outputs[1].name, outputs[1].shape, np.dtype('int8'))
    with pytest.raises(ModelError, match=r"Output 'output1' is output1 \(1, 80, 80, 64\) int8, but "
                                         'the scales are for output1 .* int32'):
        with_scales(outputs, INFO)
