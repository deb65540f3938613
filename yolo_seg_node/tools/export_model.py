"""The model to export: from a checkpoint, or from an ONNX file of any framework."""

from pathlib import Path
from typing import Optional, Sequence

from ..letterbox import SizeWH
from .cut_model import cut
from .errors import ToolError
from .export_targets import Target
from .find_heads import raw_roles
from .head_layouts import HeadLayout, role_name
from .onnx_graph import load_model, strip_history
from .raw_model import RawModel, make_raw_model


def model_from_onnx(path: Path, layout: HeadLayout, parser: Optional[str],
                    labels: Sequence[str]) -> RawModel:
    """An ONNX file with raw heads as it is, any other one cut before its post-processing.

    :raises ToolError: it cannot be cut, or its heads leave open what it is.
    """
    model = load_model(path)
    roles = raw_roles(model)
    if roles is None:
        model, found = cut(model, layout)
        roles = {role_name(role): role for role in found}
    strip_history(model)
    return make_raw_model(model, roles, parser, labels)


def model_from_checkpoint(weights: str, layout: HeadLayout, target: Target,
                          size_wh: Optional[SizeWH], labels: Sequence[str]) -> RawModel:
    """An ultralytics checkpoint as ONNX; prints how close it is to the network.

    :param size_wh: of the model input; as in training where None.
    :raises ToolError: it cannot be loaded, cut or exported, or not at this size.
    """
    from . import ultralytics_model  # torch is large, and only this needs it
    checkpoint = ultralytics_model.load_checkpoint(weights)
    size_wh = size_wh or (checkpoint.picture_size, checkpoint.picture_size)
    coarsest = max(checkpoint.strides)
    if size_wh[0] % coarsest or size_wh[1] % coarsest:
        raise ToolError(f'--imgsz is {size_wh[0]}x{size_wh[1]}, but both sides must be multiples '
                        f'of {coarsest}, the coarsest stride of the model.')
    model, roles, difference = ultralytics_model.export(
        checkpoint, layout, size_wh, target.rewrite_attention, target.dynamic_batch)
    print(f'onnxruntime gives what torch gives, to {difference:.1e}')
    if checkpoint.licence:
        model.metadata_props.add(key='license', value=checkpoint.licence)
    return make_raw_model(model, roles, 'yolov10' if checkpoint.suppressed else None,
                          labels or checkpoint.labels, checkpoint.licence)
