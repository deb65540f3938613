"""pyeasy_dnn of RDK X3 and X5, in all its versions."""
import threading

import numpy as np
import pytest
from fake_sdks import SIZE, installed, work_config, write_board_file

from yolo_seg_node.errors import InferenceError, ModelError
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.runtimes.hobot_dnn import HobotDnnRuntime

MARCHES = ('x5', 'x3', 'x3_20_04')
PICTURE_BYTES = SIZE * SIZE * 3 // 2


@pytest.fixture(autouse=True)
def sdk():
    with installed('hobot_dnn'):
        yield


@pytest.fixture
def model(tmp_path):
    def write(march='x5', model='float', **options):
        return write_board_file(tmp_path / 'toy.bin', march, model, **options)
    return write


def open_runtime(path, **keys):
    return HobotDnnRuntime(work_config(path, **keys), path)


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, PICTURE_BYTES, np.uint8)


@pytest.mark.parametrize('march', MARCHES)
def test_outputs_outlive_the_next_inference(model, march):
    runtime = open_runtime(model(march))
    first = runtime.infer([noise(1)])
    kept = [array.copy() for array in first]
    second = runtime.infer([noise(2)])
    assert all(np.array_equal(a, b) for a, b in zip(first, kept))
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize('march', MARCHES)
def test_threads_that_share_a_model_get_their_own_results(model, march):
    runtime = open_runtime(model(march))
    pictures = [noise(seed) for seed in range(4)]
    wanted = [runtime.infer([picture])[0] for picture in pictures]
    mixed = []

    def work(index):
        for _ in range(10):
            if not np.array_equal(runtime.infer([pictures[index]])[0], wanted[index]):
                mixed.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mixed
    assert len({array.tobytes() for array in wanted}) == 4


def test_each_output_is_copied_out_of_the_binding_once_a_frame(model):
    runtime = open_runtime(model())
    before = runtime._model.buffer_reads
    runtime.infer([noise(1)])
    assert runtime._model.buffer_reads - before == len(runtime.outputs) == 10


@pytest.mark.parametrize('picture', [
    noise(1)[:-1], noise(1).reshape(SIZE * 3 // 2, SIZE), noise(1).astype(np.float32),
    np.repeat(noise(1), 2)[::2]], ids=['short', 'two axes', 'float', 'strided'])
def test_a_picture_that_the_binding_would_misread_is_refused(model, picture):
    runtime = open_runtime(model())
    with pytest.raises(InferenceError, match=f'contiguous uint8 array of {PICTURE_BYTES} bytes'):
        runtime.infer([picture])


@pytest.mark.parametrize('how', ['none', 'raise'])
@pytest.mark.parametrize('march', MARCHES)
def test_failed_inference(model, tmp_path, march, how):
    trouble = tmp_path / 'trouble'
    runtime = open_runtime(model(march, trouble=str(trouble)))
    trouble.write_text(how)
    with pytest.raises(InferenceError, match='hobot_dnn failed on a frame: (it gave nothing|the '
                                             'task cannot be submitted)'):
        runtime.infer([noise(1)])
    trouble.unlink()
    assert len(runtime.infer([noise(1)])) == 10


def test_closed_model(model):
    runtime = open_runtime(model())
    runtime.close()
    with pytest.raises(InferenceError, match='closed'):
        runtime.infer([noise(1)])


@pytest.mark.parametrize('march', MARCHES)
def test_truncated_model(model, march):
    path = model(march)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ModelError, match='may be truncated .*: load model file failed: .*toy.bin'):
        open_runtime(path)


@pytest.mark.parametrize('march', MARCHES)
@pytest.mark.parametrize('how', ['none', 'raise'])
def test_model_that_opens_but_does_not_run(model, tmp_path, march, how):
    trouble = tmp_path / 'trouble'
    trouble.write_text(how)
    with pytest.raises(ModelError, match='opens but does not run: hobot_dnn failed'):
        open_runtime(model(march, trouble=str(trouble)))


@pytest.mark.parametrize('given, words', [
    ({'type': 'RGB'}, r'one NV12 input .* this one has: images \(1, 3, 320, 320\) RGB'),
    ({'shape': [1, 1, 320, 320]}, r'one NV12 input .* images \(1, 1, 320, 320\) NV12'),
    ({'shape': [1, 3, 320, 328]}, '328x320, but its height must be even and its width a multiple'),
    ({'shape': [1, 3, 321, 320]}, '320x321, but its height must be even'),
])
def test_input_that_is_no_nv12_picture(model, given, words):
    with pytest.raises(ModelError, match=words):
        open_runtime(model(input=given))


@pytest.mark.parametrize('stated, words', [
    ({'1': {'dtype': 'float16'}}, "Output '488' is of type float16, which hobot_dnn cannot"),
    ({'1': {'scale': [0.1] * 63}}, r"'488' of shape \(1, 40, 40, 64\) has 63 scales"),
    ({'1': {'scale': [0.1, -1] * 32}}, "'488' has scales that are empty, not finite or not above"),
])
def test_outputs_that_cannot_be_used(model, stated, words):
    with pytest.raises(ModelError, match=words):
        open_runtime(model(model='int', stated=stated))


def test_a_type_that_an_old_binding_hands_out_as_bytes_is_refused_with_a_table(model):
    with pytest.raises(ModelError) as raised:
        open_runtime(model('x3', 'int'))
    lines = str(raised.value).splitlines()
    assert lines[0].startswith('hobot_dnn gives 10 output(s) that differ from the 10')
    assert lines[-1] == '  output 9: expected (1, 80, 80, 32) int16, found (1, 80, 80, 32) int8'


@pytest.mark.parametrize('options, keys, words', [
    ({'order': [0, 1, 2, 3, 4, 5, 6, 7, 8]}, {}, 'The model has 9 outputs, but the parser needs'),
    ({}, {'class_num': 5}, 'No assignment of the outputs to the heads fits'),
])
def test_outputs_that_do_not_fit_the_parser_are_refused_with_a_table(model, options, keys, words):
    with pytest.raises(ModelError, match=words) as raised:
        Pipeline.open(work_config(model(**options), **keys))
    lines = str(raised.value).splitlines()
    assert sum(line.startswith('  expected cls_8') for line in lines) == 1
    assert sum(line.startswith('  found    output 0: 481 (1, 40, 40, 4)') for line in lines) == 1


def test_integer_output_without_scales(model):
    with pytest.raises(ModelError, match=r'without scales: 488 \(1, 40, 40, 64\) int32\. Set'):
        Pipeline.open(work_config(model(model='int', stated={'1': {'scale': []}})))


@pytest.mark.parametrize('keys, arguments', [
    ({}, (0, 0)), ({'priority': 7}, (0, 7)), ({'bpu_cores': [0]}, (1, 0)),
    ({'bpu_cores': [1], 'priority': 255}, (2, 255)), ({'bpu_cores': [0, 1]}, (0, 0)),
])
def test_core_and_priority(model, keys, arguments):
    runtime = open_runtime(model(), **keys)
    runtime.infer([noise(1)])
    assert set(runtime._model.calls) == {arguments}


def test_a_core_that_does_not_exist(model):
    with pytest.raises(ModelError, match=r'"bpu_cores" is \[2\], but hobot_dnn knows cores 0'):
        open_runtime(model(), bpu_cores=[2])


def test_only_the_first_model_of_a_file_can_be_named(model):
    assert open_runtime(model(), model_name='toy').effective == (
        'hobot_dnn BPU (hobot_dnn.pyeasy_dnn, model toy)')
    with pytest.raises(ModelError, match="\"model_name\" is 'other', but .* which is 'toy'"):
        open_runtime(model(), model_name='other')
