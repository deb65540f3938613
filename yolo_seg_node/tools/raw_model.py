"""A model that ends in raw heads, and what a work config says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from onnx import ModelProto

from ..heads import PROTO, Role
from ..letterbox import SizeWH
from ..parsers import PARSERS
from .errors import ToolError
from .find_heads import grid_of, raw_roles
from .head_layouts import HEAD
from .onnx_graph import load_model, picture_input, tensor_shapes

ANCHORS_PER_CELL = 3
ANCHOR_PARSERS = tuple(name for name, parser in PARSERS.items() if parser.outputs_per_stride == 1)


@dataclass(frozen=True)
class RawModel:
    """A cut model.

    :ivar model: the ONNX model.
    :ivar roles: output name -> role, in the order of the outputs.
    :ivar parser: value of ``dnn_Parser``.
    :ivar channels: kind of head -> its channels.
    :ivar class_num: number of classes.
    :ivar labels: their names, or empty where nobody told.
    :ivar licence: what the checkpoint says of its licence, or empty.
    """

    model: ModelProto
    roles: Dict[str, Role]
    parser: str
    channels: Dict[str, int]
    class_num: int
    labels: Tuple[str, ...] = ()
    licence: str = ''

    @property
    def size_wh(self) -> SizeWH:
        """Width and height of the picture that the model takes."""
        return picture_input(self.model)[1]

    @property
    def strides(self) -> Tuple[int, ...]:
        """Strides of the heads, ascending."""
        return tuple(sorted({role.stride for role in self.roles.values() if role.name != PROTO}))

    def outputs_of(self, kinds: Sequence[str]) -> 'list[str]':
        """Names of the outputs of these kinds, kind by kind, by stride."""
        return [name for kind in kinds for name, role in sorted(self.roles.items(),
                                                                key=lambda item: item[1].stride)
                if role.name == kind]

    def decoder_values(self) -> Dict[str, Any]:
        """The keys of a work config that say how to decode this model."""
        values = {'dnn_Parser': self.parser, 'model_output_count': len(self.roles),
                  'class_num': self.class_num}
        if 'box' in self.channels:
            values['reg_max'] = self.channels['box'] // 4
        if 'mc' in self.channels:
            values['num_mask'] = self.channels['mc']
        return {**values, 'strides': list(self.strides)}


def make_raw_model(model: ModelProto, roles: Dict[str, Role], parser: Optional[str] = None,
                   labels: Sequence[str] = (), licence: str = '') -> RawModel:
    """Work out the numbers of a cut model from its shapes.

    :param parser: value of ``dnn_Parser``; only needed for anchor-based models.
    :raises ToolError: heads that no parser takes, labels of another number.
    """
    channels = _channels(model, roles)
    if parser in ANCHOR_PARSERS and not is_anchor_based(roles):
        raise ToolError(f'--parser is {parser!r}, which is for anchor-based models, but the model '
                        f'has the heads {", ".join(channels)}; leave it out.')
    parser = parser or _parser(channels)
    class_num = (channels['cls'] if 'cls' in channels
                 else channels[HEAD] // ANCHORS_PER_CELL - 5)
    if HEAD in channels and channels[HEAD] != ANCHORS_PER_CELL * (5 + class_num):
        raise ToolError(f'The heads have {channels[HEAD]} channels, which are not '
                        f'{ANCHORS_PER_CELL} x (5 + classes).')
    if labels and len(labels) != class_num:
        raise ToolError(f'There are {len(labels)} class names, but the model has {class_num} '
                        'classes; give a file with one name per class as --labels.')
    return RawModel(model, dict(roles), parser, channels, class_num, tuple(labels), licence)


def read_raw_model(path: Path, parser: Optional[str] = None, labels: Sequence[str] = ()
                   ) -> RawModel:
    """Read an ONNX file that ends in raw heads; see ``make_raw_model``.

    :raises ToolError: it does not.
    """
    model = load_model(path)
    roles = raw_roles(model)
    if roles is None:
        raise ToolError('The model does not end in raw heads; cut it first with `yolo_seg cut '
                        f'{path.name} --auto`. ({path})')
    return make_raw_model(model, roles, parser, labels)


def is_anchor_based(roles: Mapping[str, Role]) -> bool:
    """One head per stride holds everything, so the shapes do not tell the parser."""
    return {role.name for role in roles.values()} == {HEAD}


def _channels(model: ModelProto, roles: Dict[str, Role]) -> Dict[str, int]:
    """Kind of head -> channels, the same at all strides."""
    shapes, size_wh = tensor_shapes(model), picture_input(model)[1]
    found: Dict[str, set] = {}
    for name, role in roles.items():
        head = grid_of(name, shapes.get(name), size_wh)
        found.setdefault(role.name, set()).add(head.channels if head else None)
    mixed = [kind for kind, channels in found.items() if len(channels) != 1 or None in channels]
    if mixed or ('mc' in found) != (PROTO in found) or found.get('mc') != found.get(PROTO):
        raise ToolError(f'The heads {", ".join(roles)} do not belong together: their channels are '
                        f'{found}.')
    return {kind: channels.pop() for kind, channels in found.items()}


def _parser(channels: Dict[str, int]) -> str:
    if set(channels) == {HEAD}:
        raise ToolError('The model has one head per stride, so it is anchor-based; say which with '
                        f'--parser: {", ".join(ANCHOR_PARSERS)} (mmyolo YOLOv5: yolov5; '
                        'Tianxiaomo YOLOv4: yolov4).')
    if 'cls' not in channels or 'box' not in channels:
        raise ToolError(f'The model has the heads {", ".join(channels)}, but needs at least class '
                        'and box heads.')
    direct, masks = channels['box'] == 4, 'mc' in channels
    if masks:
        return 'yolo26_seg' if direct else 'yolov8_seg'
    # TROS takes reg_max 1 under this name.
    return 'ultralytics_yolo' if direct else 'yolov8'
