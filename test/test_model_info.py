"""The text of model_info, of every board and builder that was seen."""
from pathlib import Path

import numpy as np
import pytest

from yolo_seg_node.errors import ModelError
from yolo_seg_node.model_info import MAX_BYTES, parse_model_info, read_model_info

DATA = Path(__file__).parent / 'data'
CHANNELS = (80, 64, 32)


def seg_shapes():
    """Class, box and coefficient heads of a 640x640 model, then the prototypes."""
    return [(1, 640 // s, 640 // s, c) for s in (8, 16, 32) for c in CHANNELS] + [(1, 160, 160, 32)]


X5_TEXT = """# hrt_model_exec model_info --model_file toy.bin
[HBRT] set log level as 0. version = 9.9.9
Load model to DDR cost 1.5ms.
This model file has 1 model:
[toy]\t
---------------------------------------------------------------------
[model name]: toy

input[0]: 
name: picture
input source: HB_DNN_INPUT_FROM_PYRAMID
valid shape: (1,3,8,16,)
aligned shape: (1,3,8,16,)
aligned byte size: 192
tensor type: HB_DNN_IMG_TYPE_NV12
tensor layout: HB_DNN_LAYOUT_NCHW
quanti type: NONE
stride: (0,0,0,0,)

output[0]: 
name: 17
valid shape: (1,2,4,3,)
aligned shape: (1,2,4,4,)
aligned byte size: 128
tensor type: HB_DNN_TENSOR_TYPE_S32
tensor layout: HB_DNN_LAYOUT_NHWC
quanti type: SCALE
stride: (128,64,16,4,)
scale data: 0.5,0.25,1e-03,
quantizeAxis: 3

---------------------------------------------------------------------
"""

S100_TEXT = """[UCP]: log level = 3
[DNN]: 3.3.3
This model file has 1 model:
[toy]
---------------------------------------------------------------------
[model name]: toy
[model desc]: {"BUILD": {"input[0]": "x"}}
input[0]: 
name: picture_y
valid shape: (1,8,16,1,)
aligned byte size: -1
tensor type: HB_DNN_TENSOR_TYPE_U8
quanti type: NONE
stride: (-1,-1,1,1,)

input[1]: 
name: picture_uv
valid shape: (1,4,8,2,)
aligned byte size: -1
tensor type: HB_DNN_TENSOR_TYPE_U8
quanti type: NONE
stride: (-1,-1,2,1,)

output[0]: 
name: 17
valid shape: (1,2,4,3,)
aligned byte size: 96
tensor type: HB_DNN_TENSOR_TYPE_S32
quanti type: SCALE
stride: (96,48,12,4,)
scale data: 0.5,0.25,1e-03,
quantizeAxis: 3
zero_point data: ,,,
"""


def test_a_model_with_its_dequantise_removed():
    (model,) = read_model_info(DATA / 'model_info_x5.txt')
    assert model.name == 'yolo11nseg_detect_bayese_640x640_nv12'
    assert model.nv12 and [i.shape for i in model.inputs] == [(1, 3, 640, 640)]
    outputs = model.outputs
    assert [o.shape for o in outputs] == seg_shapes()
    assert [o.name for o in outputs] == ['output0', 'output1', '514', '528', '536', '544', '558',
                                         '566', '574', '585']
    dtypes = [np.dtype(o.dtype).name for o in outputs]
    assert dtypes == ['float32', 'int32', 'int32'] * 3 + ['int16']
    scales = [o.quantization.scale.size if o.quantization else 0 for o in outputs]
    assert scales == [0, 64, 32] * 3 + [1]
    assert [o.quantization.axis for o in outputs if o.quantization] == [3] * 6 + [None]
    assert all(o.quantization.zero_point is None for o in outputs if o.quantization)
    # the first and last numbers of the text
    np.testing.assert_allclose(outputs[1].quantization.scale[0], 0.000567521, rtol=1e-6)
    np.testing.assert_allclose(outputs[2].quantization.scale[-1], 6.72209e-05, rtol=1e-6)
    np.testing.assert_allclose(outputs[9].quantization.scale, [0.000191903], rtol=1e-6)


def test_a_model_with_float_outputs():
    (model,) = read_model_info(DATA / 'model_info_x5_float.txt')
    assert [o.shape for o in model.outputs] == seg_shapes()
    assert {np.dtype(o.dtype).name for o in model.outputs} == {'float32'}
    assert all(o.quantization is None for o in model.outputs)


@pytest.mark.parametrize('text', [X5_TEXT, S100_TEXT], ids=['x5', 's100'])
def test_texts_of_the_boards(text):
    (model,) = parse_model_info(text)
    (output,) = model.outputs
    assert (model.name, output.name, output.shape, output.dtype) == ('toy', '17', (1, 2, 4, 3),
                                                                      np.int32)
    np.testing.assert_array_equal(output.quantization.scale, np.float32([0.5, 0.25, 0.001]))
    assert (output.quantization.axis, output.quantization.zero_point) == (3, None)


def test_inputs_tell_packed_and_separate_pictures_apart():
    packed, separate = (parse_model_info(text)[0] for text in (X5_TEXT, S100_TEXT))
    assert packed.nv12 and not separate.nv12
    assert [i.shape for i in separate.inputs] == [(1, 8, 16, 1), (1, 4, 8, 2)]
    assert {np.dtype(i.dtype) for i in (*packed.inputs, *separate.inputs)} == {np.dtype(np.uint8)}


def section(**changes):
    """A text with one output; None leaves a line out."""
    values = {'name': 'a', 'valid shape': '(1,2,4,3,)', 'tensor type': 'HB_DNN_TENSOR_TYPE_S16',
              'quanti type': 'SCALE', 'scale data': '0.5,', **changes}
    lines = [f'{key}: {value}' for key, value in values.items() if value is not None]
    return '\n'.join(['[model name]: m', '', 'output[0]: ', *lines, ''])


@pytest.mark.parametrize('kind, dtype', [
    ('S8', np.int8), ('U8', np.uint8), ('S16', np.int16), ('U16', np.uint16), ('S32', np.int32),
    ('U32', np.uint32), ('F16', np.float16), ('F32', np.float32), ('S64', np.int64),
    ('BOOL8', np.bool_)])
def test_every_tensor_type(kind, dtype):
    text = section(**{'tensor type': f'HB_DNN_TENSOR_TYPE_{kind}', 'quanti type': 'NONE'})
    (output,) = parse_model_info(text)[0].outputs
    assert output.dtype == dtype and output.quantization is None


@pytest.mark.parametrize('changes, scale, zero_point', [
    ({'scale data': '(0.5)', 'zero_point data': '(7)'}, [0.5], [7]),
    ({'valid shape': '(1,2,4,3)', 'scale data': '(0.5,0.25,0.125)',
      'zero_point data': '(1,2,3)'}, [0.5, 0.25, 0.125], [1, 2, 3]),
    ({'scale data': '9.09219e-05,', 'zero_point data': '0,'}, [9.09219e-05], None),
    ({'zero_point data': ''}, [0.5], None),
    ({'zero_point data': ',,,,'}, [0.5], None),
    ({'stride': 'anything', 'some new key': 'x: y', 'shift data': '1,2,'}, [0.5], None),
])
def test_scales_and_zero_points_in_every_spelling(changes, scale, zero_point):
    (output,) = parse_model_info(section(**changes))[0].outputs
    np.testing.assert_array_equal(output.quantization.scale, np.float32(scale))
    found = output.quantization.zero_point
    assert (found if found is None else found.tolist()) == zero_point


@pytest.mark.parametrize('changes', [
    {'quanti type': 'NONE'}, {'quanti type': None}, {'quanti type': 'SHIFT', 'shift data': '4,'},
    {'scale data': None}, {'scale data': ''}, {'tensor type': 'HB_DNN_TENSOR_TYPE_F32'}])
def test_outputs_without_usable_scales(changes):
    assert parse_model_info(section(**changes))[0].outputs[0].quantization is None


@pytest.mark.parametrize('shape, expected', [('(7)', (7,)), ('(1,1000,)', (1, 1000)),
                                             ('(1,2,3,4,5,)', (1, 2, 3, 4, 5))])
def test_shapes_of_any_rank(shape, expected):
    text = section(**{'valid shape': shape, 'quanti type': 'NONE'})
    assert parse_model_info(text)[0].outputs[0].shape == expected


@pytest.mark.parametrize('changes, problem', [
    ({'valid shape': '(1,x,4,3,)'}, 'cannot be read'), ({'valid shape': None}, 'valid shape'),
    ({'name': None}, 'name'), ({'tensor type': 'HB_DNN_TENSOR_TYPE_S4'}, 'S4'),
    ({'tensor type': None}, 'tensor type'), ({'scale data': '0.5,abc'}, 'abc'),
    ({'zero_point data': '1,b'}, "'b'"), ({'scale data': '1,1,1,1,1'}, '5 scales'),
    ({'scale data': '-1,'}, 'not above zero'), ({'quantizeAxis': 'x'}, "'x'"),
    ({'scale data': '1,2,3', 'quantizeAxis': '1'}, r'3 scales \(axis 1\)'),
])
def test_broken_sections_are_refused(changes, problem):
    with pytest.raises(ModelError, match=problem):
        parse_model_info(section(**changes))


@pytest.mark.parametrize('text', ['', 'nothing', '[model name]: m\n', 'output[0]:\nname: a\n',
                                  '[model name]: m\ninput[0]:\nname: a\nvalid shape: (1,)\n'])
def test_a_text_without_a_model_says_what_to_save(text):
    with pytest.raises(ModelError, match='no model with outputs; save what `hrt_model_exec'):
        parse_model_info(text)


def test_several_models_follow_each_other():
    models = parse_model_info(X5_TEXT + '\n' + S100_TEXT.replace('toy', 'other'))
    assert [m.name for m in models] == ['toy', 'other']


@pytest.mark.parametrize('text', [
    X5_TEXT.replace('\n', '\r\n'), X5_TEXT.rstrip('-\n'), S100_TEXT.rsplit('\nzero', 1)[0],
    S100_TEXT.replace('data: ,,,', 'data: \0\0\0\0,\0\0\0\0,\0\0\0\0,')])
def test_dumps_with_zero_bytes_or_a_cut_end(tmp_path, text):
    path = tmp_path / 'info.txt'
    path.write_bytes(text.encode())
    (output,) = read_model_info(path)[0].outputs
    assert output.quantization.scale.size == 3 and output.quantization.zero_point is None


@pytest.mark.parametrize('raw', [b'\0,\x05\xff\0,\x85,', b'\x0b\0,' * 3, b'\n\0,' * 3])
def test_zero_points_as_raw_bytes_are_refused(tmp_path, raw):
    """Some of them look like the end of a line."""
    path = tmp_path / 'info.txt'
    path.write_bytes(S100_TEXT.encode().replace(b'data: ,,,', b'data: ' + raw))
    with pytest.raises(ModelError, match='cannot be read'):
        read_model_info(path)


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(ModelError, match='cannot be read'):
        read_model_info(tmp_path / 'nothing.txt')
    large = tmp_path / 'large.bin'
    with large.open('wb') as sink:
        sink.truncate(MAX_BYTES + 1)
    with pytest.raises(ModelError, match='larger than'):
        read_model_info(large)
