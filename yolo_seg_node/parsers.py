"""The values of ``dnn_Parser`` and what each stands for.

A new name is one line in ``PARSERS``; a new head family is one file in ``decoders/`` as well.
"""

from dataclasses import dataclass
from typing import Dict, Optional, Tuple


@dataclass(frozen=True)
class Parser:
    """One value of ``dnn_Parser``.

    :ivar family: key of ``decoders.FAMILIES``.
    :ivar outputs_per_stride: heads of the model at each stride.
    :ivar extra_outputs: further outputs, such as the prototypes.
    :ivar has_masks: the model gives instance masks.
    :ivar decoded_outputs: outputs of the model exported with its decoding, where that is known.
    :ivar suppressed: the heads give one box an object, so nothing is left to suppress.
    :ivar reg_max: bins of the box distribution where the heads leave no choice; the key is ignored.
    :ivar score_threshold: default of that key, as in TROS; likewise the other two.
    :ivar strides: default of that key.
    """

    family: str
    outputs_per_stride: int
    extra_outputs: int = 0
    has_masks: bool = False
    decoded_outputs: Optional[int] = None
    suppressed: bool = False
    reg_max: Optional[int] = None
    score_threshold: float = 0.4
    nms_threshold: float = 0.5
    nms_top_k: int = 5000
    strides: Tuple[int, ...] = (8, 16, 32)

    def output_counts(self, levels: int) -> Tuple[int, ...]:
        """Numbers of outputs that a model with so many strides may have, the usual one first.

        The last is that of a model with suppression built in, see decoders/suppressed.py.
        """
        counts = (self.outputs_per_stride * levels + self.extra_outputs, self.decoded_outputs,
                  5 if self.has_masks else 3)
        return tuple(dict.fromkeys(count for count in counts if count))


PARSERS: Dict[str, Parser] = {
    'yolov8_seg': Parser('anchor_free', 3, extra_outputs=1, has_masks=True),
    'yolo26_seg': Parser('anchor_free', 3, extra_outputs=1, has_masks=True, reg_max=1),
    'yolo26e_seg': Parser('anchor_free', 3, extra_outputs=1, has_masks=True, reg_max=1,
                          decoded_outputs=2),
    'yolov8': Parser('anchor_free', 2),
    'yolov10': Parser('anchor_free', 2, suppressed=True, nms_top_k=300),
    'yolov11': Parser('anchor_free', 2),
    'ultralytics_yolo': Parser('anchor_free', 2),
    'yolo26': Parser('anchor_free', 2, reg_max=1),
    'yolov5': Parser('anchor_based', 1),
    'yolov5x': Parser('anchor_based', 1),
    'yolov3': Parser('yolov3', 1, score_threshold=0.3, nms_threshold=0.45, nms_top_k=500,
                     strides=(32, 16, 8)),
    'yolov4': Parser('yolov4', 1, decoded_outputs=2, nms_threshold=0.6),
}

# Parsers of TROS for models of other kinds: known by name, so that the refusal can say so.
OTHER_TROS_PARSERS = ('yolov2', 'classification', 'ssd', 'efficient_det', 'fcos', 'unet', 'stdc')
