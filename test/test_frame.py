"""Pictures from bytes: every encoding, padded rows, bad sizes, and pixels equal to OpenCV's."""
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_seg_node.errors import FrameError
from yolo_seg_node.frame import (ALIASES, ENCODINGS, SEMI_PLANAR, frame_from_bgr, frame_from_buffer,
                                 frame_from_compressed)

# encoding: bytes of a row per pixel, rows per picture row, OpenCV's conversion of the dense array
FORMS = {
    'bgr8': (3, 1, None), 'rgb8': (3, 1, cv2.COLOR_RGB2BGR), 'bgra8': (4, 1, cv2.COLOR_BGRA2BGR),
    'rgba8': (4, 1, cv2.COLOR_RGBA2BGR), 'mono8': (1, 1, cv2.COLOR_GRAY2BGR),
    'nv12': (1, 1.5, cv2.COLOR_YUV2BGR_NV12), 'nv21': (1, 1.5, cv2.COLOR_YUV2BGR_NV21),
    'yuv422': (2, 1, cv2.COLOR_YUV2BGR_UYVY), 'uyvy': (2, 1, cv2.COLOR_YUV2BGR_UYVY),
    'yuv422_yuy2': (2, 1, cv2.COLOR_YUV2BGR_YUY2), 'yuyv': (2, 1, cv2.COLOR_YUV2BGR_YUY2),
    'bayer_rggb8': (1, 1, cv2.COLOR_BayerBG2BGR), 'bayer_bggr8': (1, 1, cv2.COLOR_BayerRG2BGR),
    'bayer_gbrg8': (1, 1, cv2.COLOR_BayerGR2BGR), 'bayer_grbg8': (1, 1, cv2.COLOR_BayerGB2BGR),
    '8UC1': (1, 1, cv2.COLOR_GRAY2BGR), '8UC3': (3, 1, None), '8UC4': (4, 1, cv2.COLOR_BGRA2BGR),
}


def raw(encoding, width, height, padding=0, seed=0):
    """(bytes with random padding, step, (rows, bytes per row) array without it)."""
    per_pixel, rows, _ = FORMS[encoding]
    random = np.random.default_rng(seed).integers(
        0, 256, (int(height * rows), width * per_pixel + padding), np.uint8)
    return random.tobytes(), random.shape[1], random[:, :width * per_pixel].copy()


def converted(encoding, dense, width):
    per_pixel, _, code = FORMS[encoding]
    picture = dense.reshape(len(dense), width, per_pixel) if per_pixel > 1 else dense
    return picture if code is None else cv2.cvtColor(picture, code)


def test_every_encoding_is_tested():
    assert set(FORMS) == {*ENCODINGS, *ALIASES}


@pytest.mark.parametrize('size', [(2, 2), (8, 6), (64, 48), (322, 182)])
@pytest.mark.parametrize('padding', [0, 1, 6, 64])
@pytest.mark.parametrize('encoding', FORMS)
def test_pixels_are_those_of_opencv(encoding, padding, size):
    data, step, dense = raw(encoding, *size, padding)
    frame = frame_from_buffer(data, encoding, *size, step)
    bgr = frame.bgr()
    assert bgr.shape == (size[1], size[0], 3) and bgr.dtype == np.uint8
    np.testing.assert_array_equal(bgr, converted(encoding, dense, size[0]))


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8'])
@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1), (33, 17)])
def test_odd_sizes_of_whole_pixels(encoding, size):
    data, step, dense = raw(encoding, *size, 5)
    np.testing.assert_array_equal(frame_from_buffer(data, encoding, *size, step).bgr(),
                                  converted(encoding, dense, size[0]))


def test_colours_come_out_right():
    """One pixel of each primary, so that a swap of channels cannot hide."""
    for encoding, pixels in {'rgb8': [255, 0, 0], 'bgr8': [0, 0, 255], 'rgba8': [255, 0, 0, 9],
                             'bgra8': [0, 0, 255, 9]}.items():
        frame = frame_from_buffer(bytes(pixels), encoding, 1, 1, len(pixels))
        assert frame.bgr().tolist() == [[[0, 0, 255]]], encoding


@pytest.mark.parametrize('pattern, red_yx', [('rggb', (0, 0)), ('bggr', (1, 1)),
                                             ('grbg', (0, 1)), ('gbrg', (1, 0))])
def test_bayer_patterns_are_named_from_the_first_pixel(pattern, red_yx):
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[red_yx[0]::2, red_yx[1]::2] = 200
    bgr = frame_from_buffer(mosaic.tobytes(), f'bayer_{pattern}8', 8, 8, 8).bgr()
    assert bgr[2:6, 2:6, 2].min() > 40 and not bgr[..., :2].any()


@pytest.mark.parametrize('encoding, chroma', [('nv12', [90, 240]), ('nv21', [240, 90])])
def test_chroma_is_in_u_v_order(encoding, chroma):
    data = bytes([81] * 4 + chroma)  # BT.601 red: Y 81, U 90, V 240
    frame = frame_from_buffer(data, encoding, 2, 2, 2)
    assert frame.chroma_uv().tolist() == [[[90, 240]]]
    assert frame.is_yuv420
    np.testing.assert_allclose(frame.bgr()[0, 0], [0, 0, 255], atol=2)


@pytest.mark.parametrize('encoding', FORMS)
def test_planes_are_views_of_the_bytes_that_came(encoding):
    data, step, _ = raw(encoding, 16, 8, 4)
    source = np.frombuffer(bytearray(data), np.uint8)
    frame = frame_from_buffer(source, encoding, 16, 8, step)
    assert all(np.shares_memory(plane, source) for plane in frame.planes)


@pytest.mark.parametrize('wrap', [bytes, bytearray, memoryview,
                                  lambda data: np.frombuffer(data, np.uint8)])
def test_any_buffer_will_do(wrap):
    data, step, dense = raw('rgb8', 5, 3)
    frame = frame_from_buffer(wrap(data), 'rgb8', 5, 3, step)
    np.testing.assert_array_equal(frame.planes[0].reshape(3, 15), dense)


def test_stamp_and_frame_id_are_kept():
    frame = frame_from_buffer(bytes(3), 'bgr8', 1, 1, 3, stamp_ns=1_700_000_000_123_456_789,
                              frame_id='camera_left')
    assert (frame.stamp_ns, frame.frame_id) == (1_700_000_000_123_456_789, 'camera_left')
    assert frame.size_wh == (1, 1) and not frame.is_yuv420


@pytest.mark.parametrize('encoding, name', [
    ('BGR8', 'bgr8'), ('NV12', 'nv12'), ('uyvy', 'yuv422'), ('UYVY', 'yuv422'),
    ('YUYV', 'yuv422_yuy2'), ('8UC3', 'bgr8'), ('8UC1', 'mono8')])
def test_names_of_encodings(encoding, name):
    data, step, _ = raw(name, 4, 2)
    assert frame_from_buffer(data, encoding, 4, 2, step).encoding == name


@pytest.mark.parametrize(
    'encoding', ['', 'bgr16', '32FC1', 'h264', 'bayer_rggb16', 'mono16', 'jpeg'])
def test_unknown_encodings_are_refused_with_the_list(encoding):
    with pytest.raises(FrameError) as error:
        frame_from_buffer(bytes(64), encoding, 4, 4, 16)
    assert f'{encoding!r} is not supported; publish one of: bgr8, ' in str(error.value)
    assert error.value.cause == 'encoding'
    assert all(name in str(error.value) for name in FORMS)


@pytest.mark.parametrize('size', [(0, 4), (4, 0), (0, 0), (-2, 4)])
@pytest.mark.parametrize('encoding', ['bgr8', 'nv12'])
def test_empty_pictures_are_refused(encoding, size):
    with pytest.raises(FrameError, match='is empty; check the camera driver') as error:
        frame_from_buffer(b'', encoding, *size, 12)
    assert error.value.cause == 'size'


@pytest.mark.parametrize('encoding, size', [
    ('nv12', (5, 4)), ('nv12', (4, 5)), ('nv21', (3, 3)), ('yuv422', (5, 4)), ('yuyv', (1, 4))])
def test_sizes_that_chroma_cannot_have_are_refused(encoding, size):
    with pytest.raises(FrameError, match=f'{size[0]}x{size[1]} is odd, which .* cannot have'
                       ) as error:
        frame_from_buffer(bytes(4000), encoding, *size, 16)
    assert error.value.cause == 'size'


def test_yuv422_may_have_an_odd_height():
    data, step, dense = raw('uyvy', 4, 5)
    np.testing.assert_array_equal(frame_from_buffer(data, 'uyvy', 4, 5, step).bgr(),
                                  converted('uyvy', dense, 4))


@pytest.mark.parametrize('encoding', FORMS)
@pytest.mark.parametrize('change', [-1, 1, 100, -10**9])
def test_wrong_lengths_are_refused(encoding, change):
    data, step, _ = raw(encoding, 8, 6, 3)
    data = (data + bytes(max(change, 0)))[:max(len(data) + change, 0)]
    with pytest.raises(FrameError, match=f'has {len(data)} bytes of data, but') as error:
        frame_from_buffer(data, encoding, 8, 6, step)
    assert error.value.cause == 'length'


@pytest.mark.parametrize('encoding', FORMS)
@pytest.mark.parametrize('step', [0, -8, 7])
def test_a_step_below_a_row_is_refused(encoding, step):
    with pytest.raises(FrameError, match=f'has step {step}, but a row of ') as error:
        frame_from_buffer(bytes(96), encoding, 8, 6, step)
    assert error.value.cause == 'step'


@given(st.sampled_from(sorted({*FORMS, 'h264'})), st.integers(-1, 9), st.integers(-1, 9),
       st.integers(-4, 40), st.integers(0, 400))
def test_any_header_gives_a_picture_or_a_frame_error(encoding, width, height, step, length):
    try:
        frame = frame_from_buffer(bytes(length), encoding, width, height, step)
    except FrameError:
        return
    assert frame.bgr().shape == (height, width, 3)
    assert length == step * (height * 3 // 2 if frame.encoding in SEMI_PLANAR else height)


def encoded(suffix, shape=(24, 33, 3)):
    coarse = np.random.default_rng(3).integers(0, 256, (4, 5, 3), np.uint8)
    smooth = cv2.resize(coarse, shape[1::-1])
    return cv2.imencode(suffix, smooth)[1].tobytes(), smooth


def test_png_is_decoded_exactly():
    data, bgr = encoded('.png')
    np.testing.assert_array_equal(frame_from_compressed(data).bgr(), bgr)


def test_jpeg_is_decoded_as_opencv_does():
    data, bgr = encoded('.jpg')
    frame = frame_from_compressed(data, 7, 'cam')
    np.testing.assert_array_equal(frame.bgr(), cv2.imdecode(np.frombuffer(data, np.uint8), 1))
    assert np.abs(frame.bgr().astype(int) - bgr).mean() < 5
    assert (frame.encoding, frame.size_wh, frame.stamp_ns, frame.frame_id) == (
        'bgr8', (33, 24), 7, 'cam')


def test_grey_pictures_become_bgr():
    data = cv2.imencode('.png', np.arange(12, dtype=np.uint8).reshape(3, 4))[1]
    bgr = frame_from_compressed(data.tobytes()).bgr()
    assert bgr.shape == (3, 4, 3) and bgr[2, 3].tolist() == [11, 11, 11]


def with_orientation(jpeg, value):
    """A JPEG with an Exif block whose orientation tag is ``value``."""
    tiff = (b'MM\0*\0\0\0\x08' + b'\0\x01' + b'\x01\x12\0\x03\0\0\0\x01' + bytes([0, value, 0, 0])
            + b'\0\0\0\0')
    block = b'Exif\0\0' + tiff
    return jpeg[:2] + b'\xff\xe1' + (len(block) + 2).to_bytes(2, 'big') + block + jpeg[2:]


def test_orientation_tags_do_not_turn_the_picture():
    data, _ = encoded('.jpg')
    turned = with_orientation(data, 6)
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (33, 24)
    np.testing.assert_array_equal(frame_from_compressed(turned).bgr(),
                                  frame_from_compressed(data).bgr())


@pytest.mark.parametrize('data', [b'', b'\0', b'no picture at all', b'\xff\xd8\xff', bytes(10000)])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(FrameError, match=f'of {len(data)} bytes cannot be decoded') as error:
        frame_from_compressed(data)
    assert error.value.cause == 'decode'


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('part', [0.1, 0.5, 0.9])
def test_a_cut_picture_is_refused(suffix, part):
    data, _ = encoded(suffix, (200, 300, 3))
    with pytest.raises(FrameError):
        frame_from_compressed(data[:int(len(data) * part)])


def test_a_bgr_array_is_not_copied():
    bgr = np.zeros((4, 6, 3), np.uint8)
    frame = frame_from_bgr(bgr)
    assert frame.bgr() is bgr and frame.size_wh == (6, 4)
