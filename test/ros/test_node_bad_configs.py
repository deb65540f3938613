"""Wrong configurations: the node stays unconfigured and says in one message what to mend."""

import json

import pytest

from yolo_seg_node.paths import share_dir

DEMO = share_dir() / 'config' / 'demo_float.json'


@pytest.fixture(scope='module')
def node(start_node, observer):
    node = start_node(autostart=False)
    observer.wait_state(node, 'unconfigured')
    return node


def refusal(observer, node, config_file):
    """What the node says when it is asked to configure itself."""
    said_before = len(node.output)
    assert observer.set(node, config_file=str(config_file)) == ''
    assert not observer.change_state(node, 'configure')
    assert observer.state(node) == 'unconfigured'
    said = node.output[said_before:]
    assert said.count('[ERROR]') == 1 and 'Traceback' not in said
    return said


def demo(**changes):
    """The demo's work config with its files found from anywhere, and some keys changed."""
    values = json.loads(DEMO.read_text())
    model = DEMO.parent / values['model_file']
    return {**values, 'model_file': str(model), **changes}


BAD = [
    (demo(class_num='4'), ['"class_num" is "4"', 'integer']),
    (demo(dnn_Parser='yolov99'), ['"dnn_Parser" is "yolov99"', 'yolov8_seg']),
    (demo(score_threshold=1.5), ['score_threshold', '1.5', '1']),
    (demo(class_num=3), ['class_num', '3', 'cls_names_list']),
    (demo(class_num=5, cls_names_list=None), ['class', '5']),
    (demo(model_file='nowhere.onnx'), ['model_file', "'nowhere.onnx'"]),
    (demo(score_threshold=-1, nms_threshold=2, reg_max=0, model_file='nowhere.onnx'),
     ['score_threshold', 'nms_threshold', 'reg_max', 'nowhere.onnx', '4 problem(s)']),
    (demo(reg_max=8), ['reg_max']),
]


@pytest.mark.parametrize('values, words', BAD)
def test_bad_work_config(node, observer, tmp_path, values, words):
    path = tmp_path / 'bad.json'
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    said = refusal(observer, node, path)
    assert all(word in said for word in words), said


def test_missing_file(node, observer):
    assert 'demo_float.json' in refusal(observer, node, 'nowhere.json')


def test_broken_json(node, observer, tmp_path):
    path = tmp_path / 'broken.json'
    path.write_text('{"model_file": "a.onnx",}')
    assert 'line 1' in refusal(observer, node, path)


@pytest.mark.parametrize('parameters, words', [
    ({'image_topics': ['']}, ['image_topics', 'names no topic']),
    ({'image_topics': ['a/image', '/a/ image']}, ['image_topics', 'a/ image']),
    ({'image_topics': ['image', 'image/compressed']}, ['image_topics', 'twice']),
    ({'class_filter': ['dog', 'ball']}, ['class_filter', 'dog', 'box, ball, cone, cylinder'])])
def test_bad_parameters(node, observer, parameters, words):
    before = {name: observer.get(node, name) for name in parameters}
    assert observer.set(node, **parameters) == ''
    said = refusal(observer, node, DEMO)
    assert all(word in said for word in words), said
    assert observer.set(node, **before) == ''


def test_after_all_that_a_good_config_works(node, observer):
    assert observer.set(node, config_file=str(DEMO)) == ''
    assert observer.change_state(node, 'configure') and observer.change_state(node, 'activate')
    assert observer.state(node) == 'active'


def test_bad_values_at_start_are_all_told(start_node, observer):
    node = start_node(score_threshold=7.5, masks='sometimes', max_detections='many')
    observer.wait_state(node, 'unconfigured')
    (said,) = [part for part in node.output.split('[ERROR]') if 'problem(s)' in part]
    assert all(word in said for word in ('3 problem(s)', '7.5', 'sometimes', 'max_detections'))
    assert observer.set(node, score_threshold=0.5, masks='auto', max_detections=10) == ''
    assert observer.change_state(node, 'configure')
