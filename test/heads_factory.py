"""Golden tensors: made-up scenes as the heads of a model, in every form that exporters write.

``make_scene`` gives the real values; ``store`` writes them as a model would give them, in any order
of outputs, layout, dtype and scale form, together with the real values that the stored ones mean.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reference.anchor_free import dequantise
from yolo_seg_node.tensors import Quantization, TensorSpec

PROTO = ('proto', 4)


class Planted(NamedTuple):
    """An object in model pixels; its mask is the ellipse in its box."""

    box: tuple[float, float, float, float]
    class_id: int


@dataclass
class Scene:
    """Real values (h, w, channels) float64 of each (role, stride)."""

    size_wh: tuple[int, int]
    strides: tuple[int, ...]
    class_num: int
    reg_max: int
    num_mask: int | None
    objects: list[Planted]
    real: dict[tuple[str, int], np.ndarray]


def make_scene(seed=0, size_wh=(256, 256), strides=(8, 16, 32), class_num=5, reg_max=16,
               num_mask=32, objects=6) -> Scene:
    """Objects in a grid of places, so that none hides another; each is found by a few cells."""
    rng = np.random.default_rng(seed)
    roles = {'cls': class_num, 'box': 4 * reg_max, **({'mc': num_mask} if num_mask else {})}
    real = {(role, s): rng.normal(0, 0.3, (size_wh[1] // s, size_wh[0] // s, channels))
            for s in strides for role, channels in roles.items()}
    for s in strides:
        real['cls', s] = np.minimum(rng.normal(-6, 1.5, real['cls', s].shape), -3)
    planted = [_random_object(rng, i, size_wh, class_num) for i in range(objects)]
    scene = Scene(size_wh, strides, class_num, reg_max, num_mask, planted, real)
    if num_mask:
        real[PROTO] = _prototypes(rng, scene)
    for number, one in enumerate(planted):
        _plant(rng, scene, number, one)
    return scene


def _random_object(rng, number, size_wh, class_num) -> Planted:
    """Somewhere in place ``number`` of a 3 x 3 grid, reaching over its border a little."""
    width, height = size_wh[0] / 3, size_wh[1] / 3
    x, y = (number % 3) * width, (number // 3 % 3) * height
    w, h = rng.uniform(0.45, 1.05) * width, rng.uniform(0.45, 1.05) * height
    x, y = x + rng.uniform(-0.1, 0.3) * width, y + rng.uniform(-0.1, 0.3) * height
    return Planted((x, y, x + w, y + h), int(rng.integers(class_num)))


def _prototypes(rng, scene) -> np.ndarray:
    """Channel k is positive in the ellipse of object k; the others are smooth noise."""
    shape = (scene.size_wh[1] // 4, scene.size_wh[0] // 4)
    y, x = (4 * (np.indices(shape)[i] + 0.5) for i in range(2))
    proto = rng.normal(0, 0.2, shape + (scene.num_mask,))
    for k, one in enumerate(scene.objects):
        x0, y0, x1, y1 = one.box
        across, down = (2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0)
        proto[..., k] = 1 - across ** 2 - down ** 2
    return np.clip(proto, -2, 2)


def _plant(rng, scene, number, one) -> None:
    """Write the object into the cells around its centre, at the finest stride that can reach."""
    x0, y0, x1, y1 = one.box
    reach = scene.reg_max - 1.5 if scene.reg_max > 1 else 1e9
    fitting = [s for s in scene.strides if max(x1 - x0, y1 - y0) / 2 + s <= reach * s]
    stride = fitting[0] if fitting else scene.strides[-1]
    height, width = scene.real['cls', stride].shape[:2]
    row, column = int((y0 + y1) / 2 // stride), int((x0 + x1) / 2 // stride)
    for r, c in ((row, column), (row, column + 1), (row + 1, column), (row - 1, column)):
        if not (0 <= r < height and 0 <= c < width):
            continue
        jitter = rng.normal(0, 0.01 * stride, 4)
        left, top = (c + 0.5) * stride - x0, (r + 0.5) * stride - y0
        sides = (np.array([left, top, x1 - x0 - left, y1 - y0 - top]) + jitter) / stride
        scene.real['box', stride][r, c] = _encoded(sides, scene.reg_max, rng)
        scene.real['cls', stride][r, c, one.class_id] = rng.uniform(0.5, 4)
        if scene.num_mask:
            scene.real['mc', stride][r, c] = rng.normal(0, 0.02, scene.num_mask)
            scene.real['mc', stride][r, c, number] = rng.uniform(2, 4)


def _encoded(sides, reg_max, rng) -> np.ndarray:
    if reg_max == 1:
        return np.asarray(sides)
    bins = np.arange(reg_max)
    return np.concatenate([-4 * (bins - side) ** 2 / (1 + abs(bins - side)) + rng.normal(0, 0.05)
                           for side in sides])


@dataclass(frozen=True)
class Form:
    """How a model stores its heads; one dtype and scale form per role.

    :ivar dtypes: role -> dtype, float32 where absent.
    :ivar per_channel: roles with a scale per channel; others have one.
    :ivar zero_points: roles with zero points.
    :ivar batch: the shapes have a leading 1.
    """

    order: str | tuple[int, ...] = 'tros'
    layout: str = 'NHWC'
    proto_layout: str = ''
    dtypes: dict[str, str] = field(default_factory=dict)
    per_channel: frozenset[str] = frozenset()
    zero_points: frozenset[str] = frozenset()
    batch: bool = True


@dataclass
class Stored:
    """A model's outputs and what is known of them.

    :ivar places: (role, stride) -> index of the output.
    :ivar real: (role, stride) -> (h, w, channels) float64, what the stored values mean.
    """

    scene: Scene
    specs: tuple[TensorSpec, ...]
    arrays: list[np.ndarray]
    places: dict[tuple[str, int], int]
    real: dict[tuple[str, int], np.ndarray]


def store(scene: Scene, form: Form = Form(), seed: int = 1) -> Stored:
    """Write a scene as the outputs of a model."""
    rng = np.random.default_rng(seed)
    specs, arrays, places, real = [], [], {}, {}
    for index, key in enumerate(ordered(scene, form.order)):
        role = key[0]
        dtype = np.dtype(form.dtypes.get(role, 'float32'))
        values, scale, zero_point = _quantised(
            scene.real[key], dtype, role in form.per_channel, role in form.zero_points, rng)
        real[key] = dequantise(values, 1.0 if scale is None else scale, zero_point, axis=-1)
        layout = (form.proto_layout or form.layout) if role == 'proto' else form.layout
        array = values.transpose(2, 0, 1) if layout == 'NCHW' else values
        array = np.ascontiguousarray(array[None] if form.batch else array)
        places[key] = index
        arrays.append(array)
        specs.append(TensorSpec(f'out{index}', array.shape, array.dtype,
                                _quantization(scale, zero_point, array.ndim, layout)))
    return Stored(scene, tuple(specs), arrays, places, real)


def ordered(scene: Scene, order: str | tuple[int, ...]) -> list[tuple[str, int]]:
    """(role, stride) of each output, in the order in which an exporter writes them."""
    kinds = ['cls', 'box'] + (['mc'] if scene.num_mask else [])
    proto = [PROTO] if scene.num_mask else []

    def per_stride(*roles):
        return [(role, s) for s in scene.strides for role in roles]

    def per_kind(*roles):
        return [(role, s) for role in roles if role in kinds for s in scene.strides]

    tros = per_stride(*kinds) + proto
    if isinstance(order, tuple):
        return [tros[i] for i in order]
    return {'tros': tros, 'rdk_v8': per_kind('mc', 'box', 'cls') + proto,
            'vacc': per_stride('box', 'cls') + per_kind('mc') + proto,
            'kinds': per_kind('cls', 'box', 'mc') + proto,
            'reversed': tros[::-1]}[order]


def _quantised(real, dtype, per_channel, has_zero_point, rng):
    """(stored values, scale or None, zero point) that hold ``real`` to half a step or clip it."""
    if dtype.kind == 'f':
        return real.astype(dtype), None, 0
    limits = np.iinfo(dtype)
    steps = min(limits.max, 1 << 20)
    channels = real.shape[-1] if per_channel else 1
    largest = np.abs(real).reshape(-1, real.shape[-1]).max(axis=0)
    largest = largest if per_channel else largest.max()
    zero_point = (rng.integers(-steps // 4, steps // 4, channels) if has_zero_point
                  else np.zeros(channels, int))
    if dtype.kind == 'u':
        zero_point = zero_point + (limits.max + 1) // 2
        steps = steps // 2
    scale = (np.resize(largest, channels) / (steps * 0.7)).astype(np.float32)
    stored = np.clip(np.round(real / scale.astype(np.float64)) + zero_point, limits.min, limits.max)
    return stored.astype(dtype), scale, zero_point


def _quantization(scale, zero_point, rank, layout) -> Quantization | None:
    if scale is None:
        return None
    axis = None if len(scale) == 1 else (rank - 1 if layout == 'NHWC' else rank - 3)
    zero_point = np.asarray(zero_point, np.int32) if np.any(zero_point) else None
    return Quantization(scale, zero_point, axis)


def write_recording(stored: Stored, folder: Path, name: str = 'model') -> dict[str, Any]:
    """Write the outputs and their scales as files; the keys of a work config for them."""
    np.savez(folder / f'{name}.npz', **{f'output_{i}': a for i, a in enumerate(stored.arrays)})
    entries = {f'output_{i}': _sidecar_entry(spec.quantization)
               for i, spec in enumerate(stored.specs) if spec.quantization}
    (folder / f'{name}.scales.json').write_text(json.dumps({'outputs': entries}))
    scene = stored.scene
    return {
        'model_file': f'{name}.npz', 'dnn_Parser': 'yolov8_seg' if scene.num_mask else 'yolov8',
        'class_num': scene.class_num, 'reg_max': scene.reg_max, 'strides': list(scene.strides),
        'input_size': list(scene.size_wh),
        **({'num_mask': scene.num_mask} if scene.num_mask else {}),
        **({'scales_file': f'{name}.scales.json'} if entries else {})}


def _sidecar_entry(quantization: Quantization) -> dict[str, Any]:
    zero_point = quantization.zero_point
    return {'scale': quantization.scale.tolist(), 'axis': quantization.axis,
            'zero_point': 0 if zero_point is None else zero_point.tolist()}
