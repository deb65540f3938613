"""What the tool chain of D-Robotics gets: Dequantize nodes, yaml, calibration set."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml

onnx = pytest.importorskip('onnx', reason='these tests need the extra "export"')
pytest.importorskip('onnxruntime', reason='these tests need onnxruntime')

from onnx_factory import STRIDES, raw_model  # noqa: E402
from yolo_seg_node.errors import YoloSegError  # noqa: E402
from yolo_seg_node.frame import frame_from_compressed  # noqa: E402
from yolo_seg_node.heads import Role  # noqa: E402
from yolo_seg_node.tools import rdk_files  # noqa: E402
from yolo_seg_node.tools.head_layouts import HEAD_LAYOUTS  # noqa: E402
from yolo_seg_node.tools.raw_model import make_raw_model  # noqa: E402
from yolo_seg_node.tools.rdk_files import BOARDS  # noqa: E402

CHANNELS = {'cls': 80, 'box': 64, 'mc': 32}
# Outputs and removed nodes in the logs that D-Robotics publishes for these two models.
YOLO11_OUTPUTS = ['output0', 'output1', '514', '528', '536', '544', '558', '566', '574', '585']
YOLO11_REMOVED = {
    'output1': '/model.23/cv2.0/cv2.0.2/Conv_output_0_HzDequantize',
    '536': '/model.23/cv2.1/cv2.1.2/Conv_output_0_HzDequantize',
    '566': '/model.23/cv2.2/cv2.2.2/Conv_output_0_HzDequantize',
    '514': '/model.23/cv4.0/cv4.0.2/Conv_output_0_HzDequantize',
    '544': '/model.23/cv4.1/cv4.1.2/Conv_output_0_HzDequantize',
    '574': '/model.23/cv4.2/cv4.2.2/Conv_output_0_HzDequantize',
    '585': '585_HzDequantize'}
YOLOV8_OUTPUTS = ['output0', 'output1', '371', '379', '387', '395', '403', '411', '419', '347']
YOLOV8_REMOVED = {
    'output0': '/model.22/cv4.0/cv4.0.2/Conv_output_0_HzDequantize',
    'output1': '/model.22/cv4.1/cv4.1.2/Conv_output_0_HzDequantize',
    '371': '/model.22/cv4.2/cv4.2.2/Conv_output_0_HzDequantize',
    '379': '/model.22/cv2.0/cv2.0.2/Conv_output_0_HzDequantize',
    '387': '/model.22/cv2.1/cv2.1.2/Conv_output_0_HzDequantize',
    '395': '/model.22/cv2.2/cv2.2.2/Conv_output_0_HzDequantize'}
PROTO = [('proto', 4)]
YOLO11_ROLES = [(kind, s) for s in STRIDES for kind in ('cls', 'box', 'mc')] + PROTO
YOLOV8_ROLES = [(kind, s) for kind in ('mc', 'box', 'cls') for s in STRIDES] + PROTO
PUBLISHED = [('rdk-yolo11', '/model.23', YOLO11_ROLES, YOLO11_OUTPUTS, YOLO11_REMOVED),
             ('rdk-yolov8', '/model.22', YOLOV8_ROLES, YOLOV8_OUTPUTS, YOLOV8_REMOVED)]


def make_raw(roles=YOLO11_ROLES, names=None, module='/model.23', **options):
    """A model with the named nodes of the real one, and small features."""
    channels = {kind: count for kind, count in CHANNELS.items() if (kind, 8) in roles}
    names = names or [kind if kind == 'proto' else f'{kind}_{s}' for kind, s in roles]
    options.setdefault('size_wh', (64, 64))
    model = raw_model(channels, names=dict(zip(roles, names)), module=module, **options)
    return make_raw_model(model, {name: Role(*role) for name, role in zip(names, roles)})


def modifier_log(removed):
    """What hb_model_modifier writes of these (output, node) pairs; the class heads stay out."""
    return ''.join(
        '2025-03-05 19:17:24,588 file: hb_model_modifier.py func: hb_model_modifier line No: 409 '
        f'input: "{node}_quantized"\ninput: "{node}_x_scale"\noutput: "{output}"\n'
        f'name: "{node}"\nop_type: "Dequantize"\n\n' for output, node in removed.items())


@pytest.mark.parametrize('layout, module, roles, outputs, removed', PUBLISHED)
def test_the_nodes_of_the_published_logs_come_out_exactly(layout, module, roles, outputs, removed):
    raw = make_raw(roles, outputs, module)
    wanted = raw.outputs_of(HEAD_LAYOUTS[layout].integer)
    assert wanted == list(removed)
    assert rdk_files.dequantize_nodes(raw, wanted) == list(removed.values())


@pytest.mark.parametrize('removed', [YOLO11_REMOVED, YOLOV8_REMOVED])
def test_nodes_are_read_from_the_log_of_the_modifier(removed):
    log = modifier_log({'558': '/other_HzDequantize', **dict(reversed(removed.items()))})
    assert rdk_files.dequantize_nodes_from_log(log, list(removed)) == list(removed.values())


def test_a_log_of_another_model_is_refused():
    with pytest.raises(YoloSegError, match='no Dequantize node for the output.*proto, box_8.*585'):
        rdk_files.dequantize_nodes_from_log(modifier_log({'585': '585_HzDequantize'}),
                                            ['proto', 'box_8'])


def test_the_command_is_that_of_the_document():
    command = rdk_files.modifier_command('yolo11n_seg_bayese_640x640_nv12',
                                         list(YOLO11_REMOVED.values()))
    assert command.replace(' \\\n  ', ' ') == (
        'hb_model_modifier yolo11n_seg_bayese_640x640_nv12.bin '
        + ' '.join(f'-r {node}' for node in YOLO11_REMOVED.values()))


def test_odd_node_names_are_quoted_for_the_shell():
    assert rdk_files.modifier_command('m', ["a b'c"]).endswith("-r 'a b'\\''c'")


@pytest.mark.parametrize('target, march, command, suffix', [
    ('rdk-x3', 'bernoulli2', 'hb_mapper makertbin --model-type onnx --config c.yaml',
     '_modified.bin'),
    ('rdk-x5', 'bayes-e', 'hb_mapper makertbin --model-type onnx --config c.yaml', '_modified.bin'),
    ('rdk-ultra', 'bayes', 'hb_mapper makertbin --model-type onnx --config c.yaml',
     '_modified.bin'),
    ('rdk-s100', 'nash-e', 'hb_compile --config c.yaml', '.hbm')])
def test_each_board_has_its_march_and_compiler(target, march, command, suffix):
    board, raw = BOARDS[target], make_raw()
    config = rdk_files.ptq_config('net', board, raw, 'nv12', ['box_8'])
    compiled = f'net_{march.replace("-", "")}_64x64_nv12'
    assert config['model_parameters']['march'] == march
    assert config['model_parameters']['output_model_file_prefix'] == compiled
    assert rdk_files.compile_command(board, 'c.yaml') == command
    assert rdk_files.board_model(compiled, board, ['box_8']) == compiled + suffix


def test_names_are_those_of_the_vendor():
    raw = make_raw(size_wh=(640, 640))
    assert rdk_files.compiled_name('yolo11n-seg', BOARDS['rdk-x5'], raw, 'nv12') == (
        'yolo11n_seg_bayese_640x640_nv12')


def test_the_yaml_of_an_x5_with_nv12():
    raw = make_raw()
    text = rdk_files.ptq_yaml(rdk_files.ptq_config('net', BOARDS['rdk-x5'], raw, 'nv12', ['box_8']),
                              BOARDS['rdk-x5'])
    assert yaml.safe_load(text) == {
        'model_parameters': {
            'onnx_model': './net.onnx', 'march': 'bayes-e', 'layer_out_dump': False,
            'working_dir': 'net_bayese_64x64_nv12',
            'output_model_file_prefix': 'net_bayese_64x64_nv12'},
        'input_parameters': {
            'input_name': '', 'input_type_rt': 'nv12', 'input_type_train': 'rgb',
            'input_layout_train': 'NCHW', 'norm_type': 'data_scale',
            'scale_value': 0.003921568627451},
        'calibration_parameters': {
            'cal_data_dir': './calibration_data_rgb_f32', 'cal_data_type': 'float32'},
        'compiler_parameters': {
            'compile_mode': 'latency', 'debug': False, 'optimize_level': 'O3'}}


def test_rgb_needs_a_layout():
    for target, level in (('rdk-x5', 'O3'), ('rdk-s100', 'O2')):
        config = rdk_files.ptq_config('net', BOARDS[target], make_raw(), 'rgb', [])
        assert config['input_parameters']['input_type_rt'] == 'rgb'
        assert config['input_parameters']['input_layout_rt'] == 'NCHW'
        assert config['compiler_parameters']['optimize_level'] == level


def test_an_s100_removes_nodes_when_it_compiles():
    config = rdk_files.ptq_config('net', BOARDS['rdk-s100'], make_raw(), 'nv12',
                                  ['box_16', 'mc_8', 'proto'])
    assert config['model_parameters']['remove_node_name'] == (
        '/model.23/cv2.1/cv2.1.2/Conv;/model.23/cv4.0/cv4.0.2/Conv;'
        '/model.23/proto/cv3/act/Mul_output_0_HzCalibration')
    assert config['compiler_parameters']['extra_params'] == {
        'input_no_padding': True, 'output_no_padding': True}


def with_softmax(raw):
    """The model with an attention's Softmax in it."""
    raw.model.graph.node.insert(0, onnx.helper.make_node(
        'Softmax', ['images'], ['/model.10/m/m.0/attn/Softmax_output_0'],
        '/model.10/m/m.0/attn/Softmax', axis=3))
    return raw


@pytest.mark.parametrize('target, told', [('rdk-x3', False), ('rdk-ultra', True), ('rdk-x5', True)])
def test_a_softmax_that_is_left_is_put_on_the_bpu_where_it_can(target, told):
    config = rdk_files.ptq_config('net', BOARDS[target], with_softmax(make_raw()), 'nv12', [])
    assert config['model_parameters'].get('node_info') == ({'/model.10/m/m.0/attn/Softmax': {
        'ON': 'BPU', 'InputType': 'int8', 'OutputType': 'int8'}} if told else None)


def test_an_s100_is_told_of_softmax_by_kind():
    config = rdk_files.ptq_config('net', BOARDS['rdk-s100'], with_softmax(make_raw()), 'nv12', [])
    assert config['calibration_parameters']['quant_config'] == {
        'op_config': {'softmax': {'qtype': 'int8'}}}


def half_and_half():
    """A picture 64x32: the left half red, the right half blue."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32, 2] = 255
    picture[:, 32:, 0] = 255
    return frame_from_compressed(cv2.imencode('.png', picture)[1].tobytes())


@pytest.mark.parametrize('target, input_type, tolerance', [
    ('rdk-x5', 'rgb', 0), ('rdk-x5', 'nv12', 4), ('rdk-s100', 'rgb', 0)])
def test_calibration_pictures_are_letterboxed_rgb_of_0_to_255(
        tmp_path, target, input_type, tolerance):
    board = BOARDS[target]
    (tmp_path / '0007.rgb').write_bytes(b'of an earlier export')
    rdk_files.write_calibration(tmp_path, [half_and_half()] * 2, make_raw(), board, input_type)
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == (['0000.npy', '0001.npy'] if board.hbm
                                       else ['0000.rgb', '0001.rgb'])
    planes = np.load(files[0]) if board.hbm else np.fromfile(files[0], np.float32)
    red, green, blue = planes.reshape(3, 64, 64)
    assert planes.dtype == np.float32
    assert np.abs(planes.reshape(3, 64, 64)[:, [0, 15, 48, 63]] - 114).max() <= tolerance
    for plane, left, right in ((red, 255, 0), (green, 0, 0), (blue, 0, 255)):
        assert np.abs(plane[16:48, :30] - left).max() <= tolerance
        assert np.abs(plane[16:48, 34:] - right).max() <= tolerance
