"""In which order, layout and under which names a model gives its raw heads."""

from typing import Dict, List, NamedTuple, Sequence, Tuple

from ..heads import PROTO, PROTO_STRIDE, Role

HEAD = 'head'  # the one head per stride of anchor-based models: box, objectness and classes


class HeadLayout(NamedTuple):
    """One customary form of the raw outputs.

    :ivar groups: kinds of head; those of one group alternate from stride to stride. The prototypes
        come last.
    :ivar channels_last: NHWC, else NCHW.
    :ivar traced_names: outputs keep the names that the tracer of torch gives (``output0``,
        ``output1``, then numbers), as in the published logs of the board's vendor.
    :ivar proto_first: the prototypes are computed before the heads, which changes those numbers.
    :ivar integer: kinds whose last Dequantize is removed on the BPU, in the order of the recipe.
    """

    groups: Tuple[Tuple[str, ...], ...]
    channels_last: bool = True
    traced_names: bool = False
    proto_first: bool = False
    integer: Tuple[str, ...] = ('box', 'mc', PROTO)


HEAD_LAYOUTS: Dict[str, HeadLayout] = {
    # What the TROS parsers read: class, box(, coefficients) of each stride.
    'tros': HeadLayout((('cls', 'box', 'mc', HEAD),)),
    # D-Robotics' documents of YOLO11-Seg (2025) and YOLOv8-Seg (2024), to the letter.
    'rdk-yolo11': HeadLayout((('cls', 'box', 'mc'),), traced_names=True),
    'rdk-yolov8': HeadLayout((('mc',), ('box',), ('cls',)), traced_names=True, proto_first=True,
                             integer=('mc', 'box')),
    # VastAI's document of YOLOv8-Seg: box and class of each stride, then all coefficients.
    'vacc': HeadLayout((('box', 'cls', HEAD), ('mc',)), channels_last=False),
}


def ordered_roles(layout: HeadLayout, kinds: Sequence[str], strides: Sequence[int]) -> List[Role]:
    """All roles of a model in the order of its outputs; ``kinds`` may hold ``proto``."""
    roles = [Role(kind, stride) for group in layout.groups for stride in strides
             for kind in group if kind in kinds]
    return roles + ([Role(PROTO, PROTO_STRIDE)] if PROTO in kinds else [])


def role_name(role: Role) -> str:
    """Output name of a role: ``cls_8``, ``proto``."""
    return role.name if role.name == PROTO else f'{role.name}_{role.stride}'


def role_from_name(name: str) -> 'Role | None':
    """The role that an output name says, or None: the inverse of ``role_name``."""
    kind, _, stride = name.partition('_')
    if name == PROTO:
        return Role(PROTO, PROTO_STRIDE)
    if kind in ('cls', 'box', 'mc', HEAD) and stride.isdigit():
        return Role(kind, int(stride))
    return None
