"""Where the raw heads are in a model that has its post-processing inside."""

from collections import Counter
from typing import Dict, List, NamedTuple, Optional, Sequence, Set

from onnx import ModelProto

from ..heads import PROTO, PROTO_STRIDE, Role
from .errors import ToolError
from .head_ends import head_end
from .head_layouts import HEAD, role_from_name, role_name
from .onnx_graph import Shape, picture_input, producers, tensor_shapes

STRIDES = (4, 8, 16, 32, 64, 128)


class FoundHead(NamedTuple):
    """A tensor that a head ends in: NCHW or NHWC, a grid of picture size / stride."""

    tensor: str
    stride: int
    channels: int

    def __str__(self) -> str:
        return f'{self.tensor} ({self.channels} channels at stride {self.stride})'


def find_heads(model: ModelProto) -> List[FoundHead]:
    """The last grids of the network: from each output back to the nearest convolutions.

    An output that is itself such a grid, with or without an activation, stays as it is.

    :raises ToolError: there is none.
    """
    shapes, size_wh = tensor_shapes(model), picture_input(model)[1]
    found: Dict[str, FoundHead] = {}
    for value in model.graph.output:
        for tensor in _last_grids(model, value.name, shapes, size_wh):
            found[tensor] = grid_of(tensor, shapes.get(tensor), size_wh)
    if not found:
        raise ToolError('No raw head was found: no convolution before the outputs gives a grid of '
                        'stride 4 to 128. Name the tensors with --outputs.')
    return list(found.values())


def grid_of(tensor: str, shape: Optional[Shape], size_wh: Sequence[int]) -> Optional[FoundHead]:
    """The tensor as a head if its shape is that of one."""
    if shape is None or len(shape) != 4 or None in shape[1:]:
        return None
    for stride in STRIDES:
        grid = (size_wh[1] // stride, size_wh[0] // stride)
        if grid in (shape[2:], shape[1:3]):
            return FoundHead(tensor, stride, shape[1] if shape[2:] == grid else shape[3])
    return None


def _last_grids(model: ModelProto, output: str, shapes: Dict[str, Shape],
                size_wh: Sequence[int]) -> List[str]:
    if grid_of(output, shapes.get(output), size_wh) and _is_raw(model, output):
        return [output]
    made, found = producers(model), []
    seen: Set[str] = set()
    todo = [output]
    while todo:
        name = todo.pop()
        node = made.get(name)
        # What only asks for a size says nothing about where the values come from.
        if name in seen or node is None or node.op_type in ('Shape', 'Constant'):
            continue
        seen.add(name)
        if node.op_type == 'Conv' and grid_of(name, shapes.get(name), size_wh):
            found.append(name)
        else:
            todo += node.input
    return found


def _is_raw(model: ModelProto, output: str) -> bool:
    try:
        return bool(head_end(model, output))
    except ToolError:
        return False


def raw_roles(model: ModelProto) -> Optional[Dict[str, Role]]:
    """Output name -> role, in order, of a model that already ends in raw heads; else None."""
    shapes, size_wh = tensor_shapes(model), picture_input(model)[1]
    names = [value.name for value in model.graph.output]
    grids = [grid_of(name, shapes.get(name), size_wh) for name in names]
    if not all(grids) or not all(_is_raw(model, name) for name in names):
        return None
    roles = {name: role_from_name(name) for name in names}
    if None in roles.values():
        by_tensor = {tensor: role for role, tensor in name_heads(grids).items()}
        roles = {name: by_tensor[name] for name in names}
    return roles


def name_heads(heads: Sequence[FoundHead]) -> Dict[Role, str]:
    """Role -> tensor, by the number of heads per stride and their channels.

    One head per stride: anchor-based. Two: box and class. Three and one more at stride 4: box,
    class, coefficients, prototypes.

    :raises ToolError: they fit no such model, or two kinds have as many channels.
    """
    per_stride = Counter(head.stride for head in heads)
    counts = Counter(count for stride, count in per_stride.items() if stride != PROTO_STRIDE)
    count = max(counts, key=lambda c: (counts[c], c), default=0)
    protos = [h for h in heads if per_stride[h.stride] == 1 < count and h.stride == PROTO_STRIDE]
    kinds = _kinds(heads, count, protos[0].channels if protos else None)
    roles = {Role(PROTO, PROTO_STRIDE): head.tensor for head in protos}
    for head in heads:
        if head not in protos:
            roles[Role(kinds.get(head.channels, ''), head.stride)] = head.tensor
    per_level = count * (len(per_stride) - len(protos))
    if '' in {role.name for role in roles} or len(roles) != per_level + len(protos):
        raise _unnamed(heads)
    return roles


def _kinds(heads: Sequence[FoundHead], count: int, proto_channels: Optional[int]
           ) -> Dict[int, str]:
    """Kind of head by number of channels."""
    channels = {head.channels for head in heads}
    if count == 1:
        return {c: HEAD for c in channels}
    if {4, 64} <= channels:  # 4 classes, or 64 classes and boxes without distribution
        raise _unnamed(heads)
    box = 64 if 64 in channels else 4
    known = {box: 'box'} if proto_channels is None else {box: 'box', proto_channels: 'mc'}
    classes = channels - set(known)
    if len(classes) != 1 or len(known) + 1 != count:
        raise _unnamed(heads)
    return {**known, classes.pop(): 'cls'}


def _unnamed(heads: Sequence[FoundHead]) -> ToolError:
    found = '\n'.join(f'  {head}' for head in heads)
    example = role_name(Role('cls', heads[0].stride))
    return ToolError('The roles of these heads cannot be told from their shapes; name each with '
                     f'--outputs TENSOR=NAME, where NAME is cls_8, box_8, mc_8, head_8 ... or '
                     f'proto (for example {heads[0].tensor}={example}):\n{found}')
