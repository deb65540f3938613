"""hbm_runtime of RDK S100 and of newer X5."""
import threading

import numpy as np
import pytest
from fake_sdks import SIZE, installed, work_config, write_board_file

from yolo_seg_node.errors import InferenceError, ModelError
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.runtimes.hbm_runtime import HbmRuntime

BUILDS = {'x5': '.bin', 's100': '.hbm'}


@pytest.fixture(autouse=True)
def sdk():
    with installed('hbm_runtime'):
        yield


@pytest.fixture
def model(tmp_path):
    def write(march='s100', model='float', **options):
        return write_board_file(tmp_path / f'toy{BUILDS[march]}', march, model, **options)
    return write


def open_runtime(path, **keys):
    return HbmRuntime(work_config(path, **keys), path)


def noise(march, seed):
    """Input arrays of a model."""
    flat = np.random.default_rng(seed).integers(0, 256, SIZE * SIZE * 3 // 2, np.uint8)
    if march == 'x5':
        return [flat]
    return [flat[:SIZE * SIZE].reshape(1, SIZE, SIZE, 1),
            flat[SIZE * SIZE:].reshape(1, SIZE // 2, SIZE // 2, 2)]


@pytest.mark.parametrize('march', BUILDS)
def test_outputs_are_dense_and_outlive_the_next_run(model, march):
    runtime = open_runtime(model(march))
    first = runtime.infer(noise(march, 1))
    kept = [array.copy() for array in first]
    second = runtime.infer(noise(march, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, kept))
    assert all(array.flags.c_contiguous for array in first)
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize('march, releases_gil', [('x5', False), ('s100', True)])
def test_workers_are_threads_only_where_the_build_documents_it(model, march, releases_gil):
    assert open_runtime(model(march)).releases_gil is releases_gil


def test_threads_take_turns_where_a_second_run_is_refused(model):
    runtime = open_runtime(model('x5'))
    errors = []

    def work():
        try:
            for _ in range(10):
                runtime.infer(noise('x5', 1))
        except InferenceError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


@pytest.mark.parametrize('march, zero_point, size', [('x5', None, 64), ('s100', 3, 64)])
def test_scales_come_with_zero_point_and_axis(model, march, zero_point, size):
    runtime = open_runtime(model(march, 'int', zero_point=zero_point or 0))
    cls, box, *_, proto = runtime.outputs
    assert cls.quantization is None and proto.quantization.scale.size == 1
    assert (box.quantization.scale.size, box.quantization.axis) == (size, 3)
    found = box.quantization.zero_point
    assert (found is None) if zero_point is None else (found == zero_point).all()


@pytest.mark.parametrize('how', ['none', 'raise'])
@pytest.mark.parametrize('march', BUILDS)
def test_failed_run(model, tmp_path, march, how):
    trouble = tmp_path / 'trouble'
    runtime = open_runtime(model(march, trouble=str(trouble)))
    trouble.write_text(how)
    with pytest.raises(InferenceError, match='hbm_runtime failed on a frame'):
        runtime.infer(noise(march, 1))
    trouble.unlink()
    assert len(runtime.infer(noise(march, 1))) == 10


@pytest.mark.parametrize('march', BUILDS)
def test_input_that_the_build_refuses(model, march):
    runtime = open_runtime(model(march))
    with pytest.raises(InferenceError, match='hbm_runtime failed on a frame: (Value|Runtime)Error'):
        runtime.infer([array[..., :-2] for array in noise(march, 1)])


def test_closed_model(model):
    runtime = open_runtime(model())
    runtime.close()
    with pytest.raises(InferenceError, match='closed'):
        runtime.infer(noise('s100', 1))


@pytest.mark.parametrize('march', BUILDS)
def test_truncated_model(model, march):
    path = model(march)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ModelError, match='may be truncated .*: hbDNNInitializeFromFiles failed'):
        open_runtime(path)


@pytest.mark.parametrize('march, given', [
    ('x5', {'images': ['RGB', [1, 3, 320, 320]]}),
    ('x5', {'images': ['NV12', [1, 3, 321, 320]]}),
    ('x5', {'images': ['NV12', [1, 1, 320, 320]]}),
    ('s100', {'y': ['U8', [1, 320, 320, 1]], 'uv': ['U8', [1, 160, 320, 2]]}),
    ('s100', {'uv': ['U8', [1, 160, 160, 2]], 'y': ['U8', [1, 320, 320, 1]]}),
    ('s100', {'y': ['F32', [1, 320, 320, 1]], 'uv': ['F32', [1, 160, 160, 2]]}),
    ('s100', {'a': ['U8', [1, 320, 320, 1]], 'b': ['U8', [1, 160, 160, 2]], 'c': ['U8', [1]]}),
])
def test_inputs_that_are_no_nv12_picture_are_listed(model, march, given):
    with pytest.raises(ModelError, match='one NV12 input .* or with two U8 inputs') as raised:
        open_runtime(model(march, input=given))
    assert all(f"('{name}', {tuple(shape)}, '{kind}')" in str(raised.value)
               for name, (kind, shape) in given.items())


@pytest.mark.parametrize('stated, words', [
    ({'1': {'dtype': 'bool'}}, "Output '488' is of type BOOL8; supported are S8"),
    ({'1': {'scale': [0.1] * 63}}, r"'488' of shape \(1, 40, 40, 64\) has 63 scales"),
])
def test_outputs_that_cannot_be_used(model, stated, words):
    with pytest.raises(ModelError, match=words):
        open_runtime(model(model='int', stated=stated))


def test_integer_output_without_scales(model):
    with pytest.raises(ModelError, match=r'without scales: 488 \(1, 40, 40, 64\) int32\. Set'):
        Pipeline.open(work_config(model(model='int', stated={'1': {'scale': []}})))


def test_core_and_priority(model):
    runtime = open_runtime(model(), bpu_cores=[0], priority=9)
    assert runtime._runtime.sched_params == {
        'priority': {'toy': 9}, 'bpu_cores': {'toy': [0]}}


def test_a_core_that_the_board_lacks(model):
    with pytest.raises(ModelError, match=r'refuses .*\[2\].*: this board has core 0 only.*change '):
        open_runtime(model(), bpu_cores=[2])


def test_model_name(model):
    assert open_runtime(model(), model_name='toy').effective == 'hbm_runtime BPU (model toy)'
    with pytest.raises(ModelError, match="\"model_name\" is 'other', but the model file holds"):
        open_runtime(model(), model_name='other')
