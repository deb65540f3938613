"""The vdsp_params JSON of a VACC model: what the card does to a picture before the model sees it.

The card resizes, pads and normalises by itself, so the geometry in this file is the one by which
boxes and masks are mapped back.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from ..errors import ModelError
from ..letterbox import LETTERBOX, STRETCH
from ..model_input import NV12
from ..picture_input import BGR, BGR_PLANAR, RGB, RGB_PLANAR
from ..text_files import read_json

MAX_BYTES = 1 << 20
# Pre-processing operators with a geometry that is known: they resize and, with LETTERBOX in the
# name, pad both sides equally. The ones that also crop, or pad by explicit numbers, are not.
MODES = {
    'FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR': LETTERBOX,
    'FUSION_OP_RGB_RESIZE_CVTCOLOR_NORM_TENSOR': STRETCH,
    'FUSION_OP_YUV_NV12_LETTERBOX_2RGB_NORM_TENSOR': LETTERBOX,
    'FUSION_OP_YUV_NV12_CVTCOLOR_LETTERBOX_NORM_TENSOR': LETTERBOX,
    'FUSION_OP_YUV_NV12_RESIZE_2RGB_NORM_TENSOR': STRETCH,
    'FUSION_OP_YUV_NV12_CVTCOLOR_RESIZE_NORM_TENSOR': STRETCH,
}
PIXELS = {'RGB_PLANAR': RGB_PLANAR, 'BGR_PLANAR': BGR_PLANAR, 'RGB888': RGB, 'BGR888': BGR,
          'YUV_NV12': NV12}
NORMALISATIONS = ('EQUAL', 'DIV255', 'DIV255_MINUSMEAN_DIVSTD', 'MINUSMEAN_DIVSTD',
                  'DIV1275_MINUSONE')
WITH_MEAN = ('DIV255_MINUSMEAN_DIVSTD', 'MINUSMEAN_DIVSTD')


@dataclass(frozen=True)
class VdspParams:
    """What matters of the file to somebody who feeds the card and reads its boxes.

    :ivar mode: resize mode, see letterbox.py.
    :ivar pixels: picture format that the card takes, see ``InputFormat.pixels``.
    :ivar size_wh: width and height that the card makes, or None where the model decides.
    :ivar normalisation: done on the card.
    """

    mode: str
    pixels: str
    size_wh: Optional[Tuple[int, int]]
    normalisation: str


def read_vdsp_params(path: Path) -> VdspParams:
    """Read and check the file.

    :raises ModelError: it cannot be read, or holds an operator or a value that this node cannot
        map boxes back through.
    """
    operator = _read(path)
    op_type, config = operator.get('OpType'), operator.get('OpConfig')
    if op_type not in tuple(MODES) or not isinstance(config, dict):
        raise ModelError(f'"OpType" is {op_type!r}, but boxes can be mapped back only through: '
                         f'{", ".join(MODES)} ({path})')
    image_format = 'YUV_NV12' if 'NV12' in op_type else config.get('IimageFormat')
    if image_format not in tuple(PIXELS):
        raise ModelError(f'"IimageFormat" is {image_format!r}, but must be one of '
                         f'{", ".join(PIXELS)} ({path})')
    return VdspParams(MODES[op_type], PIXELS[image_format], _size_wh(config, path),
                      _normalisation(config, path))


def _read(path: Path) -> Dict[str, Any]:
    """The one operator of the file, which is an object or a list with one object in it."""
    try:
        content = read_json(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(f'"vdsp_params" cannot be read: {error} ({path})') from None
    operators = content if isinstance(content, list) else [content]
    if len(operators) != 1 or not isinstance(operators[0], dict):
        raise ModelError('"vdsp_params" must hold one operator {"OpType": ..., "OpConfig": {...}}, '
                         f'but holds {len(operators)} entries ({path})')
    return operators[0]


def _size_wh(config: Dict[str, Any], path: Path) -> Optional[Tuple[int, int]]:
    size = (config.get('OimageWidth'), config.get('OimageHeight'))
    if size == (None, None):
        return None
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise ModelError(f'"OimageWidth" and "OimageHeight" are {size}, but must be whole numbers '
                         f'above 0, or both be left out ({path})')
    return size


def _normalisation(config: Dict[str, Any], path: Path) -> str:
    name = config.get('NormaType')
    if name not in NORMALISATIONS:
        raise ModelError(f'"NormaType" is {name!r}, but must be one of '
                         f'{", ".join(NORMALISATIONS)} ({path})')
    triples = ['Mean', 'Std'] if name in WITH_MEAN else []
    for key in triples + (['Padding'] if 'Padding' in config else []):
        value = config.get(key)
        if not (isinstance(value, list) and len(value) == 3
                and all(isinstance(v, (int, float)) for v in value)):
            raise ModelError(f'"{key}" is {value!r}, but must be three numbers ({path})')
    return name
