"""Work configs: every TROS key, every kind of mistake, and all mistakes of a file at once."""
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_seg_node.config import (MAX_BYTES, WorkConfig, find_work_config, load_work_config,
                                  make_work_config)
from yolo_seg_node.errors import ConfigError
from yolo_seg_node.parsers import PARSERS
from yolo_seg_node.paths import share_dir

DATA = Path(__file__).parent / 'data'
LEAST = {'model_file': 'model.bin', 'dnn_Parser': 'yolov8_seg'}


def made(**keys):
    return make_work_config({**LEAST, **keys}, require_model=False)


def problems_of(values, **options):
    with pytest.raises(ConfigError) as error:
        make_work_config(values, **{'require_model': False, **options})
    return error.value.problems


def written(tmp_path, content, name='config.json'):
    path = tmp_path / name
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    return path


def test_the_example_of_tros_loads_unchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_work_config(DATA / 'tros_yolo11_seg.json', require_model=False)
    assert config == WorkConfig(
        'your_segmentation_model_file.bin', 'yolov8_seg', DATA / 'tros_yolo11_seg.json', task_num=4,
        class_num=80, class_names=config.class_names, reg_max=16, num_mask=32, strides=(8, 16, 32),
        score_threshold=0.4, nms_threshold=0.5, nms_top_k=5000)
    assert (len(config.class_names), config.class_names[0]) == (80, 'person')
    assert config.warnings == ()


def test_the_example_names_its_missing_model():
    with pytest.raises(ConfigError, match='"model_file" is \'your_segmentation_model_file.bin\', '
                                          'but there is no such file; looked in: .*data, '):
        load_work_config(DATA / 'tros_yolo11_seg.json')


# what the shipped work configs of TROS hold, by parser
TROS_CONFIGS = {
    'yolov8': {'model_output_count': 6, 'reg_max': 16, 'class_num': 80, 'task_num': 4,
               'cls_names_list': 'config/coco.list', 'strides': [8, 16, 32], 'nms_top_k': 300,
               'score_threshold': 0.25, 'nms_threshold': 0.7, 'output_order': [0, 1, 2, 3, 4, 5]},
    'yolov10': {'model_output_count': 6, 'reg_max': 16, 'class_num': 80, 'strides': [8, 16, 32],
                'score_threshold': 0.25, 'top_k': 300},
    'yolov5x': {'model_name': 'yolov5x_672x672_nv12', 'model_output_count': 3, 'class_num': 80,
                'cls_names_list': 'config/coco.list', 'strides': [8, 16, 32],
                'anchors_table': [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]],
                                  [[116, 90], [156, 198], [373, 326]]],
                'score_threshold': 0.4, 'nms_threshold': 0.5, 'nms_top_k': 5000,
                'output_order': [0, 1, 2]},
    'ultralytics_yolo': {'model_output_count': 6, 'reg_max': 1, 'is_performance': True,
                         'task_num': 4, 'output_order': [0, 1, 2, 3, 4, 5]},
    'yolo26_seg': {'model_output_count': 10, 'class_num': 80, 'num_mask': 32,
                   'score_threshold': 0.25, 'nms_threshold': 0.65, 'nms_top_k': 5000},
    'yolo26e_seg': {'model_output_count': 2, 'combined_output': True},
    'yolov8_seg': {'output_roi': False, 'is_performance': False, 'community_qat': True,
                   'dequanti_file': 'not read'},
}


@pytest.mark.parametrize('parser', TROS_CONFIGS)
def test_keys_of_tros_are_taken_over(parser):
    keys = TROS_CONFIGS[parser]
    config = made(dnn_Parser=parser, **keys)
    assert config.warnings == ()
    assert config.parser == parser
    renamed = {'top_k': 'nms_top_k'}
    without_effect = {'model_output_count', 'cls_names_list', 'is_performance', 'community_qat',
                      'combined_output', 'dequanti_file'}
    for key, value in keys.items():
        if key not in without_effect:
            assert as_lists(getattr(config, renamed.get(key, key))) == value, key


def as_lists(value):
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize('parser, score, nms, top_k', [
    ('yolov8_seg', 0.4, 0.5, 5000), ('yolov8', 0.4, 0.5, 5000), ('yolov10', 0.4, 0.5, 300),
    ('yolov5', 0.4, 0.5, 5000), ('yolov5x', 0.4, 0.5, 5000), ('yolov4', 0.4, 0.6, 5000)])
def test_defaults_are_those_of_tros(parser, score, nms, top_k):
    config = made(dnn_Parser=parser)
    assert (config.score_threshold, config.nms_threshold, config.nms_top_k) == (score, nms, top_k)
    assert (config.task_num, config.class_num, config.strides) == (4, 80, (8, 16, 32))
    settings = config.decode_settings()
    assert (settings.score_threshold, settings.nms_threshold, settings.max_detections) == (
        score, nms, top_k)


@pytest.mark.parametrize('parser', PARSERS)
def test_only_mask_parsers_have_mask_coefficients(parser):
    assert made(dnn_Parser=parser).num_mask == (32 if parser.endswith('_seg') else None)
    assert made(dnn_Parser=parser, num_mask=8).num_mask == (8 if parser.endswith('_seg') else None)


def test_decode_settings_of_own_keys():
    settings = made(score_threshold=0, nms_threshold=1, nms_top_k=7, max_candidates=9,
                    class_agnostic_nms=True).decode_settings()
    assert (settings.score_threshold, settings.nms_threshold, settings.max_detections,
            settings.max_candidates, settings.class_agnostic_nms, settings.classes) == (
                0, 1, 7, 9, True, None)


def test_lists_become_tuples_all_the_way_down():
    config = made(dnn_Parser='yolov5', strides=[8], input_size=[64, 32], providers=['a', 'b'],
                  anchors_table=[[[1, 2], [3, 4]]])
    assert (config.strides, config.input_size, config.providers) == ((8,), (64, 32), ('a', 'b'))
    assert config.anchors_table == (((1, 2), (3, 4)),)
    assert hash(config) == hash(config)


# value of one key -> what the message must say; the key is always named
WRONG = [
    ('class_num', '80', 'is "80", but must be of type integer'),
    ('class_num', 80.0, 'must be of type integer'),
    ('class_num', True, 'must be of type integer'),
    ('class_num', 0, 'must be at least 1'),
    ('class_num', 65535, 'must be at most 65534'),
    ('class_num', None, 'is null, but must be of type integer'),
    ('score_threshold', 1.01, 'is 1.01, but must be at most 1'),
    ('score_threshold', -0.1, 'must be at least 0'),
    ('score_threshold', '0.4', 'must be of type number'),
    ('nms_threshold', 2, 'must be at most 1'),
    ('nms_top_k', 0, 'must be at least 1'),
    ('task_num', 0, 'must be at least 1'),
    ('reg_max', 65, 'must be at most 64'),
    ('num_mask', 0, 'must be at least 1'),
    ('strides', [], 'must have at least 1 entries'),
    ('strides', [8, 8, 16], 'must not repeat an entry'),
    ('strides', 8, 'must be of type array'),
    ('strides', [8, '16'], 'must be of type integer'),
    ('strides', [1, 2, 4, 8, 16, 32, 64], 'must have at most 6 entries'),
    ('model_file', '', 'must not be empty'),
    ('model_file', 3, 'must be of type string'),
    ('dnn_Parser', 7, 'must be of type string'),
    ('resize_mode', 'crop', "must be one of ['letterbox', 'letterbox_top_left', 'stretch']"),
    ('input_color', 'RGB', "must be one of ['rgb', 'bgr']"),
    ('input_mean', [0, 0], 'must have at least 3 entries'),
    ('input_scale', [1, 1, 0], 'must be above 0'),
    ('input_size', [640, 15], 'must be at least 16'),
    ('anchors_table', [[[1, 2, 3]]], 'must have at most 2 entries'),
    ('pad_value', 256, 'must be at most 255'),
    ('runtime', 'tensorrt', "must be one of ['auto', 'onnxruntime', "),
    ('providers', [], 'must have at least 1 entries'),
    ('output_roi', 'false', 'must be of type boolean'),
    ('cls_names_list', ['a', 'b'], 'must be of type string'),
    ('scales_file', 'nothing.json', "is 'nothing.json', but there is no such file; looked in: "),
    ('cls_names_list', 'nothing.list', "is 'nothing.list', but there is no such file"),
    ('model_output_count', 9, 'is 9, but "yolov8_seg" with 3 strides has 10 or 5 outputs'),
    ('output_order', [0, 1, 2], 'must name each output index once, from 0 to 9 or 4'),
    ('output_order', [*range(9), 10], 'must name each output index once'),
    ('anchors_table', [[[1, 2]]], 'must have 3 levels'),
    ('anchors_table', [[[1, 2]], [[1, 2]], [[1, 2], [3, 4]]], 'all with as many anchors'),
]


@pytest.mark.parametrize('key, value, problem', WRONG)
def test_one_wrong_key_gives_one_sentence_that_names_it(key, value, problem):
    (sentence,) = problems_of({**LEAST, key: value})
    assert sentence.startswith(f'"{key}') and problem in sentence


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path):
    path = written(tmp_path, {
        'dnn_Parser': 'yolov8_sg', 'class_num': 'x', 'score_threshold': 3, 'strides': [8, 8],
        'cls_names_list': 'no.list', 'scales_file': 'no.json', 'runtime': 'cuda',
        'input_scale': [1, 0, -1], 'pad_value': 1.5})
    with pytest.raises(ConfigError) as error:
        load_work_config(path)
    problems = error.value.problems
    named = ['model_file', 'dnn_Parser', 'class_num', 'score_threshold', 'strides',
             'cls_names_list', 'scales_file', 'runtime', 'input_scale[1]', 'input_scale[2]',
             'pad_value']
    assert sorted(problem.split('"')[1] for problem in problems) == sorted(named)
    assert str(error.value).startswith(f'Work config {path} has 11 problem(s):\n  - ')


def test_a_wrong_key_does_not_hide_that_others_disagree():
    found = problems_of({**LEAST, 'class_num': 0, 'model_output_count': 9})
    assert [problem.split('"')[1] for problem in found] == ['class_num', 'model_output_count']


@pytest.mark.parametrize('values, problem', [
    ({}, '"model_file" and "dnn_Parser" must be given'),
    ({'model_file': 'a'}, '"dnn_Parser" must be given'),
    ({'dnn_Parser': 'yolov8'}, '"model_file" must be given'),
])
def test_what_must_be_given(values, problem):
    assert problems_of(values, require_model=True)[0].startswith(problem)


@pytest.mark.parametrize('parser, problem', [
    ('yolov8seg', 'which is unknown; did you mean "yolov8_seg"? supported are: yolov8_seg, '),
    ('YOLOV8_SEG', 'which is unknown'), ('', 'which is unknown; supported are'),
    ('fcos', 'is "fcos", a parser of TROS for models that this node does not run; supported are')])
def test_unknown_parsers(parser, problem):
    (sentence,) = problems_of({**LEAST, 'dnn_Parser': parser})
    assert sentence.startswith('"dnn_Parser" is ') and problem in sentence


def test_labels_must_be_as_many_as_classes(tmp_path):
    (tmp_path / 'two.list').write_text('cat\ndog\n')
    values = {**LEAST, 'cls_names_list': 'two.list', 'class_num': 3}
    (problem,) = problems_of(values, path=tmp_path / 'config.json')
    assert problem == ('"cls_names_list" \'two.list\' has 2 names, but "class_num" is 3; '
                       'they must be equal')
    config = make_work_config({**values, 'class_num': 2}, tmp_path / 'config.json', False)
    assert config.class_names == ('cat', 'dog')


def test_labels_are_not_counted_against_a_wrong_class_num(tmp_path):
    (tmp_path / 'two.list').write_text('cat\ndog\n')
    (problem,) = problems_of({**LEAST, 'cls_names_list': 'two.list', 'class_num': 'x'},
                             path=tmp_path / 'config.json')
    assert problem.startswith('"class_num"')


def test_a_broken_label_file_is_told_with_its_key(tmp_path):
    (tmp_path / 'bad.list').write_text('cat\n\ndog\n')
    (problem,) = problems_of({**LEAST, 'cls_names_list': 'bad.list', 'class_num': 3},
                             path=tmp_path / 'config.json')
    assert problem == '"cls_names_list": line(s) 2 are blank; write one class name on each line'


@pytest.mark.parametrize('content, problem', [
    (b'', 'no readable JSON'),
    (b'{"model_file": "a",}', 'no readable JSON: .*line 1 column'),
    (b'{"a": 1} x', 'no readable JSON'),
    (b'\xff\xfe{}', 'no readable JSON'),
    (b'[' * 100000, 'no readable JSON'),
    (b'{"class_num": NaN}', 'NaN is not a JSON number'),
    (b'{"score_threshold": 1e999}', '1e999 is too large'),
    (b'{"class_num": 80, "model_file": "a", "class_num": 3}', 'more than once: class_num'),
    (b'{"model_file": "\\ud800"}', 'no readable JSON'),
    (b'{\n<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> b\n}', 'line 2 is a git conflict marker'),
    (b'[]', r'holds a JSON list, but must hold one object \{...\}'),
    (b'"text"', 'holds a JSON str'),
    (b'null', 'holds a JSON NoneType'),
    (b' ' * (MAX_BYTES + 1), f'larger than {MAX_BYTES} bytes'),
])
def test_files_that_are_no_work_config(tmp_path, content, problem):
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=problem) as error:
        load_work_config(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('name', ['nothing.json', '.'])
def test_files_that_cannot_be_read(tmp_path, name):
    with pytest.raises(ConfigError, match='it cannot be read'):
        load_work_config(tmp_path / name)


def test_a_byte_order_mark_and_windows_lines_do_not_matter(tmp_path):
    text = json.dumps(LEAST, indent=1).replace('\n', '\r\n')
    config = load_work_config(written(tmp_path, b'\xef\xbb\xbf' + text.encode()), False)
    assert config.model_file == 'model.bin'


def test_unknown_keys_warn_with_a_hint():
    config = made(scor_threshold=0.3, colour='red', _comment='kept quiet', **{'$schema': 's'})
    assert config.warnings == (
        'The work config has an unknown key "scor_threshold", which is ignored; did you mean '
        '"score_threshold"?',
        'The work config has an unknown key "colour", which is ignored')


def test_a_model_or_its_fallback_must_exist(tmp_path):
    near = tmp_path / 'config.json'
    values = {**LEAST, 'fallback_model_file': 'other.onnx'}
    found = problems_of(values, path=near, require_model=True)
    assert [problem.split('"')[1] for problem in found] == ['model_file', 'fallback_model_file']
    (tmp_path / 'other.onnx').write_bytes(b'')
    config = make_work_config(values, near)
    assert config.model_path('fallback_model_file') == (tmp_path / 'other.onnx').resolve()
    with pytest.raises(ConfigError, match='"model_file" is \'model.bin\', but there is no'):
        config.model_path()


def test_paths_resolve_beside_the_config_first(tmp_path, monkeypatch):
    near = tmp_path / 'near'
    near.mkdir()
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, near):
        (folder / 'model.bin').write_bytes(b'')
    config = make_work_config(LEAST, near / 'config.json')
    assert config.model_path() == (near / 'model.bin').resolve()
    assert make_work_config(LEAST).model_path() == (tmp_path / 'model.bin').resolve()


def test_yolo26_ignores_reg_max():
    assert made(dnn_Parser='yolo26_seg', reg_max=16).reg_max == 1
    assert made(reg_max=8).reg_max == 8


def test_shipped_configs_load_and_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = [p for p in (share_dir() / 'config').glob('*.json') if 'schema' not in p.name]
    assert shipped
    for path in shipped:
        assert find_work_config(path.name) == path.resolve()
        assert load_work_config(path, require_model=False).warnings == ()


@pytest.mark.parametrize('name, problem', [('', 'none is named'),
                                           ('nothing.json', 'there is no such file')])
def test_an_unknown_config_lists_the_shipped_ones(name, problem):
    with pytest.raises(ConfigError, match='one of the shipped: .*demo_float.json') as error:
        find_work_config(name)
    assert problem in str(error.value)
    assert 'schema' not in str(error.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@given(st.dictionaries(st.sampled_from(sorted(WorkConfig.__dataclass_fields__) + [
    'dnn_Parser', 'cls_names_list', 'model_output_count', 'top_k', 'output_order']), anything))
def test_any_values_load_or_are_a_config_error(values):
    try:
        config = make_work_config({**LEAST, **values}, require_model=False)
    except ConfigError as error:
        assert error.problems
        return
    assert len(config.class_names) == config.class_num
    assert np.isfinite(config.score_threshold)
