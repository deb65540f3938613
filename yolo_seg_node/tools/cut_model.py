"""An existing ONNX model, cut before its post-processing."""

from typing import Dict, List, Sequence, Tuple

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from ..heads import Role
from .errors import ToolError
from .find_heads import FoundHead, find_heads, grid_of, name_heads
from .head_ends import TO_NHWC, is_nhwc_transpose
from .head_layouts import HeadLayout, ordered_roles, role_from_name, role_name
from .onnx_graph import (inline_shared_constants, open_session, picture_input, producers,
                         rename_tensors, set_outputs, strip_history, tensor_shapes)


def cut(model: ModelProto, layout: HeadLayout, outputs: Sequence[str] = ()
        ) -> Tuple[ModelProto, List[Role]]:
    """A copy of a model that ends in its raw heads, named by role, and the roles in order.

    :param outputs: ``TENSOR=NAME``, ``TENSOR`` or ``NODE`` entries; found from the graph if empty.
    :raises ToolError: a tensor that is not there or no grid, roles that cannot be told.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inline_shared_constants(copy)
    tensors = _named(copy, outputs) if outputs else name_heads(find_heads(copy))
    roles = ordered_roles(layout, {role.name for role in tensors},
                          sorted({role.stride for role in tensors}))
    roles = [role for role in roles if role in tensors]
    if len(roles) != len(tensors):
        missing = ', '.join(map(role_name, set(tensors) - set(roles)))
        raise ToolError(f'The heads {missing} fit no model of this package.')
    _end_in(copy, [(tensors[role], role_name(role)) for role in roles], layout.channels_last)
    strip_history(copy)
    _check(copy, roles, layout.channels_last)
    return copy, roles


def _named(model: ModelProto, outputs: Sequence[str]) -> Dict[Role, str]:
    """Role -> tensor as the user says."""
    shapes, size_wh = tensor_shapes(model), picture_input(model)[1]
    named: Dict[Role, str] = {}
    unnamed: List[FoundHead] = []
    for entry in outputs:
        tensor, _, name = entry.partition('=')
        tensor = _tensor(model, tensor)
        head = grid_of(tensor, shapes.get(tensor), size_wh)
        if head is None:
            raise ToolError(f'Tensor {tensor!r} has shape {shapes.get(tensor)}, but a raw head of '
                            f'this model is (n, channels, {size_wh[1]} / stride, {size_wh[0]} / '
                            'stride) with a stride of 4 to 128.')
        if name:
            named[_checked_role(name, head)] = tensor
        else:
            unnamed.append(head)
    return {**named, **(name_heads(unnamed) if unnamed else {})}


def _tensor(model: ModelProto, name: str) -> str:
    """A tensor by its name or by that of the node that makes it."""
    made = producers(model)
    by_node = {node.name: node.output[0] for node in model.graph.node if node.output}
    if name not in made and name not in by_node:
        raise ToolError(f'The model has no tensor or node {name!r}; `yolo_seg cut MODEL --list` '
                        'shows the grids before its outputs.')
    tensor = name if name in made else by_node[name]
    # A head that was made NHWC already counts as it was before.
    return made[tensor].input[0] if is_nhwc_transpose(made[tensor]) else tensor


def _checked_role(name: str, head: FoundHead) -> Role:
    role = role_from_name(name)
    if role is None or role.stride != head.stride:
        raise ToolError(f'{head} cannot be called {name!r}; allowed are cls_{head.stride}, '
                        f'box_{head.stride}, mc_{head.stride}, head_{head.stride}, and proto at '
                        'stride 4.')
    return role


def _end_in(model: ModelProto, heads: Sequence[Tuple[str, str]], channels_last: bool) -> None:
    """Make (tensor, new name) pairs the outputs; in place."""
    tensors = [tensor for tensor, _ in heads]
    if not channels_last:
        set_outputs(model, tensors)
        rename_tensors(model, dict(heads))
        return
    _keep_clear(model, tensors, [name for _, name in heads])
    for tensor, name in heads:
        model.graph.node.append(helper.make_node(
            'Transpose', [tensor], [name], f'Transpose/{name}', perm=TO_NHWC))
    set_outputs(model, [name for _, name in heads])


def _keep_clear(model: ModelProto, tensors: Sequence[str], names: Sequence[str]) -> None:
    """Rename tensors that already have one of the new output names; in place."""
    made = set(producers(model))
    taken = {name: f'{name}_nchw' for name in names if name in made}
    if taken and not set(taken) <= set(tensors):
        raise ToolError(f'The model already has inner tensors called {", ".join(taken)}; it seems '
                        'to be cut already.')
    rename_tensors(model, taken)


def _check(model: ModelProto, roles: Sequence[Role], channels_last: bool) -> None:
    """Run the cut model once and declare the shapes that its outputs have; in place.

    :raises ToolError: an output is not the grid that its name says.
    """
    name, (width, height) = picture_input(model)
    outputs = open_session(model).run(None, {name: np.zeros((1, 3, height, width), np.float32)})
    for role, array in zip(roles, outputs):
        grid = array.shape[1:3] if channels_last else array.shape[2:]
        if array.ndim != 4 or grid != (height // role.stride, width // role.stride):
            raise ToolError(f'Output {role_name(role)} of the cut model has shape {array.shape}, '
                            f'but must have a grid of {height // role.stride} x '
                            f'{width // role.stride}; cut at another tensor with --outputs.')
    batch = tensor_shapes(model)[name][0] or 'batch'
    infos = [helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [batch, *array.shape[1:]])
             for value, array in zip(model.graph.output, outputs)]
    del model.graph.output[:]
    model.graph.output.extend(infos)
