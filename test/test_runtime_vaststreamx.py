"""vaststreamx on VACC cards, and the vdsp_params file that says what the card does."""
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_sdks import SIZE, VACC_ORDER, installed, vacc_model, vdsp_params, work_config

from yolo_seg_node.errors import InferenceError, ModelError, RuntimeMissingError
from yolo_seg_node.letterbox import LETTERBOX, STRETCH
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.runtimes.vaststreamx import VaststreamxRuntime
from yolo_seg_node.runtimes.vdsp_params import MODES, read_vdsp_params

MODES_OF_STREAM = ('sync', 'async')


@pytest.fixture(autouse=True)
def sdk():
    with installed('vaststreamx'):
        yield


@pytest.fixture
def opened(tmp_path):
    runtimes = []

    def start(vdsp=None, keys=None, **options):
        prefix = vacc_model(tmp_path, **options)
        config = work_config(prefix, vdsp_params=str(vdsp_params(tmp_path, **(vdsp or {}))),
                             **(keys or {}))
        runtimes.append(VaststreamxRuntime(config, prefix))
        return runtimes[-1]
    yield start
    for runtime in runtimes:
        runtime.close()


def noise(seed, size_wh=(64, 48)):
    """A planar picture."""
    width, height = size_wh
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), np.uint8)


@pytest.mark.parametrize('mode', MODES_OF_STREAM)
def test_outputs_have_the_stated_shapes_and_outlive_the_next_run(opened, mode):
    runtime = opened(keys={'stream_mode': mode})
    first = runtime.infer([noise(1)])
    kept = [array.copy() for array in first]
    second = runtime.infer([noise(2)])
    assert all(np.array_equal(a, b) for a, b in zip(first, kept))
    assert not np.array_equal(first[0], second[0])
    assert [array.shape for array in first[:2]] == [(1, 64, 40, 40), (1, 4, 40, 40)]
    assert {array.dtype for array in first} == {np.dtype(np.float32)}


@pytest.mark.parametrize('mode', MODES_OF_STREAM)
def test_threads_get_the_results_of_their_own_pictures(opened, mode):
    """In a stream results come without a mark, in the order of submission."""
    runtime = opened(keys={'stream_mode': mode})
    wanted = {seed: runtime.infer([noise(seed)])[1] for seed in range(4)}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: runtime.infer([noise(n % 4)])[1], range(40)))
    assert all(np.array_equal(array, wanted[n % 4]) for n, array in enumerate(found))
    assert len({array.tobytes() for array in wanted.values()}) == 4


def test_a_stream_takes_pictures_while_it_works_on_others(opened):
    runtime = opened(keys={'stream_mode': 'async'}, hold_ms=20)
    submitted, waiting = runtime._stream._stream._submitted, []
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(runtime.infer, [noise(n)]) for n in range(9)]
        while not all(result.done() for result in results):
            waiting.append(submitted.qsize())
    assert max(waiting) >= 1


@pytest.mark.parametrize('mode, how', [('sync', 'none'), ('sync', 'raise'), ('async', 'none')])
def test_a_failed_run_costs_its_own_picture_only(opened, tmp_path, mode, how):
    trouble = tmp_path / 'trouble'
    runtime = opened(keys={'stream_mode': mode}, trouble=str(trouble))
    trouble.write_text(how)
    with pytest.raises(InferenceError, match='vaststreamx failed on a frame'):
        runtime.infer([noise(1)])
    trouble.unlink()
    assert len(runtime.infer([noise(1)])) == 10


def test_a_stream_that_lost_a_result_refuses_the_rest_until_it_is_reopened(opened, tmp_path):
    trouble = tmp_path / 'trouble'
    runtime = opened(keys={'stream_mode': 'async'}, trouble=str(trouble))
    trouble.write_text('raise')
    with pytest.raises(InferenceError, match='vaststreamx failed on a frame'):
        runtime.infer([noise(1)])
    trouble.unlink()
    with pytest.raises(InferenceError, match='the stream broke'):
        runtime.infer([noise(1)])
    runtime.close()
    assert len(opened(keys={'stream_mode': 'async'}).infer([noise(1)])) == 10


@pytest.mark.parametrize('mode', MODES_OF_STREAM)
def test_closed_model(opened, mode):
    runtime = opened(keys={'stream_mode': mode})
    runtime.close()
    with pytest.raises(InferenceError, match='closed'):
        runtime.infer([noise(1)])


def test_a_stream_is_finished_before_it_is_let_go(opened):
    runtime = opened(keys={'stream_mode': 'async'}, hold_ms=20)
    stream = runtime._stream._stream
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(runtime.infer, [noise(n)]) for n in range(2)]
        while stream._submitted.qsize() < 1:
            pass
        runtime.close()
    assert [len(result.result()) for result in results] == [10, 10]
    assert not stream._thread.is_alive()


def test_what_runs(opened):
    assert opened(keys={'device_id': 1, 'stream_mode': 'async'}).effective == (
        'vaststreamx VACC die 1, async, rgb_planar letterbox DIV255')


def test_a_die_that_does_not_exist(opened):
    with pytest.raises(ModelError, match=r'die 7 \("device_id"\) cannot be used, set_device gave'):
        opened(keys={'device_id': 7})


def test_no_card(monkeypatch):
    import vaststreamx
    monkeypatch.setattr(vaststreamx, 'DIES', 0)
    with pytest.raises(RuntimeMissingError, match='vaststreamx finds no VACC card'):
        VaststreamxRuntime.find_sdk()


def config_of(tmp_path, **keys):
    return work_config(vacc_model(tmp_path), vdsp_params=str(vdsp_params(tmp_path)), **keys)


@pytest.mark.parametrize('suffix', ['.so', '.json', '.params'])
def test_a_file_of_the_model_is_missing(tmp_path, suffix):
    config = config_of(tmp_path)
    (tmp_path / f'mod{suffix}').unlink()
    with pytest.raises(ModelError, match=rf'lacks mod\{suffix}; "model_file" is the prefix'):
        VaststreamxRuntime(config, tmp_path / 'mod')


@pytest.mark.parametrize('suffix, words', [('.params', 'weights are cut'), ('.json', 'truncated')])
def test_truncated_model(tmp_path, suffix, words):
    config = config_of(tmp_path)
    path = tmp_path / f'mod{suffix}'
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelError, match=f'vaststreamx cannot open the model; .*{words}'):
        VaststreamxRuntime(config, tmp_path / 'mod')


def test_vdsp_params_is_needed(tmp_path):
    with pytest.raises(ModelError, match='A VACC model needs "vdsp_params"'):
        VaststreamxRuntime(work_config(vacc_model(tmp_path)), tmp_path / 'mod')


@pytest.mark.parametrize('shape', [[1, 1, 320, 320], [2, 3, 320, 320], [1, 3, 320]])
def test_input_that_is_no_picture(opened, shape):
    with pytest.raises(ModelError, match=r'must have one input \(1, 3, h, w\), but this one has: '):
        opened(input={'shape': shape})


def test_vdsp_params_of_another_size(opened):
    with pytest.raises(ModelError, match=r'resizes to \(640, 320\), but the model takes \(320,'):
        opened(vdsp={'OimageWidth': 640})


def test_the_model_may_decide_the_size(opened):
    assert opened(vdsp={'OimageWidth': None, 'OimageHeight': None}).input_format.size_wh == (
        SIZE, SIZE)


def test_outputs_that_are_fewer_than_stated_or_of_another_size(opened):
    with pytest.raises(ModelError, match='opens but does not run: vaststreamx failed'):
        opened(stated={'1': {'shape': [1, 5, 40, 40]}})


def test_outputs_that_do_not_fit_the_parser_are_refused_with_a_table(tmp_path):
    config = work_config(vacc_model(tmp_path, order=VACC_ORDER[:9]),
                         vdsp_params=str(vdsp_params(tmp_path)))
    with pytest.raises(ModelError, match='The model has 9 outputs') as raised:
        Pipeline.open(config)
    assert '\n  expected proto    80x80x32' in str(raised.value)
    assert '\n  found    output 8: output_8 (1, 32, 10, 10) float32' in str(raised.value)


@pytest.mark.parametrize('op_type', MODES)
def test_geometry_of_an_operator(tmp_path, op_type):
    params = read_vdsp_params(vdsp_params(tmp_path, op_type=op_type))
    assert params.mode == (LETTERBOX if 'LETTERBOX' in op_type else STRETCH)
    assert params.pixels == ('nv12' if 'NV12' in op_type else 'rgb_planar')
    assert params.size_wh == (SIZE, SIZE)


@pytest.mark.parametrize('name, pixels', [
    ('RGB_PLANAR', 'rgb_planar'), ('BGR_PLANAR', 'bgr_planar'), ('RGB888', 'rgb'),
    ('BGR888', 'bgr')])
def test_colour_order(tmp_path, name, pixels):
    assert read_vdsp_params(vdsp_params(tmp_path, IimageFormat=name)).pixels == pixels


def test_a_list_of_one_operator_is_taken(tmp_path):
    path = vdsp_params(tmp_path)
    path.write_text(f'[{path.read_text()}]')
    assert read_vdsp_params(path).normalisation == 'DIV255'


@pytest.mark.parametrize('change, words', [
    ({'op_type': 'SINGLE_OP_CROP'}, '"OpType" is \'SINGLE_OP_CROP\', but boxes can be mapped back'),
    ({'op_type': ['a']}, r'"OpType" is \[\'a\'\], but boxes'),
    ({'op_type': 'FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR_EXT'}, "_EXT', but boxes"),
    ({'IimageFormat': 'GRAY'}, '"IimageFormat" is \'GRAY\', but must be one of RGB_PLANAR, BGR_PL'),
    ({'IimageFormat': {}}, '"IimageFormat" is {}, but must be one of'),
    ({'OimageWidth': 0}, r'"OimageWidth" and "OimageHeight" are \(0, 320\), but must be whole'),
    ({'OimageHeight': None}, r'are \(320, None\), but must be whole numbers above 0, or both'),
    ({'NormaType': 'DIV2'}, '"NormaType" is \'DIV2\', but must be one of EQUAL, DIV255'),
    ({'NormaType': 'MINUSMEAN_DIVSTD'}, '"Mean" is None, but must be three numbers'),
    ({'NormaType': 'MINUSMEAN_DIVSTD', 'Mean': [1, 2, 3], 'Std': [1, 2]}, r'"Std" is \[1, 2\]'),
    ({'Padding': 114}, '"Padding" is 114, but must be three numbers'),
])
def test_vdsp_params_that_boxes_cannot_be_mapped_back_through(tmp_path, change, words):
    with pytest.raises(ModelError, match=words):
        read_vdsp_params(vdsp_params(tmp_path, **change))


@pytest.mark.parametrize('text, words', [
    ('{"OpType": ', 'cannot be read'), ('[]', 'holds 0 entries'), ('[1]', 'must hold one operator'),
    (json.dumps([{}, {}]), 'holds 2 entries'), ('{}', '"OpType" is None'),
    (' ' * 1_050_000, 'larger than'), ('[' * 10_000, 'cannot be read')])
def test_broken_vdsp_params(tmp_path, text, words):
    path = tmp_path / 'vdsp_params.json'
    path.write_text(text)
    with pytest.raises(ModelError, match=words):
        read_vdsp_params(path)
