"""What is known of a tensor of a model, and how a quantised one becomes real numbers."""

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from .errors import ModelError


@dataclass(frozen=True)
class Quantization:
    """``real = (stored - zero_point) * scale``, per tensor or per channel.

    :ivar scale: float32, shape (1,) or (channels,), all finite and above zero.
    :ivar zero_point: int32 of the shape of ``scale``, or None where it is zero.
    :ivar axis: axis of the tensor along which the channels lie; None with one scale, or where
        several axes are as long as there are scales.
    """

    scale: np.ndarray
    zero_point: Optional[np.ndarray] = None
    axis: Optional[int] = None

    def per_channel(self, channels: int) -> 'tuple[np.ndarray, np.ndarray]':
        """Scale (float32) and zero point (int32), each broadcast to shape (channels,)."""
        zero_point = np.int32(0) if self.zero_point is None else self.zero_point
        return (np.broadcast_to(self.scale, (channels,)),
                np.broadcast_to(zero_point, (channels,)))


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model.

    The shape is that of the valid data, with the batch dimension. Layout labels of vendors are not
    kept: they are sometimes wrong, and the shape decides (see heads.py).
    """

    name: str
    shape: Tuple[int, ...]
    dtype: np.dtype
    quantization: Optional[Quantization] = None

    def __str__(self) -> str:
        scales = f', {self.quantization.scale.size} scale(s)' if self.quantization else ''
        return f'{self.name} {self.shape} {np.dtype(self.dtype).name}{scales}'


def make_quantization(
        spec: TensorSpec, scale: np.ndarray, zero_point: Optional[np.ndarray] = None,
        axis: Optional[int] = None) -> Quantization:
    """Check scales against the tensor that they belong to.

    :param scale: one value, or one per channel of some axis of ``spec.shape``.
    :param zero_point: as many values as ``scale``, one, or None.
    :param axis: channel axis (negative counts from the end); found from the shape when None.
    :raises ModelError: a tensor that is not integer, scales that fit no axis or are not finite and
        positive, zero points that are no integers.
    """
    if np.dtype(spec.dtype).kind not in 'iu':
        raise ModelError(f'Output {spec.name!r} has scales, but is {np.dtype(spec.dtype).name} and '
                         'so needs none; leave them out.')
    with np.errstate(over='ignore'):  # what becomes infinite is refused
        scale = np.array(scale, np.float64).reshape(-1).astype(np.float32)
    if scale.size == 0 or not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise ModelError(
            f'Output {spec.name!r} has scales that are empty, not finite or not above zero; '
            'read them again with `hrt_model_exec model_info`.')
    axis = _channel_axis(spec, scale.size, axis)
    return Quantization(scale, _zero_point(spec, zero_point, scale.size), axis)


def _channel_axis(spec: TensorSpec, count: int, axis: Optional[int]) -> Optional[int]:
    if count == 1:
        return None
    rank = len(spec.shape)
    fitting = [a for a in range(rank) if spec.shape[a] == count]
    if axis is not None:
        fitting = [a for a in fitting if a == (axis + rank if axis < 0 else axis)]
    if not fitting:
        raise ModelError(
            f'Output {spec.name!r} of shape {spec.shape} has {count} scales (axis {axis}), '
            'but no such axis of that length; give 1 scale or one per channel.')
    return fitting[0] if len(fitting) == 1 else None


def _zero_point(spec: TensorSpec, value: Optional[np.ndarray], count: int) -> Optional[np.ndarray]:
    wanted = np.array([] if value is None else value, np.float64).reshape(-1)
    if wanted.size not in (0, 1, count):
        raise ModelError(
            f'Output {spec.name!r} has {wanted.size} zero points for {count} scales; '
            'give one, or as many as scales.')
    if not np.all((np.abs(wanted) < 2**31) & (wanted == np.round(wanted))):
        raise ModelError(f'Output {spec.name!r} has zero points that are no 32-bit integers: '
                         f'{wanted[:4].tolist()}.')
    return wanted.astype(np.int32) if wanted.any() else None


def dequantize(array: np.ndarray, quantization: Optional[Quantization],
               axis: int = -1) -> np.ndarray:
    """Turn stored values into float32 real values.

    :param array: any shape, integer or float; a part of the tensor that still has its channel axis.
    :param quantization: None for a tensor that already holds real values.
    :param axis: where the channels lie in ``array``, which may be a gathered part of the tensor.
    """
    if quantization is None:
        return array.astype(np.float32, copy=False)
    shape = [1] * array.ndim
    shape[axis] = -1
    if quantization.zero_point is not None:
        # int64: the difference of two int32 may leave the range of int32.
        array = array.astype(np.int64) - quantization.zero_point.reshape(shape)
    return np.multiply(array, quantization.scale.reshape(shape), dtype=np.float32)
