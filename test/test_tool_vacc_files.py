"""What the tool chain of VastAI gets: vamc yaml, vdsp_params, calibration pictures."""
from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('onnx', reason='these tests need the extra "export"')
pytest.importorskip('onnxruntime', reason='these tests need onnxruntime')

from onnx_factory import STRIDES, raw_model  # noqa: E402
from yolo_seg_node.frame import frame_from_compressed  # noqa: E402
from yolo_seg_node.heads import Role  # noqa: E402
from yolo_seg_node.letterbox import LETTERBOX  # noqa: E402
from yolo_seg_node.runtimes.vdsp_params import read_vdsp_params  # noqa: E402
from yolo_seg_node.tools import vacc_files  # noqa: E402
from yolo_seg_node.tools.raw_model import make_raw_model  # noqa: E402


@pytest.fixture(scope='module')
def raw():
    model = raw_model({'cls': 3, 'box': 64}, 'vacc', size_wh=(96, 64), batch='batch')
    return make_raw_model(model, {f'{kind}_{s}': Role(kind, s) for s in STRIDES
                                  for kind in ('cls', 'box')})


def test_the_yaml_of_vamc(raw):
    text = vacc_files.vamc_yaml(vacc_files.vamc_config('net', raw, 33))
    config = yaml.safe_load(text)
    assert config['frontend'] == {'checkpoint': './net.onnx', 'type': 'onnx', 'dtype': 'fp32',
                                  'shape': {'images': [1, 3, 64, 96]}}
    assert config['dataset']['sampler'] == {'suffix': 'jpg', 'get_data_num': 33}
    assert config['backend'] == {'type': 'tvm_vacc', 'dtype': 'int8',
                                 'quantize': {'calibrate_mode': 'max',
                                              'quantize_per_channel': True},
                                 'compile': {'cluster_mode': 0}}
    # Without operators for post-processing the model gives raw heads.
    assert 'graph' not in config
    assert vacc_files.model_prefix('net') == (
        config['workspace']['path'].removeprefix('./') + '/' + config['name'] + '/mod')


@pytest.mark.parametrize('input_type, pixels', [('rgb', 'bgr'), ('nv12', 'nv12')])
def test_the_runtime_reads_the_vdsp_params(tmp_path, input_type, pixels):
    operator = vacc_files.vdsp_params((96, 64), input_type)
    path = tmp_path / 'vdsp_params.json'
    path.write_text(json.dumps(operator))
    params = read_vdsp_params(path)
    assert (params.mode, params.pixels, params.size_wh, params.normalisation) == (
        LETTERBOX, pixels, (96, 64), 'DIV255')
    assert operator['OpConfig']['Padding'] == [114, 114, 114]


def test_calibration_pictures_are_letterboxed_jpegs(tmp_path, raw):
    picture = np.full((32, 32, 3), (200, 20, 20), np.uint8)
    frame = frame_from_compressed(cv2.imencode('.png', picture)[1].tobytes())
    (tmp_path / '0009.jpg').write_bytes(b'of an earlier export')
    vacc_files.write_calibration(tmp_path, [frame], raw, 'rgb')
    assert [path.name for path in tmp_path.iterdir()] == ['0000.jpg']
    written = cv2.imread(str(tmp_path / '0000.jpg')).astype(int)
    assert written.shape == (64, 96, 3)
    assert np.abs(written[:, :12] - 114).max() < 6
    assert np.abs(written[8:56, 24:72] - (200, 20, 20)).max() < 6
