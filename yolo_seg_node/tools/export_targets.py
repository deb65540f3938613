"""What a model can be exported for."""

from typing import Dict, NamedTuple, Tuple

from .rdk_files import BOARDS

RGB = 'rgb'
NV12 = 'nv12'


class Target(NamedTuple):
    """One value of ``--target``.

    :ivar layout: key of ``HEAD_LAYOUTS``.
    :ivar inputs: picture formats that it can be fed with, the usual one first.
    :ivar rewrite_attention: softmax of attention over the channel axis, see ``ultralytics_model``.
    :ivar dynamic_batch: the batch size is left open.
    """

    layout: str
    inputs: Tuple[str, ...]
    rewrite_attention: bool = False
    dynamic_batch: bool = False


TARGETS: Dict[str, Target] = {
    'onnx': Target('tros', (RGB,)),
    'vacc': Target('vacc', (RGB, NV12), dynamic_batch=True),
    **{name: Target('tros', (NV12, RGB), rewrite_attention=True) for name in BOARDS},
}
