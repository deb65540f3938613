"""An int8 twin of a float model whose heads end in integers, as a board gives them.

On the BPU the last convolution of a head accumulates in int32; where the Dequantize behind it was
removed, that sum is the output, with one scale per channel. A head with an activation behind the
convolution (the prototypes) leaves as int16 with one scale. Here the trunk, everything up to those
last convolutions, is quantised by onnxruntime; the last convolutions are then replaced by integer
products, so their sums are exact, on every machine.
"""

from typing import Collection, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper, version_converter

from .errors import ToolError
from .head_ends import TO_NHWC, HeadEnd, head_end
from .onnx_graph import (constants, drop_unused, inline_shared_constants, open_session, opset_of,
                         picture_input, producers, rename_tensors, set_outputs, shape_of,
                         strip_history)
from .quantized_trunk import quantize_trunk

OPSET = 13  # the first with weight scales per channel
INT16_LIMIT = 32767
BIAS_LIMIT = 1 << 30
HEADROOM = 1.05  # other pictures reach a little further than those of the calibration
TO_NCHW = [0, 3, 1, 2]


class OutputScale(NamedTuple):
    """How an integer output becomes real: ``stored * scale``.

    :ivar scale: float32, one value or one per channel.
    :ivar axis: where the channels lie, None with one scale.
    """

    dtype: str
    scale: np.ndarray
    axis: Optional[int]


def quantize(model: ModelProto, inputs: Sequence[np.ndarray], integer: Collection[str],
             seven_bit: bool = False) -> Tuple[ModelProto, Dict[str, OutputScale]]:
    """An int8 model with the same outputs, some of them integers, and the scales of those.

    :param model: cut before its post-processing: every output ends in a 1x1 convolution, with an
        activation behind it or not.
    :param inputs: calibration inputs, each (1, 3, h, w) float32 as the model takes them.
    :param integer: outputs that leave as integers; the others are dequantised to float32.
    :param seven_bit: weights of seven bits. Eight are those of the board; seven are faster on x86.
    :raises ToolError: an output ends otherwise, or ``integer`` names something else.
    """
    model = _prepared(model)
    names = [value.name for value in model.graph.output]
    unknown = sorted(set(integer) - set(names))
    if unknown:
        raise ToolError(f'The model has no output {", ".join(unknown)}; it has {", ".join(names)}.')
    ends = {name: head_end(model, name) for name in names}
    limits = _largest_magnitudes(model, inputs, [n for n in names if n in integer
                                                 and ends[n].activation])
    trunk = onnx.ModelProto()
    trunk.CopyFrom(model)
    # With the last convolutions, since only what a convolution reads is surely quantised.
    spare = {end.convolved: f'{end.convolved}/float' for end in ends.values()}
    rename_tensors(trunk, spare)
    set_outputs(trunk, list(spare.values()))
    writer = _HeadWriter(quantize_trunk(trunk, inputs, seven_bit), seven_bit)
    scales = {value.name: writer.add(value, ends[value.name], value.name in integer,
                                     limits.get(value.name))
              for value in model.graph.output}
    drop_unused(writer.model)
    strip_history(writer.model)
    onnx.checker.check_model(writer.model, full_check=True)
    return writer.model, {name: scale for name, scale in scales.items() if scale}


def _prepared(model: ModelProto) -> ModelProto:
    """A copy at a usable opset, with a name for each node and no constants behind Identity."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if opset_of(copy) < OPSET:
        copy = version_converter.convert_version(copy, OPSET)
    inline_shared_constants(copy)
    for i, node in enumerate(copy.graph.node):
        node.name = f'{node.op_type}_{i}'
    return copy


def _largest_magnitudes(model: ModelProto, inputs: Sequence[np.ndarray], outputs: List[str]
                        ) -> Dict[str, float]:
    """Largest absolute value of some outputs over all inputs."""
    if not outputs:
        return {}
    session, (input_name, _) = open_session(model), picture_input(model)
    runs = [[float(np.abs(array).max()) for array in session.run(outputs, {input_name: x})]
            for x in inputs]
    return dict(zip(outputs, np.max(runs, axis=0).tolist()))


class _HeadWriter:
    """Appends the end of each output to a quantised trunk."""

    def __init__(self, trunk: ModelProto, seven_bit: bool) -> None:
        self.model, self._seven_bit = trunk, seven_bit
        self._made, self._values = producers(trunk), constants(trunk)
        self._nodes = {node.name: node for node in trunk.graph.node}
        del trunk.graph.output[:]

    def add(self, value: onnx.ValueInfoProto, end: HeadEnd, integer: bool,
            limit: Optional[float]) -> Optional[OutputScale]:
        """Write one output.

        :param value: name and shape of the output.
        :param limit: largest magnitude of an integer output with an activation.
        :return: the scale of an integer output, else None.
        """
        name, nhwc = value.name, end.channels_last
        sums, scale = self._accumulate(name, end)
        if integer and not end.activation:
            self._finish(value, sums, nhwc, TensorProto.INT32)
            return OutputScale('int32', scale, 3 if nhwc else 1)
        real = self._activate(name, end, self._dequantize(name, sums, scale))
        if not integer:
            self._finish(value, real, nhwc, TensorProto.FLOAT)
            return None
        step = np.float32(HEADROOM * max(limit, 1e-6) / INT16_LIMIT)
        self._finish(value, self._to_int16(name, real, step), nhwc, TensorProto.INT16)
        return OutputScale('int16', np.array([step]), None)

    def _accumulate(self, name: str, end: HeadEnd) -> Tuple[str, np.ndarray]:
        """The 1x1 convolution as a product over the last axis: int32 NHWC sums and their scale."""
        feature = self._nodes[end.node.name].input[0]
        stored, scale, zero_point = self._made[feature].input
        input_scale = np.float32(self._values[scale])
        steps = np.abs(end.weight).max(axis=1) / (63 if self._seven_bit else 127)
        # A dead channel has next to no weights; its bias must fit into the sum all the same.
        steps = np.maximum(steps, np.abs(end.bias) / input_scale / BIAS_LIMIT)
        weight_scale = steps.clip(1e-12).astype(np.float32)
        weight = np.round(end.weight / weight_scale[:, None]).T
        sum_scale = input_scale * weight_scale
        bias = np.round(end.bias.astype(np.float64) / sum_scale).astype(np.int32)
        rows = self._node('Transpose', [stored], f'{name}/input', perm=TO_NHWC)
        product = self._node('MatMulInteger', [rows, *self._weight(name, weight, zero_point)],
                             f'{name}/product')
        sums = self._node('Add', [product, self._store(f'{name}/bias', bias)], f'{name}/sum')
        return sums, sum_scale

    def _weight(self, name: str, weight: np.ndarray, zero_point: str) -> List[str]:
        """Weight, zero point of the input and zero point of the weight; see quantized_trunk.py."""
        if self._seven_bit:
            return [self._store(f'{name}/weight', weight.astype(np.int8)), zero_point]
        return [self._store(f'{name}/weight', (weight + 128).astype(np.uint8)), zero_point,
                self._store(f'{name}/weight_zero_point', np.uint8(128))]

    def _dequantize(self, name: str, sums: str, scale: np.ndarray) -> str:
        cast = self._node('Cast', [sums], f'{name}/cast', to=TensorProto.FLOAT)
        return self._node('Mul', [cast, self._store(f'{name}/scale', scale)], f'{name}/real')

    def _activate(self, name: str, end: HeadEnd, real: str) -> str:
        """Copies of the activation nodes, reading ``real`` in place of the convolution."""
        tensors = {end.convolved: real, '': ''}
        for constant, value in end.constants.items():
            tensors[constant] = self._store(f'{name}/{constant}', value)
        for node in end.activation:
            tensors.update({output: f'{name}/{output}' for output in node.output})
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f'{name}/{node.name}'
            copy.input[:] = [tensors[i] for i in node.input]
            copy.output[:] = [tensors[o] for o in node.output]
            self.model.graph.node.append(copy)
            real = copy.output[0]
        return real

    def _to_int16(self, name: str, real: str, step: np.float32) -> str:
        steps = self._node('Div', [real, self._store(f'{name}/int16_scale', step)], f'{name}/steps')
        rounded = self._node('Round', [steps], f'{name}/rounded')
        limits = [self._store(f'{name}/{side}', np.float32(limit))
                  for side, limit in (('low', -INT16_LIMIT - 1), ('high', INT16_LIMIT))]
        clipped = self._node('Clip', [rounded, *limits], f'{name}/clipped')
        return self._node('Cast', [clipped], f'{name}/int16', to=TensorProto.INT16)

    def _finish(self, value: onnx.ValueInfoProto, tensor: str, nhwc: bool, element: int) -> None:
        """Give the tensor of the last node the name, layout and declaration of the output."""
        if not nhwc:
            self._node('Transpose', [tensor], f'{value.name}/nchw', perm=TO_NCHW)
        self.model.graph.node[-1].output[0] = value.name
        self.model.graph.output.append(
            helper.make_tensor_value_info(value.name, element, shape_of(value)))

    def _store(self, name: str, value: np.ndarray) -> str:
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, inputs: List[str], output: str, **attributes: object) -> str:
        self.model.graph.node.append(
            helper.make_node(kind, inputs, [output], f'{kind}/{output}', **attributes))
        return output
