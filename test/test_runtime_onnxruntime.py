"""ONNX models through the real onnxruntime: what is fed, what comes out, what is refused."""
import threading

import numpy as np
import onnxruntime
import pytest
from onnx_writer import int_of, node, write_bright_finder, write_model

from yolo_seg_node.config import WorkConfig
from yolo_seg_node.errors import ConfigError, InferenceError, ModelError
from yolo_seg_node.frame import frame_from_bgr
from yolo_seg_node.model_input import NCHW, NHWC, Preprocessor
from yolo_seg_node.runtimes import RUNTIMES, choose_runtime, open_runtime
from yolo_seg_node.runtimes.base import check_outputs
from yolo_seg_node.runtimes.onnxruntime import OnnxRuntime


def config(path, **keys):
    return WorkConfig(str(path), 'yolo26', class_num=1, reg_max=1, strides=(8,), **keys)


def opened(path, **keys):
    return OnnxRuntime(config(path, **keys), path)


def copy_model(path, shape, dtype='float32', outputs=None):
    """A model that gives its input back."""
    return write_model(path, [node('Identity', ['images'], ['same'])], [('images', dtype, shape)],
                       outputs or [('same', dtype, shape)])


@pytest.mark.parametrize('shape, kind, size_wh', [
    ((1, 3, 32, 64), NCHW, (64, 32)), ((1, 32, 64, 3), NHWC, (64, 32)),
    ((1, 3, 64, 3), NCHW, (3, 64)), ((1, 3, 3, 64), NCHW, (64, 3))])
@pytest.mark.parametrize('dtype', ['float32', 'float16', 'uint8'])
def test_the_input_is_what_the_model_says(tmp_path, shape, kind, size_wh, dtype):
    runtime = opened(copy_model(tmp_path / 'm.onnx', shape, dtype))
    assert (runtime.input_format.kind, runtime.input_format.size_wh) == (kind, size_wh)
    assert runtime.input_format.dtype == np.dtype(dtype)
    arrays, _ = Preprocessor(runtime.input_format).prepare(
        frame_from_bgr(np.full((32, 64, 3), 51, np.uint8)))
    (out,) = runtime.infer(arrays)
    np.testing.assert_array_equal(out, arrays[0])
    assert (out.shape, out.dtype) == (shape, np.dtype(dtype))


def test_work_config_keys_reach_the_input(tmp_path):
    path = copy_model(tmp_path / 'm.onnx', (1, 3, 32, 32))
    given = opened(path, input_color='bgr', input_mean=(1.0, 2.0, 3.0), input_scale=(0.5, 1.0, 2.0),
                   resize_mode='stretch', pad_value=7).input_format
    assert (given.rgb, given.mean, given.scale, given.mode, given.pad_value) == (
        False, (1, 2, 3), (0.5, 1, 2), 'stretch', 7)
    assert opened(path).input_format.rgb


def test_outputs_have_their_names_shapes_and_types(tmp_path):
    runtime = opened(write_bright_finder(tmp_path / 'm.onnx', (64, 32)))
    assert [str(spec) for spec in runtime.outputs] == ['cls (1, 1, 4, 8) float32',
                                                       'box (1, 4, 4, 8) float32']
    assert runtime.effective == 'onnxruntime CPUExecutionProvider'
    check_outputs(runtime)


def test_integer_outputs(tmp_path):
    path = write_model(tmp_path / 'm.onnx', [node('Cast', ['images'], ['q'], int_of('to', 6))],
                       [('images', 'float32', (1, 3, 8, 8))], [('q', 'int32', (1, 3, 8, 8))])
    (spec,) = opened(path).outputs
    assert (spec.dtype, spec.quantization) == (np.int32, None)


@pytest.mark.parametrize('size', [(64, 32), (320, 256)])
def test_a_dynamic_model_takes_the_size_of_the_work_config(tmp_path, size):
    path = write_bright_finder(tmp_path / 'm.onnx', (64, 32), dynamic=True)
    runtime = opened(path, input_size=size)
    assert runtime.input_format.size_wh == size
    assert [spec.shape for spec in runtime.outputs] == [
        (1, channels, size[1] // 8, size[0] // 8) for channels in (1, 4)]


@pytest.mark.parametrize('dynamic, size, problem', [
    (True, None, 'is anyxany and "input_size" is None; set "input_size"'),
    (False, (320, 320), r'is 64x32 and "input_size" is \(320, 320\)'),
])
def test_a_size_that_is_open_or_wrong_is_refused(tmp_path, dynamic, size, problem):
    path = write_bright_finder(tmp_path / 'm.onnx', (64, 32), dynamic)
    with pytest.raises(ModelError, match=problem):
        opened(path, input_size=size)


@pytest.mark.parametrize('inputs, problem', [
    ([('images', 'int32', (1, 3, 8, 8))], 'one float32, float16 or uint8 input'),
    ([('images', 'float32', (3, 8, 8))], r'four dimensions, but has: images \[3, 8, 8\]'),
    ([('images', 'float32', (1, 4, 8, 8))], 'but a picture has 3 channels'),
    ([('images', 'float32', (1, 8, 8, 1))], 'but a picture has 3 channels'),
    ([('images', 'float32', (1, 3, 8, 8)), ('more', 'float32', (1,))], 'but has: images .* more '),
    ([('images', 'float32', (2, 3, 8, 8))], 'opens but does not run: onnxruntime failed'),
])
def test_inputs_that_are_no_picture_are_refused(tmp_path, inputs, problem):
    _, dtype, shape = inputs[0]
    path = write_model(tmp_path / 'm.onnx', [node('Identity', ['images'], ['same'])], inputs,
                       [('same', dtype, shape)])
    with pytest.raises(ModelError, match=problem):
        opened(path)


@pytest.mark.parametrize('data', [b'', b'no model at all', bytes(100)])
def test_files_that_are_no_model_are_refused(tmp_path, data):
    path = tmp_path / 'm.onnx'
    path.write_bytes(data)
    with pytest.raises(ModelError, match='onnxruntime cannot load the model: .*m.onnx'):
        opened(path)


def test_only_allowed_providers_run_a_model(tmp_path):
    path = write_bright_finder(tmp_path / 'm.onnx', (64, 32))
    with pytest.raises(ModelError, match=r"None of the \"providers\" \['NoSuchProvider'\] is in"):
        opened(path, providers=('NoSuchProvider',))
    mixed = opened(path, providers=('NoSuchProvider', 'CPUExecutionProvider'))
    assert mixed.effective == 'onnxruntime CPUExecutionProvider'


def test_a_closed_model_refuses_inferences(tmp_path):
    runtime = opened(copy_model(tmp_path / 'm.onnx', (1, 3, 8, 8)))
    runtime.close()
    runtime.close()
    with pytest.raises(InferenceError, match='the model is closed'):
        runtime.infer([np.zeros((1, 3, 8, 8), np.float32)])


def test_a_failed_inference_does_not_spoil_the_next(tmp_path):
    runtime = opened(copy_model(tmp_path / 'm.onnx', (1, 3, 8, 8)))
    with pytest.raises(InferenceError, match='onnxruntime failed on a frame'):
        runtime.infer([np.zeros((1, 3, 9, 8), np.float32)])
    assert runtime.infer([np.ones((1, 3, 8, 8), np.float32)])[0].all()


def test_threads_may_share_a_model(tmp_path):
    runtime = opened(copy_model(tmp_path / 'm.onnx', (1, 3, 64, 64)))
    wrong = []

    def work(value):
        array = np.full((1, 3, 64, 64), value, np.float32)
        for _ in range(50):
            if not (runtime.infer([array])[0] == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and runtime.releases_gil


def test_onnx_files_are_for_onnxruntime(tmp_path):
    path = write_bright_finder(tmp_path / 'M.ONNX', (64, 32))
    assert choose_runtime(config(path)) == (OnnxRuntime, path.resolve(), '')
    runtime = open_runtime(config(path, runtime='onnxruntime'))
    assert isinstance(runtime, OnnxRuntime)
    assert RUNTIMES['onnxruntime'].find_sdk() is onnxruntime


def test_a_runtime_that_does_not_take_the_file_is_refused(tmp_path):
    path = write_bright_finder(tmp_path / 'm.onnx', (64, 32))
    with pytest.raises(ModelError, match="\"runtime\" is 'recorded', which takes .npz, .*; "
                                         'runtimes for it: onnxruntime'):
        open_runtime(config(path, runtime='recorded'))


@pytest.mark.parametrize('name, error, problem', [
    ('nothing.onnx', ConfigError, 'no such file'),
    ('m.tflite', ModelError, "No runtime is known for model files like 'm.tflite'; known are "
                             r'onnxruntime \(.onnx\), ')])
def test_models_that_nothing_runs(tmp_path, name, error, problem):
    with pytest.raises(error, match=problem):
        open_runtime(config(tmp_path / name))
