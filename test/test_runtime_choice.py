"""Which runtime a machine takes for a work config, and why not another."""
import sys

import pytest
from fake_sdks import MODELS, installed, vacc_model, vdsp_params, work_config, write_board_file

from yolo_seg_node.errors import ConfigError, ModelError, RuntimeMissingError
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.runtimes import RUNTIMES, choose_runtime, open_runtime

ONNX = str(MODELS['float'])


@pytest.fixture
def bin_file(tmp_path):
    return write_board_file(tmp_path / 'toy.bin', 'x5')


@pytest.fixture
def without_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)


@pytest.mark.parametrize('sdks, suffix, name', [
    (['hobot_dnn'], '.bin', 'hobot_dnn'),
    (['hobot_dnn_rdkx5'], '.bin', 'hobot_dnn'),
    (['hbm_runtime'], '.bin', 'hbm_runtime'),
    (['hobot_dnn', 'hbm_runtime'], '.bin', 'hbm_runtime'),
    (['hobot_dnn', 'hbm_runtime'], '.hbm', 'hbm_runtime'),
    ([], '.onnx', 'onnxruntime'),
    ([], '.npz', 'recorded'),
])
def test_auto_takes_what_fits_the_file_and_is_installed(tmp_path, sdks, suffix, name):
    path = tmp_path / f'toy{suffix}'
    path.touch()
    with installed(*sdks):
        choice = choose_runtime(work_config(path))
    assert (choice.runtime, choice.path, choice.fallback_reason) == (RUNTIMES[name], path, '')


def test_auto_takes_a_prefix_for_a_vacc_model(tmp_path):
    with installed('vaststreamx'):
        assert choose_runtime(work_config(vacc_model(tmp_path))).runtime.name == 'vaststreamx'


def test_the_config_may_choose_among_several(bin_file):
    with installed('hobot_dnn', 'hbm_runtime'):
        choice = choose_runtime(work_config(bin_file, runtime='hobot_dnn'))
    assert choice.runtime.name == 'hobot_dnn'


def test_both_names_of_the_same_binding_are_tried(bin_file):
    with installed('hobot_dnn_rdkx5'):
        runtime = open_runtime(work_config(bin_file))
    assert runtime.effective == 'hobot_dnn BPU (hobot_dnn_rdkx5.pyeasy_dnn, model toy)'


def test_a_missing_sdk_is_an_error_that_tells_why_each_candidate_was_refused(bin_file):
    with installed(), pytest.raises(RuntimeMissingError) as raised:
        open_runtime(work_config(bin_file))
    first, *refusals = str(raised.value).splitlines()
    assert 'name a model for this machine, as a rule an .onnx, in "fallback_model_file"' in first
    assert [line.split(':')[0] for line in refusals] == ['  - hbm_runtime', '  - hobot_dnn']
    assert "No module named 'hbm_runtime'" in refusals[0]
    assert "'hobot_dnn'" in refusals[1] and "'hobot_dnn_rdkx5'" in refusals[1]


def test_a_chosen_runtime_that_is_missing_is_not_replaced_by_another(bin_file):
    with installed('hobot_dnn'), pytest.raises(RuntimeMissingError, match='- hbm_') as raised:
        open_runtime(work_config(bin_file, runtime='hbm_runtime'))
    assert '- hobot_dnn' not in str(raised.value)


def test_a_card_that_is_missing(tmp_path):
    config = work_config(vacc_model(tmp_path), vdsp_params=str(vdsp_params(tmp_path)))
    with installed('vaststreamx'):
        import vaststreamx
        vaststreamx.DIES = 0
        with pytest.raises(RuntimeMissingError, match='- vaststreamx: .* finds no VACC card'):
            open_runtime(config)


@pytest.mark.parametrize('runtime, name', [
    ('hobot_dnn', 'toy.hbm'), ('hobot_dnn', 'toy.onnx'), ('onnxruntime', 'toy.bin'),
    ('hbm_runtime', 'toy.onnx'), ('recorded', 'toy.bin')])
def test_wrong_runtime_for_the_file(tmp_path, runtime, name):
    path = tmp_path / name
    path.touch()
    with installed('hobot_dnn', 'hbm_runtime'), pytest.raises(
            ModelError, match=rf'"runtime" is \'{runtime}\', which takes .*; runtimes for it: '):
        open_runtime(work_config(path, runtime=runtime))


def test_a_file_that_no_runtime_knows_is_refused_with_what_they_take(tmp_path):
    path = tmp_path / 'toy.tflite'
    path.touch()
    with pytest.raises(ModelError, match=r"like 'toy.tflite'; known are onnxruntime \(.onnx\)"):
        open_runtime(work_config(path))


@pytest.mark.parametrize('exists', [True, False])
@pytest.mark.parametrize('runtime', ['auto', 'hobot_dnn'])
def test_the_fallback_is_taken_where_the_accelerator_is_missing(bin_file, exists, runtime):
    if not exists:
        bin_file.unlink()
    with installed():
        opened = open_runtime(work_config(bin_file, fallback_model_file=ONNX, runtime=runtime))
    assert opened.effective.startswith(
        'onnxruntime CPUExecutionProvider, fallback shapes_seg_float.onnx (')
    assert "No module named 'hobot_dnn'" in opened.effective


def test_the_fallback_runs(bin_file):
    with installed():
        pipeline = Pipeline.open(work_config(bin_file, fallback_model_file=ONNX))
    assert pipeline.facts.has_masks and pipeline.facts.model_path == MODELS['float']


def test_the_fallback_is_not_taken_where_the_accelerator_is_there(bin_file):
    with installed('hobot_dnn'):
        assert open_runtime(work_config(bin_file, fallback_model_file=ONNX)).effective == (
            'hobot_dnn BPU (hobot_dnn.pyeasy_dnn, model toy)')


def test_a_broken_model_is_no_reason_for_the_fallback(bin_file):
    bin_file.write_text('x5\n{')
    with installed('hobot_dnn'), pytest.raises(ModelError, match='may be truncated'):
        open_runtime(work_config(bin_file, fallback_model_file=ONNX))


def test_a_missing_model_is_no_reason_for_the_fallback_on_the_board(bin_file):
    config = work_config(bin_file, fallback_model_file=ONNX)
    bin_file.unlink()
    with installed('hobot_dnn'), pytest.raises(ConfigError, match='toy.bin.*no such file'):
        open_runtime(config)


def test_a_fallback_that_cannot_run_either(bin_file, without_onnxruntime):
    with installed(), pytest.raises(RuntimeMissingError) as raised:
        open_runtime(work_config(bin_file, fallback_model_file=ONNX))
    assert [line.split(':')[0] for line in str(raised.value).splitlines()[1:]] == [
        '  - hbm_runtime', '  - hobot_dnn', '  - onnxruntime']
