"""One file per head family. ``make_decoder`` is the only entrance.

To add a family: write its file, add one line to ``FAMILIES`` and its parser names to parsers.py.
"""

from typing import TYPE_CHECKING, Callable, Dict, Sequence

from ..errors import ModelError
from ..letterbox import SizeWH
from ..parsers import PARSERS
from ..tensors import TensorSpec
from .anchor_based import AnchorBasedDecoder, make_anchor_based
from .anchor_free import make_anchor_free
from .base import Boxes, DecodeSettings, Decoder
from .combined import CombinedDecoder, expected_list, find_list
from .suppressed import SuppressedDecoder, expected, find_places
from .yolov3 import make_yolov3
from .yolov4 import make_yolov4

if TYPE_CHECKING:
    from ..config import WorkConfig

__all__ = ['FAMILIES', 'Boxes', 'DecodeSettings', 'Decoder', 'make_decoder']


def _anchor_free(outputs: Sequence[TensorSpec], size_wh: SizeWH, config: 'WorkConfig') -> Decoder:
    suppressed = PARSERS[config.parser].suppressed
    places = find_list(outputs, size_wh, config.strides, config.class_num, config.num_mask)
    if places is not None:
        return CombinedDecoder(outputs, places, config.class_num, suppressed)
    try:
        return make_anchor_free(
            outputs, size_wh, class_num=config.class_num, reg_max=config.reg_max,
            strides=config.strides, num_mask=config.num_mask, output_order=config.output_order,
            suppressed=suppressed)
    except ModelError as error:
        raise ModelError(f'{error}\n  or, decoded in the model: '
                         f'{expected_list(config.class_num, config.num_mask)}') from None


def _anchor_based(outputs: Sequence[TensorSpec], size_wh: SizeWH,
                  config: 'WorkConfig') -> AnchorBasedDecoder:
    return make_anchor_based(
        outputs, size_wh, class_num=config.class_num, strides=config.strides,
        anchors_table=config.anchors_table, output_order=config.output_order)


def _yolov3(outputs: Sequence[TensorSpec], size_wh: SizeWH,
            config: 'WorkConfig') -> AnchorBasedDecoder:
    return make_yolov3(
        outputs, size_wh, class_num=config.class_num, strides=config.strides,
        anchors_table=config.anchors_table, output_order=config.output_order)


def _yolov4(outputs: Sequence[TensorSpec], size_wh: SizeWH, config: 'WorkConfig') -> Decoder:
    return make_yolov4(
        outputs, size_wh, class_num=config.class_num, strides=config.strides,
        anchors_table=config.anchors_table, output_order=config.output_order)


FAMILIES: Dict[str, Callable[..., Decoder]] = {
    'anchor_free': _anchor_free,
    'anchor_based': _anchor_based,
    'yolov3': _yolov3,
    'yolov4': _yolov4,
}


def make_decoder(outputs: Sequence[TensorSpec], size_wh: SizeWH, config: 'WorkConfig') -> Decoder:
    """Bind the decoder that ``config.parser`` names to a model.

    Outputs that are lists of finished boxes are taken as such, whatever the parser.

    :param outputs: the model's outputs with their quantisation.
    :param size_wh: width and height of the model input in pixels.
    :raises ModelError: the model does not fit the work config.
    """
    width, height = size_wh
    for stride in config.strides:
        if width % stride or height % stride:
            raise ModelError(f'The model input is {width}x{height}, which stride {stride} does not '
                             'divide; check "strides" of the work config.')
    places = find_places(outputs, size_wh, config.num_mask, config.output_order)
    if places is not None:
        return SuppressedDecoder(outputs, places, config.class_num)
    try:
        return FAMILIES[PARSERS[config.parser].family](outputs, size_wh, config)
    except ModelError as error:
        raise ModelError(f'{error}\n  or, with suppression in the model: '
                         f'{expected(config.num_mask)}') from None
