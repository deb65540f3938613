"""Small ONNX models with random weights: YOLO heads, raw or with a post-processing behind them.

Tensors are named as the exporter of torch names them: ``/model.22/cv2.0/cv2.0.2/Conv_output_0``.
"""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BRANCHES = {'box': 'cv2', 'cls': 'cv3', 'mc': 'cv4'}
STRIDES = (8, 16, 32)
WIDTH = 12  # channels of the features


class Graph:
    """Nodes and constants of a model that takes ``images`` (1, 3, h, w)."""

    def __init__(self, size_wh=(96, 64), seed=0, batch: int | str = 1) -> None:
        self.size_wh, self.batch = size_wh, batch
        self._rng = np.random.default_rng(seed)
        self._nodes, self._constants, self._outputs = [], [], []
        self._features: dict[int, str] = {}

    def constant(self, name: str, value) -> str:
        """Store a constant."""
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes) -> str:
        """Append a node named after its output."""
        self._nodes.append(helper.make_node(
            kind, list(inputs), [output], output.replace('_output_0', ''), **attributes))
        return output

    def conv(self, name: str, source: str, channels: tuple[int, int], size=1, step=1) -> str:
        """Append a convolution; ``channels`` are those in and out."""
        weight = self._rng.normal(0, 0.4, (channels[1], channels[0], size, size))
        bias = self._rng.normal(0, 1, channels[1])
        constants = [self.constant(f'{name}.weight', weight.astype(np.float32)),
                     self.constant(f'{name}.bias', bias.astype(np.float32))]
        return self.node('Conv', [source, *constants], f'{name}/Conv_output_0',
                         kernel_shape=[size, size], strides=[step, step])

    def feature(self, stride: int) -> str:
        """Features (1, WIDTH, h / stride, w / stride), made from those of half the stride."""
        if stride not in self._features:
            source, inside, step = (('images', 3, 4) if stride == 4
                                    else (self.feature(stride // 2), WIDTH, 2))
            made = self.conv(f'/backbone.{stride}', source, (inside, WIDTH), step, step)
            self._features[stride] = self.node('Tanh', [made], f'/backbone.{stride}/Tanh_output_0')
        return self._features[stride]

    def heads(self, channels: dict[str, int], module='/model.22') -> dict[tuple[str, int], str]:
        """Raw heads (NCHW) of each kind and stride, and of ``mc`` the prototypes as well."""
        made = {}
        for level, stride in enumerate(STRIDES):
            for kind, count in channels.items():
                part = BRANCHES[kind]
                made[kind, stride] = self.conv(f'{module}/{part}.{level}/{part}.{level}.2',
                                               self.feature(stride), (WIDTH, count))
        if 'mc' in channels:
            made['proto', 4] = self.swish(self.conv(f'{module}/proto/cv3/conv', self.feature(4),
                                                    (WIDTH, channels['mc'])), f'{module}/proto/cv3')
        return made

    def swish(self, source: str, name: str) -> str:
        """``x * sigmoid(x)``, the activation behind the prototypes."""
        gate = self.node('Sigmoid', [source], f'{name}/act/Sigmoid_output_0')
        return self.node('Mul', [source, gate], f'{name}/act/Mul_output_0')

    def nhwc(self, source: str, name: str) -> str:
        """The channels at the end, under an output's name."""
        return self.node('Transpose', [source], name, perm=[0, 2, 3, 1])

    def renamed(self, tensor: str, name: str) -> str:
        """The same tensor under an output's name."""
        node = next(node for node in self._nodes if node.output[0] == tensor)
        node.output[0] = name
        return name

    def joined(self, tensors: Sequence[str], channels: int, name: str) -> str:
        """Grids of all strides side by side: (1, channels, cells)."""
        shape = self.constant(f'{name}/shape', np.int64([-1, channels, self._cells(tensors)]))
        flat = [self.node('Reshape', [t, self.constant(f'{t}/flat', np.int64([0, channels, -1]))],
                          f'{t}/Reshape_output_0') for t in tensors]
        made = self.node('Concat', flat, f'{name}/Concat_output_0', axis=2)
        return self.node('Reshape', [made, shape], f'{name}/Reshape_output_0')

    def _cells(self, tensors: Sequence[str]) -> int:
        width, height = self.size_wh
        return sum((width // s) * (height // s) for s in STRIDES[:len(tensors)])

    def output(self, tensor: str, rank=4) -> None:
        """Make a tensor an output of any size."""
        value = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [None] * rank)
        self._outputs.append(value)

    def model(self, opset=11) -> onnx.ModelProto:
        """The checked model, with traces of its making that must not be handed on."""
        picture = helper.make_tensor_value_info(
            'images', TensorProto.FLOAT, [self.batch, 3, self.size_wh[1], self.size_wh[0]])
        graph = helper.make_graph(self._nodes, 'main_graph', [picture], self._outputs,
                                  self._constants, doc_string='made in /home/somebody')
        model = helper.make_model(graph, ir_version=6, producer_name='pytorch', opset_imports=[
            helper.make_opsetid('', opset)])
        model.metadata_props.add(key='path', value='/home/somebody/model.pt')
        onnx.checker.check_model(model, full_check=True)
        return model


def raw_model(channels: dict[str, int], layout='tros', names: dict | None = None,
              module='/model.22', **options) -> onnx.ModelProto:
    """A model that ends in raw heads.

    :param layout: ``tros`` for NHWC heads stride by stride, ``vacc`` for NCHW ones.
    :param names: (kind, stride) -> name of an output, in order; default cls_8, box_8 ...
    """
    graph = Graph(**options)
    heads = graph.heads(channels, module)
    names = names or {(kind, stride): 'proto' if kind == 'proto' else f'{kind}_{stride}'
                      for kind, stride in sorted(heads, key=lambda key: (key[1] == 4, key[1]))}
    for role, name in names.items():
        if layout == 'tros':
            graph.output(graph.nhwc(heads[role], name))
        else:
            graph.output(graph.renamed(heads[role], name))
    return graph.model()


def ultralytics_model(channels: dict[str, int], **options
                      ) -> tuple[onnx.ModelProto, dict[tuple[str, int], str]]:
    """A model with decoding behind its heads, and the tensors of the heads."""
    graph = Graph(**options)
    heads = graph.heads(channels)
    joined = {kind: graph.joined([heads[kind, s] for s in STRIDES], count, f'/{kind}')
              for kind, count in channels.items()}
    if channels['box'] == 64:
        joined['box'] = _distances(graph, joined['box'])
    joined['cls'] = graph.node('Sigmoid', [joined['cls']], '/cls/Sigmoid_output_0')
    graph.output(graph.node('Concat', list(joined.values()), 'output0', axis=1), rank=3)
    if 'mc' in channels:
        graph.output(graph.node('Mul', [heads['proto', 4], graph.constant('one', np.float32(1))],
                                'output1'))
    return graph.model(), heads


def _distances(graph: Graph, joined: str) -> str:
    """The expectation of a softmax over 16 bins, written with a convolution over the bins."""
    split = graph.node('Reshape', [joined, graph.constant('bins', np.int64([0, 4, 16, -1]))],
                       '/dfl/Reshape_output_0')
    moved = graph.node('Transpose', [split], '/dfl/Transpose_output_0', perm=[0, 2, 1, 3])
    weight = graph.node('Softmax', [moved], '/dfl/Softmax_output_0', axis=1)
    return graph.node('Reshape', [graph.conv('/dfl/conv', weight, (16, 1)),
                                  graph.constant('sides', np.int64([0, 4, -1]))],
                      '/dfl/Reshape_1_output_0')


def anchor_based_model(class_num: int, **options
                       ) -> tuple[onnx.ModelProto, dict[tuple[str, int], str]]:
    """A model with three heads and a sigmoid over their joined cells, and the head tensors."""
    graph = Graph(**options)
    channels = 3 * (5 + class_num)
    heads = {('head', stride): graph.conv(f'/bbox_head/head_module/convs_pred.{level}',
                                          graph.feature(stride), (WIDTH, channels))
             for level, stride in enumerate(STRIDES)}
    joined = graph.joined(list(heads.values()), channels, '/joined')
    graph.output(graph.node('Sigmoid', [joined], 'output'), rank=3)
    return graph.model(), heads


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model."""
    onnx.save(model, str(path))
    return path
