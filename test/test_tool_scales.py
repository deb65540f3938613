"""``yolo_seg scales``: the texts of X3, X5 and S100 as sidecar files."""
from __future__ import annotations

import json

import numpy as np
import pytest

from yolo_seg_node.scales import with_scales
from yolo_seg_node.tensors import TensorSpec
from yolo_seg_node.tools import cli

X5_TEXT = """[HBRT] set log level as 0. version = 3.15.55.0
Load model to DDR cost 46.552ms.
This model file has 1 model:
[toy_bayese_32x16_nv12]\t
---------------------------------------------------------------------
[model name]: toy_bayese_32x16_nv12

input[0]: \nname: images
input source: HB_DNN_INPUT_FROM_PYRAMID
valid shape: (1,3,16,32,)
aligned byte size: 768
tensor type: HB_DNN_IMG_TYPE_NV12
tensor layout: HB_DNN_LAYOUT_NCHW
quanti type: NONE
stride: (0,0,0,0,)

output[0]: \nname: output0
valid shape: (1,2,4,5,)
tensor type: HB_DNN_TENSOR_TYPE_F32
tensor layout: HB_DNN_LAYOUT_NHWC
quanti type: NONE
stride: (160,80,20,4,)

output[1]: \nname: 514
valid shape: (1,2,4,4,)
tensor type: HB_DNN_TENSOR_TYPE_S32
tensor layout: HB_DNN_LAYOUT_NHWC
quanti type: SCALE
stride: (128,64,16,4,)
scale data: 0.000123457,9.09219e-05,1.5,3e-08,
quantizeAxis: 3

output[2]: \nname: 585
valid shape: (1,4,8,4,)
tensor type: HB_DNN_TENSOR_TYPE_S16
tensor layout: HB_DNN_LAYOUT_NCHW
quanti type: SCALE
stride: (256,64,8,2,)
scale data: 0.000348,

---------------------------------------------------------------------
"""
S100_TEXT = """[UCP]: log level = 3
This model file has 1 model:
[toy_nashe]
---------------------------------------------------------------------
[model name]: toy_nashe

[model desc]: {"BUILDER_VERSION": "3.1"}
input[0]:
name: images_y
valid shape: (1,16,32,1,)
aligned byte size: -1
tensor type: HB_DNN_TENSOR_TYPE_U8
quanti type: NONE
stride: (-1,-1,1,1,)

output[0]:
name: 514
valid shape: (1,2,4,4,)
aligned byte size: 128
tensor type: HB_DNN_TENSOR_TYPE_S32
quanti type: SCALE
stride: (128,64,16,4,)
scale data: 0.000123457,9.09219e-05,1.5,3e-08,
quantizeAxis: 3
zero_point data: ,,,,

output[1]:
name: 585
valid shape: (1,4,8,4,)
aligned byte size: 256
tensor type: HB_DNN_TENSOR_TYPE_S16
quanti type: SCALE
stride: (256,64,8,2,)
scale data: 0.000348,
zero_point data: \0\0\0\0"""
OUTPUTS = (TensorSpec('514', (1, 2, 4, 4), np.dtype(np.int32)),
           TensorSpec('585', (1, 4, 8, 4), np.dtype(np.int16)))


def scales(tmp_path, text, *arguments):
    path = tmp_path / 'model_info.txt'
    path.write_text(text)
    return cli.main(['scales', str(path), *arguments]), tmp_path / 'model_info.scales.json'


@pytest.mark.parametrize('text', [X5_TEXT, S100_TEXT])
def test_the_sidecar_says_what_the_text_says(tmp_path, text):
    code, path = scales(tmp_path, text)
    entries = json.loads(path.read_text())['outputs']
    assert code == 0
    assert entries == {
        '514': {'dtype': 'int32', 'scale': [0.000123457, 9.09219e-05, 1.5, 3e-08], 'axis': 3,
                'zero_point': 0},
        '585': {'dtype': 'int16', 'scale': [0.000348], 'axis': None, 'zero_point': 0}}


@pytest.mark.parametrize('text', [X5_TEXT, S100_TEXT])
def test_the_node_reads_the_sidecar_as_it_reads_the_text(tmp_path, text):
    _, path = scales(tmp_path, text)
    from_sidecar, from_text = (with_scales(OUTPUTS, source)
                               for source in (path, tmp_path / 'model_info.txt'))
    for a, b in zip(from_sidecar, from_text):
        assert np.array_equal(a.quantization.scale, b.quantization.scale)
        assert a.quantization.axis == b.quantization.axis


def test_zero_points_are_kept(tmp_path):
    text = X5_TEXT.replace('quantizeAxis: 3\n', 'quantizeAxis: 3\nzero_point data: 1,-2,3,0,\n')
    _, path = scales(tmp_path, text)
    assert json.loads(path.read_text())['outputs']['514']['zero_point'] == [1, -2, 3, 0]
    assert list(with_scales(OUTPUTS, path)[0].quantization.zero_point) == [1, -2, 3, 0]


def test_a_packed_file_has_several_models(tmp_path):
    second = X5_TEXT.replace('toy_bayese', 'other').replace('0.000348', '0.25')
    assert scales(tmp_path, X5_TEXT + second, '--model', 'other_32x16_nv12')[0] == 0
    _, path = scales(tmp_path, X5_TEXT + second, '--model', 'other_32x16_nv12')
    assert json.loads(path.read_text())['outputs']['585']['scale'] == [0.25]


def test_out_names_the_file(tmp_path, capsys):
    out = tmp_path / 'here.json'
    assert scales(tmp_path, X5_TEXT, '--out', str(out))[0] == 0
    assert json.loads(out.read_text())['outputs'].keys() == {'514', '585'}
    assert f'2 of 3 outputs have scales: {out}' in capsys.readouterr().out


@pytest.mark.parametrize('text, arguments, sentence', [
    (X5_TEXT, ['--model', 'nobody'], "'toy_bayese_32x16_nv12'"),
    (X5_TEXT.replace('SCALE', 'NONE'), [], 'has scales'),
    ('nothing', [], 'hrt_model_exec model_info'),
    (X5_TEXT, ['--out', '/nowhere/scales.json'], 'cannot be written'),
])
def test_what_cannot_be_done_is_said(tmp_path, capsys, text, arguments, sentence):
    code, path = scales(tmp_path, text, *arguments)
    assert code == 2 and not path.exists()
    assert sentence in capsys.readouterr().err
