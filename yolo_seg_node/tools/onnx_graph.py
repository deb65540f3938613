"""Questions about an ONNX graph, and small changes to it. Needs the ``onnx`` package."""

from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ..runtimes.onnxruntime import OnnxRuntime
from .errors import ToolError

Shape = Tuple[Optional[int], ...]


def load_model(path: Path) -> ModelProto:
    """Read an ONNX file.

    :raises ToolError: it does not exist or is no ONNX model.
    """
    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise ToolError(f'The ONNX model cannot be read: {error}.') from None
    # protobuf raises a class of its own, which has moved between its versions.
    except Exception as error:
        raise ToolError(f'The file is no ONNX model: {error} ({path})') from None
    if not model.graph.node or not model.graph.output:
        raise ToolError(f'The file is no ONNX model, or an empty one ({path}).')
    return model


def save_model(model: ModelProto, path: Path) -> None:
    """Write an ONNX file, whole or not at all.

    :raises ToolError: it cannot be written.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(model.SerializeToString(deterministic=True))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ToolError(f'The ONNX model cannot be written: {error}.') from None


def open_session(model: ModelProto) -> Any:
    """An onnxruntime session on one CPU core.

    :raises RuntimeMissingError: onnxruntime is not installed.
    :raises ToolError: it refuses the model.
    """
    onnxruntime = OnnxRuntime.find_sdk()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime has classes of its own for this
        raise ToolError(f'onnxruntime refuses the model: {error}') from None


def opset_of(model: ModelProto) -> int:
    """Version of the standard operator set that the model uses."""
    return next(entry.version for entry in model.opset_import if entry.domain in ('', 'ai.onnx'))


def producers(model: ModelProto) -> Dict[str, NodeProto]:
    """Tensor name -> the node that computes it."""
    return {output: node for node in model.graph.node for output in node.output}


def constants(model: ModelProto) -> Dict[str, np.ndarray]:
    """Values of all initialisers and Constant nodes, also under the names of their copies."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == 'Identity' and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    return values


def tensor_shapes(model: ModelProto) -> Dict[str, Shape]:
    """Shapes of all convolutions and outputs, and of what shape inference can tell besides.

    A dynamic size is None.
    """
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {value.name: shape_of(value) for value in values}
    wanted = [value.name for value in graph.output] + [
        node.output[0] for node in graph.node if node.op_type == 'Conv']
    unknown = [name for name in wanted if not shapes.get(name) or None in shapes[name][1:]]
    return {**shapes, **_shapes_in_a_run(model, unknown)} if unknown else shapes


def _shapes_in_a_run(model: ModelProto, tensors: Sequence[str]) -> Dict[str, Shape]:
    """Shapes that inference cannot follow, because the model computes them."""
    name, (width, height) = picture_input(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _replace(copy.graph.output, [helper.make_empty_tensor_value_info(t) for t in tensors])
    arrays = open_session(copy).run(None, {name: np.zeros((1, 3, height, width), np.float32)})
    return {tensor: array.shape for tensor, array in zip(tensors, arrays)}


def shape_of(value: Any) -> Shape:
    """Shape of an input, output or value_info entry; a dynamic size is None."""
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField('dim_value') else None for d in dims)


def picture_input(model: ModelProto) -> Tuple[str, 'tuple[int, int]']:
    """Name of the one picture input and its width and height.

    :raises ToolError: it is not one fixed NCHW picture.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    shapes = [shape_of(value) for value in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3 or None in shapes[0][2:]:
        found = ', '.join(f'{value.name} {shape}' for value, shape in zip(inputs, shapes))
        raise ToolError(f'The model must take one picture (n, 3, height, width) of a fixed size, '
                         f'but takes: {found}. Export it with a fixed picture size.')
    return inputs[0].name, (shapes[0][3], shapes[0][2])


def set_outputs(model: ModelProto, tensors: Sequence[str]) -> None:
    """Make these tensors the outputs, in this order, and drop what they don't need; in place."""
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    shapes.update({value.name: value for value in model.graph.output})
    outputs = [shapes.get(name) or helper.make_empty_tensor_value_info(name) for name in tensors]
    _replace(model.graph.output, outputs)
    drop_unused(model)


def rename_tensors(model: ModelProto, new_names: Dict[str, str]) -> None:
    """Rename tensors wherever they are made, read or listed; in place."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            _replace(names, [new_names.get(name, name) for name in names])
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info,
                  *model.graph.initializer]:
        value.name = new_names.get(value.name, value.name)


def drop_unused(model: ModelProto) -> None:
    """Drop nodes and constants that no output needs; in place."""
    graph, made = model.graph, producers(model)
    needed, todo = set(), [value.name for value in graph.output]
    while todo:
        name = todo.pop()
        if name and name not in needed:
            needed.add(name)
            todo += made[name].input if name in made else ()
    _replace(graph.node, [n for n in graph.node if needed.intersection(n.output)])
    _replace(graph.initializer, [t for t in graph.initializer if t.name in needed])
    del graph.value_info[:]


def inline_shared_constants(model: ModelProto) -> None:
    """Read shared constants directly; in place.

    The exporter of torch stores equal weights once and hands them on through Identity nodes.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    same: Dict[str, str] = {}
    for node in model.graph.node:
        source = same.get(node.input[0], node.input[0]) if node.input else ''
        if node.op_type == 'Identity' and source in stored and node.output[0] not in outputs:
            same[node.output[0]] = source
    for node in model.graph.node:
        if node.op_type != 'Identity' or node.output[0] not in same:
            _replace(node.input, [same.get(name, name) for name in node.input])
    drop_unused(model)


def strip_history(model: ModelProto) -> None:
    """Drop what an exporter notes beside the computation: texts, source paths, metadata."""
    model.doc_string = model.graph.doc_string = ''
    items = [model, model.graph, *model.graph.node, *model.graph.value_info]
    for item in items:
        item.doc_string = ''
        for field in ('metadata_props', 'quantization_annotation'):
            if field in item.DESCRIPTOR.fields_by_name:
                item.ClearField(field)


def node_before(made: Dict[str, NodeProto], tensor: str, through: Iterable[str]
                ) -> Optional[NodeProto]:
    """The node that computes a tensor, looking through nodes of these types; None at an input."""
    node = made.get(tensor)
    while node is not None and node.op_type in through:
        node = made.get(node.input[0])
    return node


def _replace(field: Any, values: List[Any]) -> None:
    values = list(values)
    del field[:]
    field.extend(values)
