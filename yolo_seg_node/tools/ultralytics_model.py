"""An ultralytics checkpoint as an ONNX model with raw heads; no file of ultralytics is touched.

The only module that imports torch and ultralytics. Both are the user's own installation.
"""

import atexit
import contextlib
import importlib
import inspect
import io
import os
import shutil
import tempfile
import types
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import onnx
from onnx import ModelProto

from ..heads import PROTO, PROTO_STRIDE, Role
from .errors import ToolError
from .head_layouts import HeadLayout, ordered_roles, role_name
from .onnx_graph import inline_shared_constants, open_session, opset_of, strip_history

OPSET = 11  # the newest that the tool chains of all boards read
SUPPORTED = ('detection and instance segmentation models of YOLOv8, YOLO11, YOLO26 and their '
             'relatives (heads Detect, v10Detect, Segment, Segment26)')
BRANCHES = {'box': 'cv2', 'cls': 'cv3', 'mc': 'cv4'}
HEADS = {'Detect': ('box', 'cls'), 'v10Detect': ('box', 'cls'),
         'Segment': ('box', 'cls', 'mc', PROTO), 'Segment26': ('box', 'cls', 'mc', PROTO)}
TOLERANCE = 1e-4  # of the largest value of an output, between onnxruntime and torch
TRACED_NAMES = ['output0', 'output1']


@dataclass(frozen=True)
class Checkpoint:
    """A loaded network, fused, for inference only.

    :ivar network: ``torch.nn.Module``.
    :ivar kinds: kinds of raw heads that it has.
    :ivar strides: of its heads, in model pixels.
    :ivar picture_size: side of the pictures that it was trained on, in pixels.
    :ivar suppressed: its heads were trained to need no suppression (YOLOv10).
    """

    network: Any
    kinds: Tuple[str, ...]
    strides: Tuple[int, ...]
    labels: Tuple[str, ...]
    licence: str
    picture_size: int
    suppressed: bool

    @property
    def head(self) -> Any:
        """The last module, which the raw heads belong to."""
        return self.network.model[-1]


def load_checkpoint(weights: str) -> Checkpoint:
    """Load ``.pt`` weights, or a ``.yaml`` model with random ones.

    :raises ToolError: torch or ultralytics is missing, or it is no model that can be cut.
    """
    suffix = Path(weights).suffix.lower()
    if suffix not in ('.pt', '.yaml', '.yml'):
        raise ToolError(f'{weights!r} is no ultralytics checkpoint (.pt or .yaml); supported are '
                        f'{SUPPORTED}. For other frameworks export an ONNX file there and give '
                        'that, or see `yolo_seg cut --help`.')
    if suffix == '.pt' and not Path(weights).is_file():
        raise ToolError(f'There is no checkpoint {weights!r}; models are not downloaded here.')
    yolo = _load(weights)
    network = _checked(yolo.model, weights)
    names = network.names
    labels = tuple(str(names[i]) for i in range(len(names)))
    suppressed = type(network.model[-1]).__name__ == 'v10Detect'
    licence = str((getattr(yolo, 'ckpt', None) or {}).get('license') or '')
    strides = tuple(int(stride) for stride in network.model[-1].stride)
    return Checkpoint(_for_inference(network), HEADS[type(network.model[-1]).__name__], strides,
                      labels, licence, _picture_size(network), suppressed)


def _load(weights: str) -> Any:
    _keep_ultralytics_quiet()
    _users_module('torch')
    ultralytics = _users_module('ultralytics')
    try:
        return ultralytics.YOLO(weights)
    except Exception as error:  # ultralytics raises many kinds, some of them bare
        reason = str(error).strip().splitlines() or [repr(error)]
        raise ToolError(f'ultralytics cannot load {weights!r}: {reason[0]} Supported are '
                        f'{SUPPORTED}, as .pt or .yaml.') from None


def _users_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise ToolError(f'{name} cannot be imported ({error}). Checkpoints are read with torch and '
                        'ultralytics, which this package does not bring: `pip install torch '
                        'torchvision ultralytics`, on any PC.') from None


def _keep_ultralytics_quiet() -> None:
    """It would write into the home folder, send usage data and install packages by itself."""
    for name, value in (('YOLO_OFFLINE', 'True'), ('YOLO_AUTOINSTALL', 'False'),
                        ('YOLO_VERBOSE', 'False')):
        os.environ.setdefault(name, value)
    if 'YOLO_CONFIG_DIR' not in os.environ:
        folder = os.environ['YOLO_CONFIG_DIR'] = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _checked(network: Any, weights: str) -> Any:
    """The network if its head is one that can be cut."""
    modules = getattr(network, 'model', None)
    head = modules[-1] if modules is not None and len(modules) else network
    kind = type(head).__name__
    if kind not in HEADS:
        raise ToolError(f'{weights!r} is a model with a {kind} head, which cannot be cut; '
                        f'supported are {SUPPORTED}.')
    if PROTO in HEADS[kind] and int(head.stride[0]) != 2 * PROTO_STRIDE:
        raise ToolError(f'{weights!r} has its first heads at stride {int(head.stride[0])} and so '
                        f'its prototypes at {int(head.stride[0]) // 2}; supported are prototypes '
                        f'at stride {PROTO_STRIDE}.')
    return network


def _picture_size(network: Any) -> int:
    arguments = getattr(network, 'args', None)
    size = arguments.get('imgsz') if isinstance(arguments, dict) else None
    return int(np.max(size)) if size else 640


def _for_inference(network: Any) -> Any:
    network = network.float().eval()
    network = network.fuse(verbose=False).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for module in network.modules():
        if hasattr(module, 'forward_split'):  # Split in place of Shape, Gather and Slice nodes
            module.forward = module.forward_split
    return network


def export(checkpoint: Checkpoint, layout: HeadLayout, size_wh: Tuple[int, int],
           rewrite_attention: bool, dynamic_batch: bool
           ) -> Tuple[ModelProto, Dict[str, Role], float]:
    """Trace the network to ONNX and check the result in onnxruntime.

    :param rewrite_attention: write the softmax of attention as maximum, exponential and sum over
        the channel axis, which runs on the BPU and has no four-dimensional Softmax.
    :return: the model, output name -> role in order, and the largest difference from torch.
    :raises ToolError: the ONNX model computes something else than the network.
    """
    torch = _users_module('torch')
    roles = ordered_roles(layout, checkpoint.kinds, checkpoint.strides)
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand((1, 3, size_wh[1], size_wh[0]), generator=generator)
    with torch.no_grad():
        with _raw_heads(checkpoint, layout, roles):
            expected = [tensor.numpy() for tensor in checkpoint.network(picture)]
            with _channel_attention(checkpoint, rewrite_attention):
                model = _trace(torch, checkpoint.network, picture, layout, roles, dynamic_batch)
    strip_history(model)
    inline_shared_constants(model)
    names = [value.name for value in model.graph.output]
    difference = _largest_difference(model, picture.numpy(), expected, names)
    return model, dict(zip(names, roles)), difference


def _trace(torch: Any, network: Any, picture: Any, layout: HeadLayout, roles: Sequence[Role],
           dynamic_batch: bool) -> ModelProto:
    names = TRACED_NAMES if layout.traced_names else [role_name(role) for role in roles]
    axes = {name: {0: 'batch'} for name in ['images', *names]} if dynamic_batch else None
    # The newer exporter silently raises the opset, loses the node names that hb_model_modifier
    # goes by, and stores source paths of this machine.
    has_choice = 'dynamo' in inspect.signature(torch.onnx.export).parameters
    sink = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(network, (picture,), sink, input_names=['images'], output_names=names,
                          opset_version=OPSET, dynamic_axes=axes, do_constant_folding=True,
                          **({'dynamo': False} if has_choice else {}))
    model = onnx.load_from_string(sink.getvalue())
    if opset_of(model) != OPSET:
        raise ToolError(f'This torch wrote opset {opset_of(model)} instead of {OPSET}; use another '
                        'version of torch, for example 2.13.')
    return model


def _largest_difference(model: ModelProto, picture: np.ndarray, expected: Sequence[np.ndarray],
                        names: Sequence[str]) -> float:
    """Between onnxruntime and torch, over all outputs.

    :raises ToolError: it is more than rounding.
    """
    found = open_session(model).run(None, {'images': picture})
    differences = []
    for name, a, b in zip(names, expected, found):
        largest = max(1.0, float(np.abs(a).max()))
        if a.shape != b.shape or not np.abs(a - b).max() <= TOLERANCE * largest:
            raise ToolError(f'Output {name} of the exported model is not what torch computes '
                            f'(shapes {b.shape} and {a.shape}); nothing was written. Try another '
                            'version of torch.')
        differences.append(float(np.abs(a - b).max()))
    return max(differences)


@contextlib.contextmanager
def _raw_heads(checkpoint: Checkpoint, layout: HeadLayout, roles: Sequence[Role]) -> Iterator[None]:
    """Within the block the network gives its raw heads, in the order of ``roles``."""
    evaluation = sorted(roles, key=lambda role: layout.proto_first and role.name != PROTO)

    def forward(head: Any, features: Sequence[Any]) -> Tuple[Any, ...]:
        tensors = {}
        for role in evaluation:
            tensor = _head_tensor(head, role, features, checkpoint.strides)
            if layout.channels_last:
                tensor = tensor.permute(0, 2, 3, 1).contiguous()
            tensors[role] = tensor
        return tuple(tensors[role] for role in roles)

    with _replaced([checkpoint.head], forward):
        yield


def _head_tensor(head: Any, role: Role, features: Sequence[Any], strides: Sequence[int]) -> Any:
    if role.name == PROTO:
        # The prototypes of YOLO26 are made from all levels, those before from the first.
        return head.proto(features if hasattr(head.proto, 'feat_refine') else features[0])
    level = strides.index(role.stride)
    name = BRANCHES[role.name]
    # Heads without suppression have a branch of their own; some versions rename it when fusing.
    branch = getattr(head, f'one2one_{name}', None)
    branch = getattr(head, name) if branch is None else branch
    return branch[level](features[level])


@contextlib.contextmanager
def _channel_attention(checkpoint: Checkpoint, wanted: bool) -> Iterator[None]:
    """Within the block every attention block computes its softmax over the channel axis."""
    modules = [module for module in checkpoint.network.modules()
               if wanted and type(module).__name__ == 'Attention']
    with _replaced(modules, _attention_forward):
        yield


def _attention_forward(block: Any, picture: Any) -> Any:
    """Self-attention over all cells; D-Robotics' form, twice as fast on the BPU.

    :param picture: (batch, channels, height, width).
    """
    batch, channels, height, width = picture.shape
    sizes = [block.key_dim, block.key_dim, block.head_dim]
    joint = block.qkv(picture).view(batch, block.num_heads, sum(sizes), height * width)
    query, key, value = joint.split(sizes, dim=2)
    score = (query.transpose(-2, -1) @ key) * block.scale  # (batch, heads, query, key)
    score = score.permute(0, 3, 1, 2).contiguous()  # the softmax runs over the keys
    weight = (score - score.max(dim=1, keepdim=True).values).exp()
    weight = weight / weight.sum(dim=1, keepdim=True)
    weight = weight.permute(0, 2, 3, 1).contiguous()
    mixed = (value @ weight.transpose(-2, -1)).view(batch, channels, height, width)
    return block.proj(mixed + block.pe(value.reshape(batch, channels, height, width)))


@contextlib.contextmanager
def _replaced(modules: List[Any], forward: Callable[..., Any]) -> Iterator[None]:
    """Within the block the modules compute ``forward``; set on the instances, not the class."""
    for module in modules:
        module.forward = types.MethodType(forward, module)
    try:
        yield
    finally:
        for module in modules:
            del module.forward
