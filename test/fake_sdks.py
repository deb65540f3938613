"""Installs fake SDKs for one test, and writes the models and work configs that belong to them."""
import json
import sys
from contextlib import contextmanager
from pathlib import Path

FAKES = Path(__file__).parent / 'fakes'
if str(FAKES) not in sys.path:
    sys.path.append(str(FAKES))

from fake_board import MODELS, SIZE, write_board_file  # noqa: E402

from yolo_seg_node.config import make_work_config  # noqa: E402

MODULES = {'hobot_dnn': 'hobot_dnn', 'hobot_dnn_rdkx5': 'hobot_dnn_rdkx5',
           'hbm_runtime': 'hbm_runtime', 'vaststreamx': 'vaststreamx'}
# [mask coefficients] [boxes] [classes] [prototypes], as compiled in 2024.
OLD_ORDER = [2, 5, 8, 1, 4, 7, 0, 3, 6, 9]
# Box and class of each stride, then coefficients and prototypes, as vamc leaves them.
VACC_ORDER = [1, 0, 4, 3, 7, 6, 2, 5, 8, 9]
LETTERBOX_OP = 'FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR'

__all__ = ['FAKES', 'MODELS', 'OLD_ORDER', 'SIZE', 'VACC_ORDER', 'installed', 'vacc_model',
           'vdsp_params', 'work_config', 'work_values', 'write_board_file']


@contextmanager
def installed(*names):
    """Only these SDKs can be imported, as on a machine that has them."""
    path = sys.path[:]
    _forget()
    sys.path[:0] = [str(FAKES / f'{name}_sdk') for name in names]
    try:
        yield
    finally:
        sys.path[:] = path
        _forget()


def _forget():
    for module in list(sys.modules):
        if module.partition('.')[0] in MODULES:
            del sys.modules[module]


def work_values(model, **keys):
    """A work config for a served demo model, as its JSON holds it."""
    return {'model_file': str(model), 'dnn_Parser': 'yolov8_seg', 'class_num': 4, 'task_num': 1,
            'score_threshold': 0.4, 'nms_threshold': 0.5, 'nms_top_k': 300, **keys}


def work_config(model, **keys):
    """The same, checked."""
    return make_work_config(work_values(model, **keys))


def vacc_model(folder, **options):
    """Write the three files of a VACC model; gives their prefix."""
    prefix = folder / 'mod'
    (folder / 'mod.so').write_bytes(b'library')
    (folder / 'mod.params').write_bytes(b'weights, end of weights')
    write_board_file(folder / 'mod.json', 'vacc', **{'order': VACC_ORDER, 'nchw': True, **options})
    return prefix


def vdsp_params(folder, op_type=LETTERBOX_OP, **config):
    """Write the file that tells the card how to treat a picture; gives its path."""
    path = folder / 'vdsp_params.json'
    config = {'IimageFormat': 'RGB_PLANAR', 'ColorCvtCode': 'NO_CHANGE', 'NormaType': 'DIV255',
              'ResizeType': 'BILINEAR_CV', 'Padding': [114, 114, 114], 'OimageWidth': SIZE,
              'OimageHeight': SIZE, **config}
    path.write_text(json.dumps({'OpType': op_type, 'OpConfig': config}))
    return path
