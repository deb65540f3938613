"""Every shipped work config: it loads, and its decoder takes the tensors of its system.

The tensors have the shapes, dtypes, layouts, scale forms and order of the real models, and objects
with known boxes and classes in them; they go through ``yolo_seg decode`` as recordings would.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from heads_factory import Form, Planted, make_scene, store
from model_text_factory import model_info_text
from pycocotools import mask as coco_mask
from reference import geometry, nms_form_reference

from yolo_seg_node.config import find_work_config, load_work_config
from yolo_seg_node.decoders.anchor_based import YOLOV5_ANCHORS
from yolo_seg_node.decoders.yolov4 import YOLOV4_ANCHORS
from yolo_seg_node.errors import RuntimeMissingError
from yolo_seg_node.runtimes import RUNTIMES, choose_runtime
from yolo_seg_node.tensors import Quantization, TensorSpec
from yolo_seg_node.tools.cli import main

pytestmark = pytest.mark.filterwarnings('ignore:__array__ implementation')
ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.name for path in (ROOT / 'config').glob('*.json')
                 if path.name != 'work_config.schema.json')
DEMOS = ('demo_float.json', 'demo_int.json')
SYSTEMS = [name for name in CONFIGS if name not in DEMOS]

INTEGER_BOX = Form(dtypes={'box': 'int32'}, per_channel=frozenset(['box']))
INTEGER_BOX_MC = {'dtypes': {'box': 'int32', 'mc': 'int32'},
                  'per_channel': frozenset(['box', 'mc'])}
ALL_INTEGER = Form(**{**INTEGER_BOX_MC, 'dtypes': {'box': 'int32', 'mc': 'int32',
                                                   'proto': 'int16'}})
CARD = Form(order='vacc', layout='NCHW',
            dtypes={role: 'float16' for role in ('cls', 'box', 'mc', 'proto')})
BOXES = [Planted((60.0, 80.0, 110.0, 190.0), 0), Planted((200.0, 90.0, 330.0, 210.0), 55),
         Planted((140.0, 200.0, 380.0, 330.0), 79)]


def grids(form, num_mask=32):
    """Anchor-free heads at 640x640 with the 80 classes of COCO."""
    stored = store(make_scene(size_wh=(640, 640), class_num=80, num_mask=num_mask), form)
    return stored.specs, stored.arrays, stored.scene.objects, (640, 640)


def anchored(anchors, size_wh, encode, layout, integer=False):
    """Heads with anchors and 80 classes, each box in the cell of its centre."""
    heads = {stride: np.full((3, 85, size_wh[1] // stride, size_wh[0] // stride), -6.0)
             for stride in anchors}
    for planted in BOXES:
        stride, number, cell, logits = encode(planted.box, anchors)
        head = heads[stride][number, :, cell[1], cell[0]]
        head[:5], head[5 + planted.class_id] = (*logits, 3.0), 3.0
    arrays = [head.reshape(1, -1, *head.shape[2:]) for head in heads.values()]
    if layout == 'NHWC':
        arrays = [array.transpose(0, 2, 3, 1) for array in arrays]
    if integer:  # one scale per channel, as the BPU gives them
        scale = np.linspace(1e-4, 2e-4, 255).astype(np.float32)
        arrays = [np.round(array / scale).astype(np.int32) for array in arrays]
        quantization = Quantization(scale, None, 3)
    else:
        arrays = [array.astype(np.float16 if layout == 'NCHW' else np.float32)
                  for array in arrays]
        quantization = None
    arrays = [np.ascontiguousarray(array) for array in arrays]
    return specs_of(arrays, quantization), arrays, BOXES, size_wh


def specs_of(arrays, quantization=None):
    return [TensorSpec(f'out{i}', a.shape, a.dtype, quantization) for i, a in enumerate(arrays)]


def logit(p):
    return math.log(p / (1 - p))


def closest_anchor(box, anchors):
    """(stride, number, width, height) of the anchor that is most like the box."""
    w, h = box[2] - box[0], box[3] - box[1]
    choices = [(stride, i, *wh) for stride in anchors for i, wh in enumerate(anchors[stride])]
    return min(choices, key=lambda c: abs(math.log(w / c[2])) + abs(math.log(h / c[3])))


def encode_yolov5(box, anchors):
    """xy = (2 s(t) - 0.5 + cell) * stride and wh = (2 s(t))^2 * anchor, solved for t."""
    stride, number, aw, ah = closest_anchor(box, anchors)
    x, y = ((box[i] + box[i + 2]) / 2 / stride for i in (0, 1))
    return stride, number, (int(x), int(y)), (
        logit((x % 1 + 0.5) / 2), logit((y % 1 + 0.5) / 2),
        logit(math.sqrt((box[2] - box[0]) / aw) / 2), logit(math.sqrt((box[3] - box[1]) / ah) / 2))


def encode_yolov4(box, anchors):
    """xy = (s(t) + cell) * stride and wh = exp(t) * anchor, solved for t."""
    stride, number, aw, ah = closest_anchor(box, anchors)
    x, y = ((box[i] + box[i + 2]) / 2 / stride for i in (0, 1))
    return stride, number, (int(x), int(y)), (
        logit(min(max(x % 1, 0.01), 0.99)), logit(min(max(y % 1, 0.01), 0.99)),
        math.log((box[2] - box[0]) / aw), math.log((box[3] - box[1]) / ah))


def finished(size_wh, masks):
    """The lists of a card, in 300 rows; each mask is the ellipse in its box."""
    scene = make_scene(size_wh=size_wh, class_num=80, objects=3)
    rows = [nms_form_reference.Row(one.class_id, 0.75, one.box, np.eye(32)[i])
            for i, one in enumerate(scene.objects)]
    proto = scene.real['proto', 4].transpose(2, 0, 1)
    arrays = nms_form_reference.outputs_of(rows, 300, proto)[:5 if masks else 3]
    return specs_of(arrays), arrays, scene.objects, size_wh


def yolov5(size_wh, layout, integer=False, p6=False):
    return anchored(YOLOV5_ANCHORS[p6], size_wh, encode_yolov5, layout, integer)


# Work config -> the kinds of model that its system has.
MODELS = {
    'yolo11_seg_s100.json': {'dequantise removed': lambda: grids(ALL_INTEGER)},
    'yolo11_seg_ultra.json': {'dequantise removed': lambda: grids(ALL_INTEGER)},
    'yolo11_seg_x5.json': {'of 2025-03': lambda: grids(ALL_INTEGER),
                           'of 2025-07': lambda: grids(Form())},
    'yolov4_vacc.json': {
        'suppression in the model': lambda: finished((416, 416), masks=False),
        'raw heads': lambda: anchored(YOLOV4_ANCHORS[0], (416, 416), encode_yolov4, 'NCHW')},
    'yolov5_p6_vacc.json': {'raw heads': lambda: yolov5((1280, 1280), 'NCHW', p6=True)},
    'yolov5_vacc.json': {'raw heads': lambda: yolov5((640, 640), 'NCHW')},
    'yolov5_x3.json': {'dequantise removed': lambda: yolov5((672, 672), 'NHWC', integer=True)},
    'yolov5x_x5.json': {'float': lambda: yolov5((672, 672), 'NHWC'),
                        'dequantise removed': lambda: yolov5((672, 672), 'NHWC', integer=True)},
    'yolov8_seg_vacc.json': {'raw heads': lambda: grids(CARD),
                             'suppression in the model': lambda: finished((640, 640), masks=True)},
    'yolov8_seg_x3.json': {
        'dequantise removed': lambda: grids(Form(order='rdk_v8', **INTEGER_BOX_MC))},
    'yolov8_seg_x5.json': {
        'of 2024-09': lambda: grids(Form(order='rdk_v8', **INTEGER_BOX_MC)),
        'of 2025-07': lambda: grids(Form())},
    'yolov8_x3.json': {'float': lambda: grids(Form(), num_mask=None)},
    'yolov8_x5.json': {'float': lambda: grids(Form(), num_mask=None),
                       'dequantise removed': lambda: grids(INTEGER_BOX, num_mask=None)},
}
CASES = [(name, kind) for name, kinds in MODELS.items() for kind in kinds]


def test_every_system_has_its_tensors_here():
    assert sorted(MODELS) == SYSTEMS


@pytest.mark.parametrize('name', CONFIGS)
def test_it_loads_without_a_complaint(name):
    config = load_work_config(find_work_config(name), require_model=name in DEMOS)
    assert config.warnings == ()
    assert len(config.class_names) == config.class_num == (4 if name in DEMOS else 80)
    assert json.loads(config.path.read_text())['model_output_count'] > 0


def test_the_values_of_the_published_x5_config_are_unchanged():
    shipped = json.loads((ROOT / 'config' / 'yolo11_seg_x5.json').read_text())
    published = json.loads((ROOT / 'test' / 'data' / 'tros_yolo11_seg.json').read_text())
    assert list(shipped) == list(published)
    for key in ('model_file', 'cls_names_list'):
        del shipped[key], published[key]
    assert shipped == published


@pytest.mark.parametrize('name', SYSTEMS)
def test_its_runtime_is_that_of_the_board(name):
    config = load_work_config(find_work_config(name), require_model=False)
    path = Path(config.model_file)
    takers = {r.name for r in RUNTIMES.values() if r.takes(path)}
    board = name.rsplit('_', 1)[1].removesuffix('.json')
    assert takers == {'x3': {'hobot_dnn', 'hbm_runtime'}, 'x5': {'hobot_dnn', 'hbm_runtime'},
                      'ultra': {'hobot_dnn', 'hbm_runtime'}, 's100': {'hbm_runtime'},
                      'vacc': {'vaststreamx'}}[board]
    if board == 'vacc':
        assert config.runtime == 'vaststreamx'


@pytest.mark.parametrize('name', SYSTEMS)
def test_without_its_board_it_says_what_is_missing(name):
    config = load_work_config(find_work_config(name), require_model=False)
    takers = [r for r in RUNTIMES.values() if r.takes(Path(config.model_file))]
    for runtime in takers:
        try:
            runtime.find_sdk()
        except RuntimeMissingError:
            continue
        pytest.skip(f'{runtime.name} is installed here')
    with pytest.raises(RuntimeMissingError) as error:
        choose_runtime(config)
    for runtime in takers:
        assert f'\n  - {runtime.name}: ' in str(error.value)


@pytest.mark.parametrize(('name', 'kind'), CASES)
def test_it_finds_the_objects_in_the_tensors_of_its_system(tmp_path, name, kind):
    specs, arrays, objects, size_wh = MODELS[name][kind]()
    np.savez(tmp_path / 'heads.npz', **{f'output_{i}': a for i, a in enumerate(arrays)})
    arguments = []
    if 'vacc' not in name:  # whose card says no scales, and vdsp_params the size of the model
        (tmp_path / 'info.txt').write_text(
            model_info_text(specs, size_wh, 's100' if 's100' in name else 'x5'))
        arguments = ['--scales', str(tmp_path / 'info.txt')]
    out = tmp_path / 'found.json'
    assert main(['decode', name, '--tensors', str(tmp_path / 'heads.npz'), '--image-size',
                 '1280x960', '--out', str(out), *arguments]) == 0
    records = json.loads(out.read_text())
    assert len(records) == len(objects)
    placement = geometry.place((1280, 960), size_wh)
    for one in objects:
        assert_found(records, one, placement)


def assert_found(records, planted, placement):
    """One record has the class, about the box and, with masks, about the ellipse in it."""
    box = geometry.box_in_image(placement, planted.box)

    def overlap(record):
        x, y, w, h = record['bbox']
        return geometry.iou((x, y, x + w, y + h), box)

    best = max((r for r in records if r['category_id'] == planted.class_id), key=overlap)
    assert overlap(best) > 0.9
    if 'segmentation' in best:
        found = coco_mask.decode(best['segmentation']).astype(bool)
        # 1280x960 in a square model: every pixel centre in model pixels
        gain = placement.content[0] / placement.image[0]
        y, x = ((np.indices(found.shape)[i] + 0.5) * gain + placement.pad[1 - i] for i in (0, 1))
        x0, y0, x1, y1 = planted.box
        ellipse = ((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2 < 1
        assert np.count_nonzero(found & ellipse) / np.count_nonzero(found | ellipse) > 0.8


def test_what_is_shipped_stands_in_the_table_of_systems():
    text = (ROOT / 'docs' / 'runtimes.md').read_text()
    assert [name for name in CONFIGS if f'`{name}`' not in text] == []
