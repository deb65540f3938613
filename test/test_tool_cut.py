"""``yolo_seg cut``: models of other frameworks, cut before their post-processing."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='these tests need the extra "export"')
onnxruntime = pytest.importorskip('onnxruntime', reason='these tests need onnxruntime')

from onnx_factory import (STRIDES, anchor_based_model, raw_model, save,  # noqa: E402
                          ultralytics_model)
from yolo_seg_node.tools import cli  # noqa: E402
from yolo_seg_node.tools.find_heads import raw_roles  # noqa: E402

ROOT = Path(__file__).parents[1]
SEG = {'cls': 5, 'box': 64, 'mc': 16}
DETECT = {'cls': 5, 'box': 64}
DIRECT = {'cls': 80, 'box': 4}
TROS_NAMES = [f'{kind}_{s}' for s in STRIDES for kind in ('cls', 'box', 'mc')] + ['proto']
VACC_NAMES = ([f'{kind}_{s}' for s in STRIDES for kind in ('box', 'cls')]
              + [f'mc_{s}' for s in STRIDES] + ['proto'])


def run(path, outputs=None, shape=(1, 3, 64, 96)):
    """Values by output name; the input is the same noise each time."""
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = outputs or [output.name for output in session.get_outputs()]
    noise = np.random.default_rng(3).normal(0, 1, shape).astype(np.float32)
    return dict(zip(names, session.run(names, {'images': noise})))


def inner_values(model, heads, folder):
    """What the uncut model computes where it is to be cut: name of the head -> NCHW."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    wider.graph.output.extend(onnx.helper.make_empty_tensor_value_info(t) for t in heads.values())
    values = run(save(wider, folder / 'wider.onnx'), list(heads.values()))
    return {kind if kind == 'proto' else f'{kind}_{stride}': values[tensor]
            for (kind, stride), tensor in heads.items()}


def cut(tmp_path, model, *arguments):
    """Exit code of the command, and the file that it is to write."""
    code = cli.main(['cut', str(save(model, tmp_path / 'model.onnx')), *arguments])
    return code, tmp_path / 'model_cut.onnx'


@pytest.mark.parametrize('channels', [SEG, DETECT, DIRECT, {**DIRECT, 'mc': 32}])
@pytest.mark.parametrize('layout, names', [('tros', TROS_NAMES), ('vacc', VACC_NAMES)])
def test_auto_gives_what_the_whole_model_computes_inside(tmp_path, channels, layout, names):
    model, heads = ultralytics_model(channels)
    code, path = cut(tmp_path, model, '--auto', '--layout', layout)
    assert code == 0
    wanted, found = inner_values(model, heads, tmp_path), run(path)
    assert list(found) == [name for name in names if name in wanted]
    for name, value in found.items():
        assert np.array_equal(value, wanted[name].transpose(0, 2, 3, 1) if layout == 'tros'
                              else wanted[name]), name


def test_an_anchor_based_model_has_one_head_per_stride(tmp_path, capsys):
    model, heads = anchor_based_model(class_num=7)
    code, path = cut(tmp_path, model, '--auto', '--layout', 'vacc')
    wanted, found = inner_values(model, heads, tmp_path), run(path)
    assert code == 0 and list(found) == ['head_8', 'head_16', 'head_32']
    assert all(np.array_equal(found[name], wanted[name]) for name in found)
    assert 'yolov5, yolov5x, yolov3, yolov4' in capsys.readouterr().out


def test_the_work_config_values_are_told(tmp_path, capsys):
    cut(tmp_path, ultralytics_model(SEG)[0], '--auto')
    assert ('"dnn_Parser": "yolov8_seg", "model_output_count": 10, "class_num": 5, "reg_max": 16, '
            '"num_mask": 16, "strides": [8, 16, 32]') in capsys.readouterr().out


def test_a_list_shows_where_auto_would_cut_and_writes_nothing(tmp_path, capsys):
    code, path = cut(tmp_path, ultralytics_model(DETECT)[0], '--list')
    assert code == 0 and not path.exists()
    assert '/model.22/cv2.0/cv2.0.2/Conv_output_0 (64 channels at stride 8)' in (
        capsys.readouterr().out)


def test_shapes_are_found_where_the_model_computes_them(tmp_path):
    """A Reshape whose shape depends on the picture stops shape inference."""
    model, heads = ultralytics_model(SEG)
    first = next(i for i, node in enumerate(model.graph.node) if node.op_type == 'Tanh')
    tensor = model.graph.node[first].input[0]
    computed = [onnx.helper.make_node('NonZero', [tensor], ['where']),
                onnx.helper.make_node('Shape', ['where'], ['unknown']),
                onnx.helper.make_node('Sub', ['unknown', 'unknown'], ['zero']),
                onnx.helper.make_node('Shape', [tensor], ['size']),
                onnx.helper.make_node('ReduceSum', ['zero'], ['nothing'], keepdims=1, axes=[0]),
                onnx.helper.make_node('Add', ['size', 'nothing'], ['same']),
                onnx.helper.make_node('Reshape', [tensor, 'same'], ['reshaped'])]
    model.graph.node[first].input[0] = 'reshaped'
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[:first] + computed + nodes[first:])
    code, path = cut(tmp_path, model, '--auto')
    assert code == 0 and list(run(path)) == TROS_NAMES
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in onnx.load(str(path)).graph.output}
    assert shapes['mc_32'] == [1, 2, 3, 16]


def test_shared_constants_behind_identity_nodes_are_read(tmp_path):
    """The exporter of torch stores equal biases once."""
    model, heads = ultralytics_model(SEG)
    for node in model.graph.node:
        if node.output[0] == '/model.22/proto/cv3/conv/Conv_output_0':
            shared = node.input[2]
            node.input[2] = 'shared'
    model.graph.node.insert(0, onnx.helper.make_node('Identity', [shared], ['shared']))
    assert cut(tmp_path, model, '--list')[0] == 0
    code, path = cut(tmp_path, model, '--auto')
    assert code == 0
    assert np.array_equal(run(path)['proto'].transpose(0, 3, 1, 2),
                          inner_values(model, heads, tmp_path)['proto'])


def test_a_dynamic_batch_stays_dynamic(tmp_path):
    code, path = cut(tmp_path, ultralytics_model(SEG, batch='n')[0], '--auto')
    assert code == 0
    assert run(path, shape=(3, 3, 64, 96))['box_16'].shape == (3, 4, 6, 64)


def test_nothing_of_the_exporting_machine_is_handed_on(tmp_path):
    _, path = cut(tmp_path, ultralytics_model(SEG)[0], '--auto')
    assert b'/home/somebody' not in path.read_bytes()
    assert not onnx.load(str(path)).metadata_props


@pytest.mark.parametrize('channels', [{'cls': 64, 'box': 64}, {'cls': 16, 'box': 64, 'mc': 16},
                                      {'cls': 64, 'box': 4}, {'cls': 4, 'box': 64}])
def test_roles_that_shapes_leave_open_must_be_named(tmp_path, capsys, channels):
    model, heads = ultralytics_model(channels)
    code, path = cut(tmp_path, model, '--auto')
    assert code == 2 and not path.exists()
    assert 'cannot be told from their shapes; name each' in capsys.readouterr().err
    names = [tensor if kind == 'proto' else f'{tensor}={kind}_{stride}'
             for (kind, stride), tensor in heads.items() if kind != 'proto']
    names += [f'{tensor}=proto' for (kind, _), tensor in heads.items() if kind == 'proto']
    code, path = cut(tmp_path, model, '--outputs', *names)
    wanted = inner_values(model, heads, tmp_path)
    assert code == 0
    for name, value in run(path).items():
        assert np.array_equal(value.transpose(0, 3, 1, 2), wanted[name]), name


@pytest.mark.parametrize('layout', ['tros', 'vacc'])
@pytest.mark.parametrize('old_layout', ['tros', 'vacc'])
def test_raw_heads_that_nobody_named_can_be_named(tmp_path, capsys, old_layout, layout):
    channels = {'cls': 16, 'box': 64, 'mc': 16}
    roles = [(kind, s) for s in STRIDES for kind in channels] + [('proto', 4)]
    model = raw_model(channels, old_layout, {role: f'out_{i}' for i, role in enumerate(roles)})
    assert cut(tmp_path, model, '--auto')[0] == 2
    assert 'cannot be told from their shapes' in capsys.readouterr().err
    names = [kind if kind == 'proto' else f'{kind}_{stride}' for kind, stride in roles]
    code, path = cut(tmp_path, model, '--layout', layout, '--outputs',
                     *[f'out_{i}={name}' for i, name in enumerate(names)])
    assert code == 0
    wanted, found = run(tmp_path / 'model.onnx'), run(path)
    for i, name in enumerate(names):
        value = wanted[f'out_{i}']
        nchw = value.transpose(0, 3, 1, 2) if old_layout == 'tros' else value
        again = nchw.transpose(0, 2, 3, 1) if layout == 'tros' else nchw
        assert np.array_equal(found[name], again), name


def test_outputs_may_be_nodes_and_names_may_be_left_out(tmp_path):
    model, heads = ultralytics_model(DETECT)
    nodes = [tensor.replace('_output_0', '') for tensor in heads.values()]
    code, path = cut(tmp_path, model, '--outputs', *nodes)
    assert code == 0 and list(run(path)) == [n for n in TROS_NAMES if n[:2] in ('cl', 'bo')]


@pytest.mark.parametrize('arguments, sentence', [
    (['--outputs', 'nothing'], "no tensor or node 'nothing'"),
    (['--outputs', '/dfl/Softmax_output_0=box_8'], 'but a raw head of this model is'),
    (['--outputs', '/model.22/cv2.0/cv2.0.2/Conv=box_16'], "cannot be called 'box_16'; allowed are "
     'cls_8, box_8'),
    (['--outputs', '/model.22/cv2.0/cv2.0.2/Conv=boxes'], "cannot be called 'boxes'"),
])
def test_a_wrong_cut_is_refused(tmp_path, capsys, arguments, sentence):
    code, path = cut(tmp_path, ultralytics_model(SEG)[0], *arguments)
    assert code == 2 and not path.exists()
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize('layout', ['tros', 'vacc'])
def test_a_model_with_raw_heads_has_nothing_to_cut(tmp_path, capsys, layout):
    code, _ = cut(tmp_path, raw_model(SEG, layout), '--auto')
    assert code == 2
    assert 'ends in raw heads already' in capsys.readouterr().err


@pytest.mark.parametrize('layout', ['tros', 'vacc'])
def test_what_was_cut_is_known_again(tmp_path, layout):
    _, path = cut(tmp_path, ultralytics_model(SEG)[0], '--auto', '--layout', layout)
    roles = raw_roles(onnx.load(str(path)))
    assert [f'{role.name}_{role.stride}'.replace('proto_4', 'proto')
            for role in roles.values()] == list(roles)


def test_nothing_is_written_into_the_home_folder(tmp_path):
    """onnxruntime would keep there what it reports to its vendor."""
    source = save(ultralytics_model(SEG)[0], tmp_path / 'model.onnx')
    (tmp_path / 'home').mkdir()
    environ = {key: value for key, value in os.environ.items() if not key.startswith('ORT_')}
    subprocess.run([sys.executable, '-m', 'yolo_seg_node.tools.cli', 'cut', source, '--auto'],
                   check=True, cwd=ROOT, env={**environ, 'HOME': str(tmp_path / 'home')})
    assert not list((tmp_path / 'home').iterdir())


def test_a_model_without_grids_is_refused(tmp_path, capsys):
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
              for name, shape in (('images', [1, 3, 64, 96]), ('y', [1, 3]))]
    node = onnx.helper.make_node('ReduceMean', ['images'], ['y'], axes=[2, 3], keepdims=0)
    graph = onnx.helper.make_graph([node], 'g', values[:1], values[1:])
    model = onnx.helper.make_model(graph, ir_version=6,
                                   opset_imports=[onnx.helper.make_opsetid('', 11)])
    code, _ = cut(tmp_path, model, '--auto')
    assert code == 2 and 'No raw head was found' in capsys.readouterr().err


@pytest.mark.parametrize('content, sentence', [
    (None, 'cannot be read'), (b'no model', 'is no ONNX model'), (b'', 'is no ONNX model')])
def test_a_file_that_is_no_model_is_refused(tmp_path, capsys, content, sentence):
    path = tmp_path / 'model.onnx'
    if content is not None:
        path.write_bytes(content)
    assert cli.main(['cut', str(path), '--auto']) == 2
    assert sentence in capsys.readouterr().err
