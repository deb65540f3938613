"""Outputs that were recorded on an accelerator, played back."""
import numpy as np
import pytest
from heads_factory import Form, make_scene, store, write_recording

from yolo_seg_node.config import WorkConfig, make_work_config
from yolo_seg_node.errors import InferenceError, ModelError
from yolo_seg_node.frame import frame_from_bgr
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.runtimes import RUNTIMES, choose_runtime
from yolo_seg_node.runtimes.recorded import RecordedRuntime, load_outputs, paired_recordings


def opened(path, **keys):
    config = WorkConfig(str(path), 'yolov8', **{'input_size': (64, 32), **keys})
    return RecordedRuntime(config, path)


def record(path, *arrays):
    np.savez(path, **{f'output_{i}': array for i, array in enumerate(arrays)})
    return path


def test_outputs_are_given_in_order_of_their_number(tmp_path):
    """Twelve of them, so that output_10 would come before output_2 by name."""
    arrays = [np.full((1, i + 1), i, np.int16) for i in range(12)]
    runtime = opened(record(tmp_path / 'a.npz', *arrays))
    assert [spec.name for spec in runtime.outputs] == [f'output_{i}' for i in range(12)]
    assert [spec.shape for spec in runtime.outputs] == [(1, i + 1) for i in range(12)]
    for given, array in zip(runtime.infer([]), arrays):
        assert given.dtype == np.int16
        np.testing.assert_array_equal(given, array)


def test_one_file_is_given_for_every_frame(tmp_path):
    runtime = opened(record(tmp_path / 'a.npz', np.ones(3)))
    assert all(runtime.infer([])[0].tolist() == [1, 1, 1] for _ in range(3))
    assert runtime.effective == 'recorded outputs, 1 file(s)'


def test_a_folder_is_played_once_in_order_of_name(tmp_path):
    for name, value in (('b', 2), ('a', 1), ('c', 3)):
        record(tmp_path / f'{name}.npz', np.float32([value]))
    (tmp_path / 'notes.txt').write_text('no recording')
    runtime = opened(tmp_path)
    assert [runtime.infer([])[0][0] for _ in range(3)] == [1, 2, 3]
    with pytest.raises(InferenceError, match='All 3 recordings are played'):
        runtime.infer([])
    runtime.close()


def test_a_broken_or_other_recording_loses_one_frame(tmp_path):
    record(tmp_path / 'a.npz', np.zeros(2))
    (tmp_path / 'b.npz').write_bytes(b'no archive')
    record(tmp_path / 'c.npz', np.zeros(3))
    record(tmp_path / 'd.npz', np.zeros(2, np.float32))
    record(tmp_path / 'e.npz', np.ones(2))
    runtime = opened(tmp_path)
    runtime.infer([])
    for problem in ('cannot be read.*b.npz', 'not the shapes and dtypes.*c.npz',
                    'not the shapes and dtypes.*d.npz'):
        with pytest.raises(InferenceError, match=problem):
            runtime.infer([])
    assert runtime.infer([])[0].tolist() == [1, 1]


@pytest.mark.parametrize('arrays, problem', [
    ({}, r'without a gap, but there are \[\]'),
    ({'other': np.ones(1)}, 'must be called output_0, output_1'),
    ({'output_0': np.ones(1), 'output_2': np.ones(1)}, r'without a gap, but there are \[0, 2\]'),
    ({'output_1': np.ones(1)}, 'without a gap'),
    ({'output_0': np.array([{}], object)}, 'cannot be read: output_0.npy has dtype object'),
])
def test_archives_that_are_no_recording_are_refused(tmp_path, arrays, problem):
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(ModelError, match=problem):
        opened(tmp_path / 'a.npz')


@pytest.mark.parametrize('part', [0, 10, 0.5, -1])
def test_cut_files_are_refused(tmp_path, part):
    data = record(tmp_path / 'a.npz', np.arange(1000)).read_bytes()
    (tmp_path / 'b.npz').write_bytes(data[:int(len(data) * part) if part < 1 else part])
    with pytest.raises(ModelError, match='cannot be read'):
        load_outputs(tmp_path / 'b.npz')


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match='no .npz file'):
        opened(tmp_path)


def test_the_size_of_the_model_must_be_given(tmp_path):
    with pytest.raises(ModelError, match='set "input_size"'):
        opened(record(tmp_path / 'a.npz', np.ones(1)), input_size=None)


def test_recordings_and_folders_are_for_this_runtime(tmp_path):
    path = record(tmp_path / 'a.npz', np.ones(1))
    for model in (path, tmp_path):
        config = WorkConfig(str(model), 'yolov8', input_size=(64, 32))
        assert choose_runtime(config) == (RecordedRuntime, model.resolve(), '')
    assert RUNTIMES['recorded'].find_sdk() is None


def test_extra_arrays_are_left_out(tmp_path):
    np.savez(tmp_path / 'a.npz', output_0=np.ones(1), image=np.ones(5), my_output_1=np.ones(2))
    assert len(load_outputs(tmp_path / 'a.npz')) == 1


def test_lines_of_a_data_list_are_paired_by_order(tmp_path):
    for i in range(3):
        record(tmp_path / f'{i:04}.npz', np.ones(1))
    data_list = tmp_path / 'list.txt'
    data_list.write_text('pictures/dog.jpg\r\n\npictures/cat.v2.png\nox\n')
    pairs = paired_recordings(tmp_path, data_list)
    assert [(listed.as_posix(), path.name) for listed, path in pairs] == [
        ('pictures/dog.jpg', '0000.npz'), ('pictures/cat.v2.png', '0001.npz'), ('ox', '0002.npz')]
    data_list.write_text('a\nb\n')
    with pytest.raises(ModelError, match='2 lines, but there are 3 recordings'):
        paired_recordings(tmp_path, data_list)
    with pytest.raises(ModelError, match='data list cannot be read'):
        paired_recordings(tmp_path, tmp_path / 'nothing.txt')


def test_a_recording_of_a_board_through_the_pipeline(tmp_path):
    stored = store(make_scene(), Form(dtypes={'box': 'int32', 'mc': 'int32', 'proto': 'int16'},
                                      per_channel=frozenset(['box', 'mc'])))
    values = write_recording(stored, tmp_path)
    pipeline = Pipeline.open(make_work_config(values, tmp_path / 'config.json'))
    found = pipeline.process(frame_from_bgr(np.zeros((256, 256, 3), np.uint8))).detections
    assert set(found.class_id.tolist()) == {one.class_id for one in stored.scene.objects}
    assert pipeline.facts.has_masks and len(found.masks.crops) == len(found)
