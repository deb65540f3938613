"""Which output of a model plays which role, decided by shape first.

A head of one stride is a grid of model size / stride cells with a known number of channels per
role. Where two layouts fit the same shape, the scales and the sibling heads decide. Where two roles
do, the dtypes (integer class heads are rare, integer box heads are not) and the customary orders of
outputs decide. What is still open after that, or where these two disagree, is refused, because a
guess would give plausible nonsense.
"""

from dataclasses import dataclass
from itertools import product
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from .errors import ModelError
from .letterbox import SizeWH
from .tensors import TensorSpec

NHWC = 'NHWC'
NCHW = 'NCHW'
PROTO = 'proto'
PROTO_STRIDE = 4


class Role(NamedTuple):
    """What an output is for: ``name`` of the role and stride in model pixels."""

    name: str
    stride: int


class Place(NamedTuple):
    """Where the tensor of a role is: index of the output, and its layout."""

    index: int
    layout: str


Assignment = Dict[Role, Place]


@dataclass(frozen=True)
class HeadRequest:
    """What a decoder looks for.

    :ivar channels: role name -> channels of the head at each stride, in customary order.
    :ivar strides: model pixels per cell, ascending as in the work config.
    :ivar proto_channels: channels of the prototypes at stride 4, or None for a model without.
    :ivar orders: customary orders of the outputs, as lists of roles.
    """

    channels: Dict[str, int]
    strides: Tuple[int, ...]
    proto_channels: Optional[int]
    orders: Tuple[Tuple[Role, ...], ...]

    def roles(self) -> List[Role]:
        """All roles, in the order [first kind, second kind, ...] per stride, then the proto."""
        roles = [Role(name, stride) for stride in self.strides for name in self.channels]
        return roles + ([Role(PROTO, PROTO_STRIDE)] if self.proto_channels else [])

    def expected_chw(self, role: Role, size_wh: SizeWH) -> Tuple[int, int, int]:
        """Channels, height and width of the head of ``role`` for a model input of ``size_wh``."""
        channels = self.proto_channels if role.name == PROTO else self.channels[role.name]
        return (channels, size_wh[1] // role.stride, size_wh[0] // role.stride)


def assign_heads(outputs: Sequence[TensorSpec], request: HeadRequest, size_wh: SizeWH,
                 output_order: Optional[Sequence[int]] = None) -> Assignment:
    """Find the output of every role.

    :param outputs: what the runtime reports.
    :param size_wh: width and height of the model input in pixels.
    :param output_order: the user's own word: entry i is the output index of ``request.roles()[i]``.
    :raises ModelError: with a table of expected and found shapes when the model does not fit, or
        when more than one assignment does.
    """
    roles = request.roles()
    if len(outputs) != len(roles):
        raise _misfit(f'The model has {len(outputs)} outputs, but the parser needs {len(roles)}.',
                      outputs, request, size_wh)
    fits = {role: _places(outputs, request.expected_chw(role, size_wh)) for role in roles}
    if output_order is not None:
        fits = _only_user_order(fits, roles, output_order)
    found = _narrowed(_matchings(fits, roles), outputs, request)
    if len(found) == 1:
        return found[0]
    raise _misfit(_undecided(found), outputs, request, size_wh)


def _undecided(found: List[Assignment]) -> str:
    if not found:
        return 'No assignment of the outputs to the heads fits.'
    if len({tuple(place.index for place in a.values()) for a in found}) == 1:
        return ('The outputs may be channels first or channels last, since both have the same '
                'shape; export the model with another input size.')
    return (f'{len(found)} assignments of the outputs to the heads fit equally well; set '
            '"output_order".')


def _places(outputs: Sequence[TensorSpec], chw: Tuple[int, int, int]) -> List[Place]:
    """Every output and layout whose shape is that of the head, and whose scales are per channel."""
    channels, height, width = chw
    shapes = {NHWC: (height, width, channels), NCHW: (channels, height, width)}
    return [Place(i, layout) for i, spec in enumerate(outputs) for layout, shape in shapes.items()
            if _without_batch(spec.shape) == shape and _scales_fit(spec, layout)]


def _scales_fit(spec: TensorSpec, layout: str) -> bool:
    """One scale, or one per channel of this layout."""
    axis = len(spec.shape) - (1 if layout == NHWC else 3)
    quantization = spec.quantization
    return (quantization is None or quantization.scale.size == 1 or quantization.axis == axis
            or (quantization.axis is None and quantization.scale.size == spec.shape[axis]))


def _without_batch(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    return tuple(shape[1:]) if len(shape) == 4 and shape[0] == 1 else tuple(shape)


def _only_user_order(fits: 'dict[Role, list[Place]]', roles: List[Role],
                     order: Sequence[int]) -> 'dict[Role, list[Place]]':
    if sorted(order) != list(range(len(roles))):
        raise ModelError(f'"output_order" is {list(order)}; it must name each output index from 0 '
                         f'to {len(roles) - 1} once, in the order {_names(roles)}.')
    return {role: [p for p in fits[role] if p.index == index]
            for role, index in zip(roles, order)}


def _matchings(fits: 'dict[Role, list[Place]]', roles: List[Role]) -> List[Assignment]:
    """All ways to give each role an output of its own; heads of one kind share a layout.

    Roles only compete within a stride, so the search is per stride and stays tiny.
    """
    found: List[Assignment] = []
    for layout in (NHWC, NCHW):
        per_stride = [_stride_matchings({r: [p for p in fits[r] if p.layout == layout]
                                         for r in roles if r.stride == stride and r.name != PROTO})
                      for stride in dict.fromkeys(r.stride for r in roles if r.name != PROTO)]
        # The proto is sometimes of the other layout than the heads.
        protos = [{r: p} for r in roles if r.name == PROTO for p in fits[r]] or [{}]
        for parts in product(*per_stride, protos):
            merged = {role: place for part in parts for role, place in part.items()}
            if len({place.index for place in merged.values()}) == len(roles):
                found.append(merged)
    return found


def _stride_matchings(fits: 'dict[Role, list[Place]]') -> List[Assignment]:
    choices = (dict(zip(fits, places)) for places in product(*fits.values()))
    return [c for c in choices if len({p.index for p in c.values()}) == len(c)]


def _narrowed(found: List[Assignment], outputs: Sequence[TensorSpec],
              request: HeadRequest) -> List[Assignment]:
    """Apply the rules for open cases: the layout, then dtypes and order, which must not disagree."""
    found = [a for a in found if _same_layout(a)] or found
    votes = [[a for a in found if _plausible_dtypes(a, outputs)],
             [a for a in found if _customary(a, request.orders)]]
    agreed = [a for a in found if all(a in vote for vote in votes if vote)]
    return agreed or found


def _same_layout(assignment: Assignment) -> bool:
    return len({place.layout for place in assignment.values()}) == 1


def _plausible_dtypes(assignment: Assignment, outputs: Sequence[TensorSpec]) -> bool:
    """Heads of one kind share dtype and scale form at all strides, as toolchains write them.

    With mixed dtypes the class heads are the float ones: only box, coefficient and proto heads have
    their dequantise removed.
    """
    forms: Dict[str, set] = {}
    for role, place in assignment.items():
        forms.setdefault(role.name, set()).add(_form(outputs[place.index]))
    if any(len(kinds) > 1 for kinds in forms.values()):
        return False
    kinds = {name: dtype.kind for name, ((dtype, _),) in forms.items()}
    return len(set(kinds.values())) == 1 or kinds.get('cls', 'f') == 'f'


def _form(spec: TensorSpec) -> Tuple[np.dtype, bool]:
    """Dtype, and whether there is a scale per channel."""
    return np.dtype(spec.dtype), spec.quantization is not None and spec.quantization.scale.size > 1


def _customary(assignment: Assignment, orders: Tuple[Tuple[Role, ...], ...]) -> bool:
    by_index = tuple(sorted(assignment, key=lambda role: assignment[role].index))
    return by_index in orders


def _names(roles: Sequence[Role]) -> str:
    return ', '.join(r.name if r.name == PROTO else f'{r.name}_{r.stride}' for r in roles)


def _misfit(problem: str, outputs: Sequence[TensorSpec], request: HeadRequest,
            size_wh: SizeWH) -> ModelError:
    """An error with the table of what was expected and what was found."""
    expected = [f'  expected {_names([role]):8} {h}x{w}x{c} (or {c}x{h}x{w})'
                for role in request.roles() for c, h, w in [request.expected_chw(role, size_wh)]]
    found = [f'  found    output {i}: {spec}' for i, spec in enumerate(outputs)]
    return ModelError('\n'.join([
        f'{problem} Check dnn_Parser, class_num, reg_max, num_mask and strides of the work config '
        'against the model:', *expected, *found]))
