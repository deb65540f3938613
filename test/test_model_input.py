"""What the model is fed with, against plain bilinear sampling, and where things land in it."""
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.geometry import place
from reference.masks import bilinear_rows

from yolo_seg_node.frame import Frame, frame_from_bgr, frame_from_buffer
from yolo_seg_node.letterbox import MODES
from yolo_seg_node.model_input import NCHW, NHWC, NV12, PICTURE, Y_UV, InputFormat, Preprocessor
from yolo_seg_node.pixels import exact_samples, resize_into

MODEL = (96, 64)
SIZES = [(160, 90), (90, 160), (96, 64), (288, 192), (31, 17), (1, 1), (5, 200), (640, 480),
         (97, 65)]
EVEN_SIZES = [(160, 90), (90, 160), (96, 64), (288, 192), (32, 18), (2, 2), (6, 200), (640, 480)]
KINDS = [NV12, Y_UV, NCHW, NHWC]


def smooth(size_wh, channels=3, seed=0):
    """A picture without hard edges, in which a shift of a part of a pixel shows."""
    width, height = size_wh
    rng = np.random.default_rng(seed)
    y, x = np.indices((height, width))
    waves = [128 + 100 * np.sin(x * a + y * b + c) for a, b, c in
             zip(rng.uniform(0, 0.5, channels), rng.uniform(0, 0.5, channels),
                 rng.uniform(0, 6, channels))]
    return np.stack(waves, -1).astype(np.uint8)


def sampled(plane, size_wh):
    """(h, w[, c]) float64: bilinear at the centres of ``size_wh`` pixels over the whole plane."""
    plane = plane.astype(float)
    if plane.ndim == 3:
        return np.stack([sampled(plane[..., c], size_wh) for c in range(plane.shape[2])], -1)
    for size in size_wh[::-1]:
        length = plane.shape[0]
        position = (np.arange(size) + 0.5) * length / size - 0.5
        plane = bilinear_rows(plane, position).T
    return plane


def in_model(content, placement, pad_value):
    """The content in a model input of ``pad_value``."""
    whole = np.full((placement.model[1], placement.model[0], *content.shape[2:]), float(pad_value))
    (x, y), (width, height) = placement.pad, placement.content
    whole[y:y + height, x:x + width] = content
    return whole


def assert_levels(found, expected, most=1.01):
    """Equal but for rounding: OpenCV blends with 11 bits."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= most


def nv12_frame(size_wh, encoding='nv12'):
    luma = smooth(size_wh, 1)[..., 0]
    chroma = smooth((size_wh[0] // 2, size_wh[1] // 2), 2, seed=1)
    stored = chroma if encoding == 'nv12' else chroma[..., ::-1]
    data = np.concatenate([luma.reshape(-1), stored.reshape(-1)])
    return frame_from_buffer(data, encoding, *size_wh, size_wh[0]), luma, chroma


def yuv_of(arrays, kind, model_wh=MODEL):
    """Luma (h, w) and chroma (h/2, w/2, 2) of the arrays for the model."""
    width, height = model_wh
    if kind == Y_UV:
        assert [a.shape for a in arrays] == [(1, height, width, 1), (1, height // 2, width // 2, 2)]
        return arrays[0][0, ..., 0], arrays[1][0]
    (flat,) = arrays
    assert flat.shape == (width * height * 3 // 2,) and flat.flags.c_contiguous
    return (flat[:width * height].reshape(height, width),
            flat[width * height:].reshape(height // 2, width // 2, 2))


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('size_wh', SIZES)
@pytest.mark.parametrize('kind', [NCHW, NHWC])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float16])
def test_colour_models(kind, dtype, size_wh, mode):
    mean, scale = (10.0, 20.0, 0.0), (0.5, 1.0, 0.25)
    given_format = InputFormat(kind, MODEL, np.dtype(dtype), True, mean, scale, mode, 100)
    bgr = smooth(size_wh)
    (array,), letterbox = Preprocessor(given_format).prepare(frame_from_bgr(bgr))
    assert array.dtype == dtype and array.flags.c_contiguous
    placement = place(size_wh, MODEL, mode)
    assert (letterbox.content_wh, letterbox.pad_xy) == (placement.content, placement.pad)
    rgb = in_model(sampled(bgr, placement.content), placement, 100)[..., ::-1]
    if dtype != np.uint8:
        rgb, tolerance = (rgb - mean) * scale, 1.01 * np.array(scale) + 0.1
    else:
        tolerance = 1.01
    found = array[0].transpose(1, 2, 0) if kind == NCHW else array[0]
    assert found.shape == rgb.shape and (np.abs(found.astype(float) - rgb) <= tolerance).all()


def test_the_usual_normalisation():
    bgr = np.uint8([[[0, 128, 255]]])
    (array,), _ = Preprocessor(InputFormat(NCHW, (32, 32))).prepare(frame_from_bgr(bgr))
    np.testing.assert_allclose(array[0, :, 7, 9], [1, 128 / 255, 0], atol=1e-6)
    (array,), _ = Preprocessor(InputFormat(NCHW, (32, 32), rgb=False)).prepare(frame_from_bgr(bgr))
    np.testing.assert_allclose(array[0, :, 7, 9], [0, 128 / 255, 1], atol=1e-6)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('size_wh', EVEN_SIZES)
@pytest.mark.parametrize('kind', [NV12, Y_UV])
@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
def test_nv12_stays_nv12(encoding, kind, size_wh, mode):
    """Each plane is resized for itself."""
    frame, luma, chroma = nv12_frame(size_wh, encoding)
    arrays, letterbox = Preprocessor(InputFormat(kind, MODEL, mode=mode)).prepare(frame)
    placement = place(size_wh, MODEL, mode, align=2)
    assert (letterbox.content_wh, letterbox.pad_xy) == (placement.content, placement.pad)
    half = placement._replace(model=(48, 32), content=tuple(c // 2 for c in placement.content),
                              pad=tuple(p // 2 for p in placement.pad))
    found_luma, found_chroma = yuv_of(arrays, kind)
    assert_levels(found_luma.astype(float), in_model(sampled(luma, placement.content), placement,
                                                     114))
    assert_levels(found_chroma.astype(float), in_model(sampled(chroma, half.content), half, 128))


def bt601(bgr):
    """Y, U, V in the limited range, by ITU-R BT.601."""
    blue, green, red = (bgr[..., c].astype(float) / 255 for c in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (16 + 219 * luma, 128 + 224 / 1.772 * (blue - luma), 128 + 224 / 1.402 * (red - luma))


@pytest.mark.parametrize('size_wh', SIZES)
@pytest.mark.parametrize('kind', [NV12, Y_UV])
def test_colour_becomes_bt601(kind, size_wh):
    bgr = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    bgr[:] = 30, 200, 90
    arrays, _ = Preprocessor(InputFormat(kind, MODEL, mode='stretch')).prepare(frame_from_bgr(bgr))
    luma, chroma = yuv_of(arrays, kind)
    y, u, v = (plane[0, 0] for plane in bt601(bgr[:1, :1]))
    assert np.abs(luma - y).max() <= 1 and np.abs(chroma - [u, v]).max() <= 1


@pytest.mark.parametrize('kind', [NV12, Y_UV])
def test_chroma_is_the_mean_of_its_four_pixels(kind):
    """That of the first of them alone would shift colours by half a pixel."""
    bgr = np.random.default_rng(2).integers(0, 256, (*MODEL[::-1], 3), np.uint8)
    arrays, _ = Preprocessor(InputFormat(kind, MODEL)).prepare(frame_from_bgr(bgr))
    expected = [plane.reshape(MODEL[1] // 2, 2, MODEL[0] // 2, 2).mean(axis=(1, 3))
                for plane in bt601(bgr)[1:]]
    assert np.abs(yuv_of(arrays, kind)[1] - np.stack(expected, axis=2)).max() <= 1


@pytest.mark.parametrize('size_wh', SIZES)
def test_colour_pictures_are_sampled_where_they_should(size_wh):
    bgr = smooth(size_wh)
    arrays, _ = Preprocessor(InputFormat(Y_UV, MODEL)).prepare(frame_from_bgr(bgr))
    placement = place(size_wh, MODEL, align=2)
    expected = bt601(sampled(bgr, placement.content))[0]
    assert_levels(arrays[0][0, ..., 0].astype(float), in_model(expected, placement, 114), 2)


@pytest.mark.parametrize('kind', [NV12, Y_UV])
def test_grey_pictures_have_neutral_chroma(kind):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frame = frame_from_buffer(grey, 'mono8', 16, 16, 16)
    arrays, _ = Preprocessor(InputFormat(kind, MODEL, mode='stretch')).prepare(frame)
    luma, chroma = yuv_of(arrays, kind)
    assert (chroma == 128).all()
    assert_levels(luma.astype(float), 16 + 219 / 255 * sampled(grey, MODEL), 1.6)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('mode', MODES)
def test_pictures_of_other_sizes_leave_nothing_behind(kind, mode):
    """Buffers are reused; the padding must be that of this picture."""
    shared = Preprocessor(InputFormat(kind, MODEL, mode=mode))
    for size_wh in [(160, 90), (90, 160), (96, 64), (160, 90), (2, 64), (160, 90)]:
        frame = nv12_frame(size_wh)[0]
        arrays, letterbox = shared.prepare(frame)
        fresh, expected = Preprocessor(InputFormat(kind, MODEL, mode=mode)).prepare(frame)
        assert letterbox == expected
        for array, other in zip(arrays, fresh):
            np.testing.assert_array_equal(array, other)


def test_buffers_are_used_again():
    preprocessor = Preprocessor(InputFormat(NCHW, MODEL))
    (first,), _ = preprocessor.prepare(frame_from_bgr(smooth((64, 48))))
    (second,), _ = preprocessor.prepare(frame_from_bgr(smooth((48, 64))))
    assert first is second


def test_a_stream_of_random_sizes_does_not_fill_the_memory():
    preprocessor = Preprocessor(InputFormat(NCHW, (32, 32)))
    for width in range(1, 300):
        _, letterbox = preprocessor.prepare(frame_from_bgr(np.zeros((2, width, 3), np.uint8)))
        assert letterbox.image_wh == (width, 2)
    assert len(preprocessor._letterboxes) < 100


@pytest.mark.parametrize('kind', KINDS)
def test_padded_rows_are_no_part_of_the_picture(kind):
    bgr = smooth((60, 40))
    padded = np.full((40, 60 * 3 + 20), 255, np.uint8)
    padded[:, :180] = bgr.reshape(40, 180)
    frame = frame_from_buffer(padded.tobytes(), 'bgr8', 60, 40, 200)
    for array, other in zip(*(Preprocessor(InputFormat(kind, MODEL)).prepare(f)[0]
                              for f in (frame, frame_from_bgr(bgr)))):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize('ratio', [1, 3, 5])
@pytest.mark.parametrize('channels', [0, 2, 3])
def test_odd_ratios_need_no_interpolation(ratio, channels):
    rng = np.random.default_rng(0)
    shape = (12 * ratio, 8 * ratio) + ((channels,) if channels else ())
    plane = rng.integers(0, 256, shape, np.uint8)
    found = exact_samples(plane, (8, 12))
    assert np.shares_memory(found, plane)
    np.testing.assert_array_equal(found, sampled(plane, (8, 12)))
    np.testing.assert_array_equal(found, cv2.resize(plane, (8, 12)))


@pytest.mark.parametrize('size_wh', [(8, 12), (7, 12), (4, 12), (8, 6), (16, 24), (3, 4)])
def test_other_ratios_are_interpolated(size_wh):
    assert exact_samples(np.zeros((24, 16), np.uint8), size_wh) is None or size_wh == (16, 24)


@pytest.mark.parametrize('channels', [(), (1,), (2,), (3,)])
def test_resize_writes_into_views(channels):
    plane = smooth((40, 30), *channels or (1,)).reshape(30, 40, *channels)
    canvas = np.zeros((50, 60, *channels), np.uint8)
    resize_into(plane, canvas[5:25, 7:33])
    assert_levels(canvas[5:25, 7:33].astype(float), sampled(plane, (26, 20)))
    canvas[5:25, 7:33] = 0
    assert not canvas.any()


@pytest.mark.parametrize('pixels', ['bgr', 'rgb', 'bgr_planar', 'rgb_planar', 'nv12'])
@pytest.mark.parametrize('size_wh', [(64, 48), (63, 47), (1, 1), (2, 3)])
def test_cards_get_the_whole_picture_at_an_even_size(pixels, size_wh):
    bgr = smooth(size_wh)
    given_format = InputFormat(PICTURE, MODEL, pixels=pixels)
    (array,), letterbox = Preprocessor(given_format).prepare(frame_from_bgr(bgr))
    even = tuple(max(size // 2 * 2, 2) for size in size_wh)
    placement = place(even, MODEL)
    assert letterbox.image_wh == size_wh
    assert (letterbox.content_wh, letterbox.pad_xy) == (placement.content, placement.pad)
    assert array.flags.c_contiguous and array.dtype == np.uint8
    expected = sampled(bgr, even)
    if pixels == 'nv12':
        assert array.shape == (even[1] * 3 // 2, even[0])
        assert_levels(array[:even[1]].astype(float), bt601(expected)[0], 2)
        return
    expected = expected if pixels.startswith('bgr') else expected[..., ::-1]
    expected = expected.transpose(2, 0, 1) if pixels.endswith('planar') else expected
    assert_levels(array.astype(float), expected)


# -- a planted object lands where the letterbox says --------------------------------------------

PLANTED_MODEL = (320, 256)
IMAGES = {'landscape': (1280, 720), 'portrait': (360, 640), 'tiny': (32, 20), 'odd': (641, 479),
          'small and odd': (33, 21), 'long': (900, 64), 'larger': (1920, 1080)}


def planted(size_wh, xyxy):
    """Black picture with a white box at whole pixels."""
    bgr = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x0, y0, x1, y1 = xyxy
    bgr[y0:y1, x0:x1] = 255
    return bgr


def extent(weight):
    """x1, y1, x2, y2 of a box, from the light per column and row, to parts of a pixel."""
    sides = []
    for axis in (0, 1):
        light = weight.sum(axis=axis)
        centre = (light * (np.arange(len(light)) + 0.5)).sum() / light.sum()
        length = light.sum() / light.max()
        sides.append((centre - length / 2, centre + length / 2))
    (x0, x1), (y0, y1) = sides
    return np.array([x0, y0, x1, y1])


def light_of(arrays, kind):
    """(h, w) brightness of the model input, 0 for black."""
    if kind in (NV12, Y_UV):
        return np.maximum(yuv_of(arrays, kind, PLANTED_MODEL)[0].astype(float) - 16, 0)
    array = arrays[0][0]
    return (array.mean(axis=0) if kind == NCHW else array.mean(axis=2)).astype(float)


def assert_lands(size_wh, mode, kind, encoding='bgr8'):
    width, height = size_wh
    xyxy = np.array([width * 3 // 8, height // 4, width * 7 // 8, height * 3 // 4])
    frame = as_encoding(planted(size_wh, xyxy), encoding)
    # padding as dark as the picture: luma 16 is black
    pad = 16 if kind in (NV12, Y_UV) else 0
    preprocessor = Preprocessor(InputFormat(kind, PLANTED_MODEL, mode=mode, pad_value=pad))
    arrays, letterbox = preprocessor.prepare(frame)
    found = letterbox.image_from_model(extent(light_of(arrays, kind))[None])[0]
    # a pixel of the coarser of the two grids, of which sampling may lose a half at each side
    assert np.abs(found - xyxy).max() <= max(1, 1 / min(letterbox.gain_xy)) * 0.75


def as_encoding(bgr, encoding) -> Frame:
    height, width = bgr.shape[:2]
    if encoding == 'bgr8':
        return frame_from_bgr(bgr)
    if encoding == 'mono8':
        return frame_from_buffer(np.ascontiguousarray(bgr[..., 0]), 'mono8', width, height, width)
    luma = np.where(bgr[..., 0] > 0, 235, 16).astype(np.uint8)
    data = np.concatenate([luma.reshape(-1), np.full(width * height // 2, 128, np.uint8)])
    return frame_from_buffer(data, 'nv12', width, height, width)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('image', IMAGES)
def test_a_planted_object_lands_at_its_pixel(image, mode, kind):
    assert_lands(IMAGES[image], mode, kind)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('encoding', ['nv12', 'mono8'])
@pytest.mark.parametrize('size_wh', [(1280, 720), (360, 640), (32, 20), (642, 478)])
def test_a_planted_object_lands_at_its_pixel_from_other_encodings(size_wh, encoding, mode, kind):
    assert_lands(size_wh, mode, kind, encoding)


@settings(max_examples=100)
@given(st.integers(16, 700), st.integers(16, 700), st.sampled_from(MODES), st.sampled_from(KINDS))
def test_a_planted_object_lands_at_its_pixel_for_any_size(width, height, mode, kind):
    assert_lands((width, height), mode, kind)
