"""What VastAI's tool chain needs beside the ONNX model: the vamc yaml, the calibration pictures
and the vdsp_params JSON, which tells the card how to resize, pad and normalise."""

from pathlib import Path
from typing import Any, Dict, Sequence

import cv2
import numpy as np
import yaml

from ..frame import Frame
from ..letterbox import SizeWH
from .calibration import USUAL, empty_folder, model_pictures
from .onnx_graph import picture_input
from .raw_model import RawModel

CALIBRATION = 'calibration_pictures'
WORKSPACE = 'deploy_weights'
PAD_VALUE = 114


def build_name(stem: str) -> str:
    """Name of the build, and so of the folder that vamc writes."""
    return f'{stem}_int8'


def model_prefix(stem: str) -> str:
    """What the three files of the compiled model have in common, seen from the export folder."""
    return f'{WORKSPACE}/{build_name(stem)}/mod'


def vamc_config(stem: str, raw: RawModel, count: int = USUAL) -> Dict[str, Any]:
    """The configuration of ``vamc compile``: int8, raw heads, no built-in post-processing."""
    input_name, (width, height) = picture_input(raw.model)
    # The pictures are letterboxed already, so there is nothing left to resize or pad.
    steps = [{'type': 'DecodeImage'}, {'type': 'Normalize', 'div255': True, 'norm_type': None},
             {'type': 'ToTensor'}]
    return {
        'name': build_name(stem),
        'frontend': {'checkpoint': f'./{stem}.onnx', 'type': 'onnx', 'dtype': 'fp32',
                     'shape': {input_name: [1, 3, height, width]}},
        'dataset': {'type': 'tvm', 'path': f'./{CALIBRATION}',
                    'sampler': {'suffix': 'jpg', 'get_data_num': count}, 'process_ops': steps},
        'backend': {'type': 'tvm_vacc', 'dtype': 'int8',
                    'quantize': {'calibrate_mode': 'max', 'quantize_per_channel': True},
                    'compile': {'cluster_mode': 0}},
        'workspace': {'path': f'./{WORKSPACE}'},
    }


def vamc_yaml(config: Dict[str, Any]) -> str:
    """The same as text."""
    return ('# vamc compile THIS_FILE; for an fp16 build set backend.dtype to fp16 and drop the '
            'dataset.\n' + yaml.safe_dump(config, sort_keys=False))


def vdsp_params(size_wh: SizeWH, input_type: str) -> Dict[str, Any]:
    """Letterbox with padding 114 on the card, from BGR or NV12 pictures, to RGB / 255."""
    common = {'OimageWidth': size_wh[0], 'OimageHeight': size_wh[1], 'ResizeType': 'BILINEAR_CV',
              'EdgePaddingType': 'CONSTANT', 'Padding': [PAD_VALUE] * 3, 'NormaType': 'DIV255'}
    if input_type == 'nv12':
        return {'OpType': 'FUSION_OP_YUV_NV12_LETTERBOX_2RGB_NORM_TENSOR',
                'OpConfig': {'ColorCvtCode': 'YUV2RGB_NV12', **common}}
    # Of the interleaved forms only this one is in use with YOLO models.
    return {'OpType': 'FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR',
            'OpConfig': {'IimageFormat': 'BGR888', 'ColorCvtCode': 'BGR2RGB', **common}}


def write_calibration(folder: Path, frames: Sequence[Frame], raw: RawModel,
                      input_type: str) -> None:
    """Letterboxed pictures as JPEG files."""
    empty_folder(folder)
    for i, picture in enumerate(model_pictures(frames, raw.size_wh, input_type == 'nv12')):
        _, encoded = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
        (folder / f'{i:04d}.jpg').write_bytes(np.asarray(encoded).tobytes())
