"""The work configs that TROS ships load unchanged, from whatever folder the node runs in."""

import json

import pytest

from yolo_seg_node.config import load_work_config
from yolo_seg_node.errors import ConfigError
from yolo_seg_node.parsers import OTHER_TROS_PARSERS, PARSERS

COCO = {'class_num': 80, 'cls_names_list': 'config/coco.list'}
ANCHORS = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]],
           [[116, 90], [156, 198], [373, 326]]]
GRID_ANCHORS = [[[3.625, 2.8125], [4.875, 6.1875], [11.65625, 10.1875]],
                [[1.875, 3.8125], [3.875, 2.8125], [3.6875, 7.4375]],
                [[1.25, 1.625], [2, 3.75], [4.125, 2.875]]]


def dfl(model, outputs, score, nms, top_k, **more):
    return {'model_file': f'/opt/hobot/model/{model}', 'model_output_count': outputs, 'reg_max': 16,
            **COCO, 'strides': [8, 16, 32], 'score_threshold': score, 'nms_threshold': nms,
            'nms_top_k': top_k, **more}


def anchored(model, parser, **more):
    return {'model_file': f'/opt/hobot/model/{model}', 'dnn_Parser': parser,
            'model_output_count': 3, **COCO, 'strides': [8, 16, 32], 'anchors_table': ANCHORS,
            'score_threshold': 0.4, 'nms_threshold': 0.5, 'nms_top_k': 5000, **more}


SHIPPED = {
    'x5_yolov8seg': dfl('x5/basic/yolov8_seg_640x640_nv12.bin', 10, 0.4, 0.5, 5000,
                        dnn_Parser='yolov8_seg', num_mask=32),
    'x5_yolov8': dfl('x5/basic/yolov8_640x640_nv12.bin', 6, 0.25, 0.7, 300, dnn_Parser='yolov8'),
    'x3_yolov8': dfl('x3/basic/yolov8n_640x640_nv12.bin', 6, 0.25, 0.7, 300, dnn_Parser='yolov8'),
    'x5_yolov8_new': dfl('x5/basic/yolov8_640x640_nv12.bin', 6, 0.25, 0.7, 300,
                         dnn_Parser='yolov8', task_num=4, output_order=[0, 1, 2, 3, 4, 5]),
    'x5_yolov5x': anchored('x5/basic/yolov5x_672x672_nv12.bin', 'yolov5x',
                           model_name='yolov5x_672x672_nv12'),
    'rdkultra_yolov5x': anchored('rdkultra/basic/yolov5x_672x672_nv12.bin', 'yolov5x'),
    'x3_yolov5': anchored('x3/basic/yolov5_672x672_nv12.bin', 'yolov5'),
    'yolov10': {'model_file': '/opt/hobot/model/x5/basic/yolov10_640x640_nv12.bin',
                'dnn_Parser': 'yolov10', 'model_output_count': 6, 'reg_max': 16, **COCO,
                'strides': [8, 16, 32], 'score_threshold': 0.25, 'top_k': 300},
    **{name: anchored(model, 'yolov3', strides=[32, 16, 8], anchors_table=GRID_ANCHORS,
                      score_threshold=0.3, nms_threshold=0.45, nms_top_k=500)
       for name, model in {'x3_yolov3': 'x3/basic/yolov3_416x416_nv12.bin',
                           'x5_yolov3': 'x5/basic/yolov3_vargdarknet_416x416_nv12.bin'}.items()},
}


def written(folder, values):
    path = folder / 'workconfig.json'
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize('name', SHIPPED)
def test_a_shipped_work_config_loads_unchanged(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    values = SHIPPED[name]
    config = load_work_config(written(tmp_path, values), require_model=False)
    assert config.warnings == ()
    assert (config.parser, config.model_file) == (values['dnn_Parser'], values['model_file'])
    assert (config.class_num, len(config.class_names)) == (80, 80)
    assert (config.class_names[0], config.class_names[79]) == ('person', 'toothbrush')
    assert config.score_threshold == values['score_threshold']
    assert config.nms_top_k == values.get('nms_top_k', values.get('top_k'))
    assert config.strides == tuple(values['strides'])
    if 'anchors_table' in values:
        anchors = [[list(anchor) for anchor in level] for level in config.anchors_table]
        assert anchors == values['anchors_table']


def test_defaults_are_those_of_tros(tmp_path):
    """Keys that are left out, by parser."""
    for parser, expected in {'yolov8_seg': (0.4, 0.5, 5000), 'yolov8': (0.4, 0.5, 5000),
                             'yolov5x': (0.4, 0.5, 5000)}.items():
        config = load_work_config(written(tmp_path, {'model_file': 'm', 'dnn_Parser': parser}),
                                  require_model=False)
        assert (config.score_threshold, config.nms_threshold, config.nms_top_k) == expected
        assert (config.reg_max, config.task_num, config.strides) == (16, 4, (8, 16, 32))


@pytest.mark.parametrize('parser', OTHER_TROS_PARSERS)
def test_a_parser_for_other_models_is_refused_by_name(tmp_path, parser):
    values = {**SHIPPED['x5_yolov3'], 'dnn_Parser': parser}
    with pytest.raises(ConfigError, match=f'"{parser}", a parser of TROS .* not run') as caught:
        load_work_config(written(tmp_path, values), require_model=False)
    assert all(name in str(caught.value) for name in PARSERS)
