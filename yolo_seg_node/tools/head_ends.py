"""How a raw head ends: its last 1x1 convolution and what stands behind it."""

from dataclasses import dataclass
from typing import Dict, List, Set, Tuple

import numpy as np
from onnx import ModelProto, NodeProto

from .errors import ToolError
from .onnx_graph import constants, producers

TO_NHWC = [0, 2, 3, 1]
# They act on each value alone, so an activation is made of them.
ELEMENTWISE = ('Add', 'Clip', 'Div', 'Elu', 'Erf', 'Exp', 'HardSigmoid', 'HardSwish', 'LeakyRelu',
               'Mul', 'Relu', 'Sigmoid', 'Softplus', 'Sub', 'Tanh')


@dataclass(frozen=True)
class HeadEnd:
    """The last convolution of an output: [Transpose <-] [activation <-] Conv 1x1.

    :ivar node: the convolution.
    :ivar weight: (c_out, c_in) float32.
    :ivar bias: (c_out,) float32.
    :ivar activation: nodes between the convolution and the output, in order.
    :ivar constants: scalars that the activation reads.
    :ivar channels_last: the output is NHWC.
    """

    node: NodeProto
    weight: np.ndarray
    bias: np.ndarray
    activation: Tuple[NodeProto, ...]
    constants: Dict[str, np.ndarray]
    channels_last: bool

    @property
    def feature(self) -> str:
        """Name of the tensor (n, c_in, h, w) that the convolution reads."""
        return self.node.input[0]

    @property
    def convolved(self) -> str:
        """Name of the tensor that the convolution makes."""
        return self.node.output[0]


def head_end(model: ModelProto, output: str) -> HeadEnd:
    """Find how an output ends.

    :raises ToolError: in something else than a raw head.
    """
    made, values = producers(model), constants(model)
    last = made.get(output)
    channels_last = is_nhwc_transpose(last)
    activation, reached = _activation_before(model, last.input[0] if channels_last else output)
    node = made.get(reached[0]) if len(reached) == 1 else None
    if node is None or node.op_type != 'Conv':
        found = ', '.join(made[name].op_type if name in made else name for name in reached)
        raise ToolError(f'Output {output!r} ends in {found or "nothing"}, not in one convolution, '
                        'so it is no raw head; cut the model first with `yolo_seg cut`.')
    weight = values.get(node.input[1])
    if weight is None or weight.shape[1:] != (weight.shape[1], 1, 1) or _grouped(node):
        raise ToolError(f'Output {output!r} ends in the convolution {node.name!r}, which is not a '
                        'plain 1x1 one as in the heads of YOLO models.')
    bias = values[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
    used = {name: values[name] for n in activation for name in n.input if name in values}
    return HeadEnd(node, weight[:, :, 0, 0], bias, activation, used, channels_last)


def is_nhwc_transpose(node: 'NodeProto | None') -> bool:
    """The node moves channels to the end."""
    return node is not None and node.op_type == 'Transpose' and any(
        list(a.ints) == TO_NHWC for a in node.attribute if a.name == 'perm')


def _grouped(node: NodeProto) -> bool:
    return any(a.name == 'group' and a.i != 1 for a in node.attribute)


def _activation_before(model: ModelProto, tensor: str) -> Tuple[Tuple[NodeProto, ...], List[str]]:
    """Elementwise nodes that end in ``tensor``, in order, and the tensors that they start from."""
    made, values = producers(model), constants(model)
    inside: Set[str] = set()
    reached: Dict[str, None] = {}
    todo = [tensor]
    while todo:
        name = todo.pop()
        if name in made and made[name].op_type in ELEMENTWISE:
            inside.add(name)
            todo += [source for source in made[name].input
                     if source and source not in inside and not _scalar(values, source)]
        else:
            reached[name] = None
    nodes = tuple(node for node in model.graph.node if inside.intersection(node.output))
    return nodes, list(reached)


def _scalar(values: Dict[str, np.ndarray], name: str) -> bool:
    return name in values and values[name].size == 1
