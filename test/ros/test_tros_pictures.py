"""Picture files: what is read, to whom it goes, and what is written."""

import cv2
import numpy as np
import pytest

from yolo_seg_node.detections import Detections
from yolo_seg_node.errors import ConfigError
from yolo_seg_node.frame import frame_from_bgr
from yolo_seg_node.ros.tros_pictures import (
    PictureFile, read_picture, rendered_name, write_rendered)

PIXELS = np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)


def parameters(path, **values):
    return {'image': str(path), 'image_type': 0, 'image_width': 0, 'image_height': 0, **values}


@pytest.mark.parametrize('suffix', ['png', 'bmp'])
def test_picture_of_a_lossless_file(tmp_path, suffix):
    path = tmp_path / f'scene.{suffix}'
    cv2.imwrite(str(path), PIXELS)
    frame, found = read_picture(parameters(path))
    assert np.array_equal(frame.bgr(), PIXELS) and found == path
    assert (frame.stamp_ns, frame.frame_id) == (0, 'feedback')


def test_raw_nv12_file(tmp_path):
    path, data = tmp_path / 'scene.nv12', np.arange(64 * 72, dtype=np.uint8)
    path.write_bytes(data.tobytes())
    frame, _ = read_picture(parameters(path, image_type=1, image_width=64, image_height=48))
    assert (frame.encoding, frame.size_wh, frame.frame_id) == ('nv12', (64, 48), 'feedback')
    assert np.array_equal(frame.planes[0].reshape(-1), data[:64 * 48])


def test_a_file_beside_the_working_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / 'config').mkdir()
    cv2.imwrite(str(tmp_path / 'config/test.png'), PIXELS)
    monkeypatch.chdir(tmp_path)
    assert read_picture(parameters('config/test.png'))[1] == tmp_path / 'config/test.png'


@pytest.mark.parametrize('content, values, words', [
    (None, {}, 'no such file'),
    (None, {'image': ''}, "image is '', .* feed_type 0 needs one"),
    (b'no picture', {}, 'image_type 0: .*cannot be decoded'),
    (bytes(4607), {'image_type': 1, 'image_width': 64, 'image_height': 48},
     'image_type 1, image_width 64, image_height 48: .* 4607 bytes .* 4608'),
    (bytes(4608), {'image_type': 1}, '0x0 is empty'),
    (bytes(6), {'image_type': 1, 'image_width': 3, 'image_height': 2}, '3x2 is odd'),
])
def test_what_is_no_picture_is_refused(tmp_path, content, values, words):
    path = tmp_path / 'picture'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_picture(parameters(path, **values))


def test_everybody_who_comes_gets_the_picture(tmp_path):
    frame, subscribers, got = frame_from_bgr(PIXELS), [0], []
    picture = PictureFile(frame, tmp_path, lambda: subscribers[0], got.append)
    for count, handed_on in [(0, 1), (0, 1), (1, 2), (1, 2), (3, 3), (2, 3), (3, 4)]:
        subscribers[0] = count
        picture.follow()
        assert got == [frame] * handed_on
    picture.close()
    picture.follow()
    assert len(got) == 5 and picture.silence() is None


@pytest.mark.parametrize('stamp_ns, frame_id, name', [
    (0, 'feedback', 'render_feedback_0_0.jpeg'),
    (1_700_000_000_000_000_021, '42', 'render_42_1700000000_21.jpeg'),
    (5, '../left/camera', 'render_.._left_camera_0_5.jpeg'),
])
def test_rendered_name(stamp_ns, frame_id, name):
    assert rendered_name(frame_from_bgr(PIXELS, stamp_ns, frame_id)) == name


def test_rendered_picture_shows_the_results(tmp_path):
    grey = np.full((240, 320, 3), 128, np.uint8)
    one = Detections((320, 240), np.array([[50, 60, 90, 200]], np.float32),
                     np.ones(1, np.float32), np.zeros(1, np.int32))
    write_rendered(tmp_path, frame_from_bgr(grey, 0, 'feedback'), one, ('thing',))
    drawn = cv2.imread(str(tmp_path / 'render_feedback_0_0.jpeg')).astype(int)
    changed = np.abs(drawn - 128).max(axis=2) > 30
    assert drawn.shape == grey.shape
    assert changed[100:120, 49:52].any() and not changed[:, 200:].any()


def test_rendering_into_a_folder_that_is_not_there_fails(tmp_path):
    nothing = Detections((64, 48), np.zeros((0, 4), np.float32), np.zeros(0, np.float32),
                         np.zeros(0, np.int32))
    with pytest.raises(OSError):
        write_rendered(tmp_path / 'gone', frame_from_bgr(PIXELS), nothing, ())
