"""Scales of tensors: which are accepted, and what they make of stored values."""
import numpy as np
import pytest
from reference.anchor_free import dequantise

from yolo_seg_node.errors import ModelError
from yolo_seg_node.tensors import Quantization, TensorSpec, dequantize, make_quantization

HEAD = TensorSpec('514', (1, 8, 10, 32), np.dtype(np.int32))


def spec(shape, dtype='int32'):
    return TensorSpec('head', shape, np.dtype(dtype))


@pytest.mark.parametrize('shape, count, axis, found', [
    ((1, 8, 10, 32), 1, None, None),
    ((1, 8, 10, 32), 1, 3, None),
    ((1, 8, 10, 32), 32, None, 3),
    ((1, 8, 10, 32), 32, 3, 3),
    ((1, 8, 10, 32), 32, -1, 3),
    ((1, 32, 8, 10), 32, None, 1),
    ((1, 32, 8, 10), 32, -3, 1),
    ((8, 10, 32), 32, None, 2),
    ((32, 8, 10), 32, None, 0),
    ((1, 32, 32, 32), 32, None, None),  # left to the heads, see heads.py
    ((1, 32, 32, 32), 32, 3, 3),
    ((1, 32, 32, 32), 32, 1, 1),
])
def test_the_channel_axis_is_found(shape, count, axis, found):
    quantization = make_quantization(spec(shape), np.linspace(0.1, 1, count), None, axis)
    assert quantization.axis == found
    assert quantization.scale.dtype == np.float32 and quantization.scale.shape == (count,)


@pytest.mark.parametrize('scale, zero_point, axis, problem', [
    (np.ones(31), None, None, r"'514' of shape \(1, 8, 10, 32\) has 31 scales"),
    (np.ones(32), None, 1, r'32 scales \(axis 1\), but no such axis of that length'),
    (np.ones(32), None, 7, r'32 scales \(axis 7\)'),
    ([], None, None, 'empty, not finite or not above zero'),
    ([0.0], None, None, 'not above zero'),
    ([-0.5], None, None, 'not above zero'),
    ([np.nan], None, None, 'not finite'),
    ([1e300], None, None, 'not finite'),
    ([1e-300], None, None, 'not above zero'),
    ([0.5], [1, 2], None, '2 zero points for 1 scales'),
    (np.ones(32), np.ones(31), None, '31 zero points for 32 scales'),
    ([0.5], [0.5], None, r'no 32-bit integers: \[0.5\]'),
    ([0.5], [np.nan], None, 'no 32-bit integers'),
    ([0.5], [2.0**31], None, 'no 32-bit integers'),
])
@pytest.mark.filterwarnings('error')
def test_bad_scales_are_refused(scale, zero_point, axis, problem):
    with pytest.raises(ModelError, match=problem):
        make_quantization(HEAD, scale, zero_point, axis)


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'bool'])
def test_only_integers_have_scales(dtype):
    with pytest.raises(ModelError, match=f"'head' has scales, but is {dtype}"):
        make_quantization(spec((1, 4), dtype), [0.5])


@pytest.mark.parametrize('zero_point', [None, [], 0, [0], np.zeros(32)])
def test_zero_points_of_zero_are_none(zero_point):
    assert make_quantization(HEAD, np.ones(32), zero_point).zero_point is None


DTYPES = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64']


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('zero_point', ['none', 'one', 'each'])
@pytest.mark.parametrize('per_channel', [True, False])
@pytest.mark.parametrize('axis', [-1, 0])
def test_dequantised_values_follow_the_formula(dtype, zero_point, per_channel, axis):
    rng = np.random.default_rng(1)
    limits, channels = np.iinfo(dtype), 6
    low, high = max(limits.min, -2**31), min(limits.max, 2**31 - 1)
    stored = rng.integers(low, high, (5, channels) if axis == -1 else (channels, 5), np.int64)
    stored.flat[:2] = low, high
    scale = rng.uniform(1e-5, 1e-2, channels if per_channel else 1)
    zero = {'none': None, 'one': rng.integers(-100, 200, 1),
            'each': rng.integers(-2**31, 2**31 - 1, len(scale))}[zero_point]
    shape = (1, 5, channels) if axis == -1 else (channels, 5, 1)
    quantization = make_quantization(spec(shape, dtype), scale, zero)
    real = dequantize(stored.astype(dtype), quantization, axis)
    expected = dequantise(stored, scale, 0 if zero is None else zero, axis)
    assert real.dtype == np.float32
    np.testing.assert_allclose(real, expected, rtol=1e-6, atol=1e-6)


def test_real_values_pass_through():
    values = np.float32([[1, np.nan], [np.inf, -2]])
    assert dequantize(values, None) is values
    half = dequantize(values.astype(np.float16), None)
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, values)


def test_one_scale_is_that_of_all_channels():
    scale, zero_point = Quantization(np.float32([0.5]), np.int32([3])).per_channel(4)
    assert scale.tolist() == [0.5] * 4 and zero_point.tolist() == [3] * 4
    scale, zero_point = Quantization(np.float32([1, 2])).per_channel(2)
    assert scale.tolist() == [1, 2] and zero_point.tolist() == [0, 0]


def test_a_spec_tells_what_a_user_needs():
    assert str(HEAD) == '514 (1, 8, 10, 32) int32'
    scaled = TensorSpec('585', (1, 4, 4, 2), np.int16, Quantization(np.float32([0.1])))
    assert str(scaled) == '585 (1, 4, 4, 2) int16, 1 scale(s)'
