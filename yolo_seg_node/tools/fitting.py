"""Which parsers fit the outputs of a model that comes without a work config."""

from dataclasses import replace
from pathlib import Path
from typing import Iterator, List, Sequence, Set

from ..config import WorkConfig
from ..decoders import make_decoder
from ..decoders.combined import BOX, CombinedDecoder
from ..decoders.suppressed import SuppressedDecoder
from ..errors import ModelError
from ..letterbox import SizeWH
from ..parsers import PARSERS
from ..tensors import TensorSpec

# One of each kind of head; the other names stand for the same heads.
KINDS = ('yolov8_seg', 'yolo26_seg', 'yolov8', 'yolo26', 'yolov5', 'yolov4', 'yolov3')
STRIDES = ((8, 16, 32), (8, 16, 32, 64))
BOX_AND_OBJECTNESS = 5
ANCHORS = 3
COEFFICIENTS = 32
USUAL_CLASSES = 80


def fitting_configs(outputs: Sequence[TensorSpec], size_wh: SizeWH,
                    path: Path) -> List[WorkConfig]:
    """Work configs with the usual settings under which a decoder takes the outputs.

    Models with finished boxes do not show how many classes they have; 80 stands for them.
    """
    fits: List[WorkConfig] = []
    for config in _candidates(outputs, path):
        try:
            decoder = make_decoder(outputs, size_wh, config)
        except ModelError:
            continue
        if isinstance(decoder, SuppressedDecoder):
            return [replace(config, class_num=USUAL_CLASSES)]
        if isinstance(decoder, CombinedDecoder):
            return [config]
        fits.append(config)
    return fits


def _candidates(outputs: Sequence[TensorSpec], path: Path) -> Iterator[WorkConfig]:
    for name in KINDS:
        parser = PARSERS[name]
        for strides in STRIDES:
            for class_num in sorted(_class_numbers(outputs)):
                yield WorkConfig(str(path), name, class_num=class_num, strides=strides,
                                 reg_max=parser.reg_max or WorkConfig.reg_max,
                                 num_mask=COEFFICIENTS if parser.has_masks else None)


def _class_numbers(outputs: Sequence[TensorSpec]) -> Set[int]:
    """What may be the number of classes, if an axis is that of a class head, of a head with
    anchors, or of a list of all cells."""
    axes = {size for spec in outputs for size in spec.shape}
    numbers = {size // ANCHORS - BOX_AND_OBJECTNESS for size in axes if size % ANCHORS == 0}
    numbers |= {size - BOX - masks for size in axes for masks in (0, COEFFICIENTS)}
    return {number for number in axes | numbers if number > 0}
