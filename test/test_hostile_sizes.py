"""Claims of a size are refused before memory is taken for them."""
import json
import subprocess
import sys
from pathlib import Path

import bombs
import cv2
import numpy as np
import pytest

import yolo_seg_node.errors
from yolo_seg_node.errors import FrameError
from yolo_seg_node.frame import MAX_JPEG_SCANS, MAX_PIXELS, frame_from_compressed
from yolo_seg_node.picture_header import claimed_size_wh

TEST = Path(__file__).parent
CONTROL = 'control'
# The largest limit of a text is 16 MB; what is refused claims 50 MB to 4 TB.
MOST_MB = 40


@pytest.fixture(scope='module')
def readings(tmp_path_factory):
    """Class of the error and growth in MB of each bomb, and the output of the program."""
    folder = tmp_path_factory.mktemp('bombs')
    bombs.write_all(folder)
    (folder / CONTROL).touch()
    found = subprocess.run([sys.executable, bombs.__file__, str(folder)], capture_output=True,
                           text=True, check=True, env={'PYTHONPATH': f'{TEST.parent}:{TEST}'})
    lines = [line for line in found.stdout.splitlines() if line.startswith('["')]
    return {name: (error, grown_mb) for name, error, grown_mb in map(json.loads, lines)}, found


def test_the_measure_sees_memory_that_is_not_used(readings):
    assert readings[0][CONTROL][1] > 500


@pytest.mark.parametrize('name', [*bombs.BOMBS, *bombs.READERS])
def test_a_bomb_is_refused_and_costs_little(readings, name):
    error, grown_mb = readings[0][name]
    module, _, kind = error.rpartition('.')
    assert module == yolo_seg_node.errors.__name__ and hasattr(yolo_seg_node.errors, kind)
    assert grown_mb < MOST_MB


def test_nothing_was_unpickled(readings):
    assert bombs.MARK not in readings[1].stdout


@pytest.mark.parametrize('make', [bombs.jpeg, bombs.png, bombs.bmp])
@pytest.mark.parametrize('size_wh', [(1, 1), (300, 7), (65000, 20000)])
def test_the_claim_is_read_from_the_header(make, size_wh):
    assert claimed_size_wh(make(*size_wh)) == size_wh


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_the_claim_is_the_size_of_the_picture(suffix):
    for width, height in ((1, 1), (17, 9), (640, 480)):
        data = cv2.imencode(suffix, np.zeros((height, width, 3), np.uint8))[1].tobytes()
        assert claimed_size_wh(data) == (width, height)


def test_marker_segments_in_front_of_the_size_are_passed_over():
    """A colour profile in 255 segments, a comment with a marker in it, fill bytes, a restart."""
    data = bombs.jpeg(16, 16)
    segment = b'\xff\xe2\x00\x06\xff\xc0\x00\x11'
    more = segment * 255 + b'\xff\xfe\x00\x04\xff\xda' + b'\xff\xff\xff\xd0'
    assert claimed_size_wh(data[:2] + more + data[2:]) == (16, 16)
    assert claimed_size_wh(data[:2] + b'\xff\xe2\xff\xff' + data[2:]) is None
    assert claimed_size_wh(data[:2] + segment * 10**6) is None


def test_the_refusal_names_the_claim_and_the_limit():
    with pytest.raises(FrameError, match=f'claims to be 9000x9000.*at most {MAX_PIXELS} '
                       ) as error:
        frame_from_compressed(bombs.png(9000, 9000) + bytes(10**6))
    assert error.value.cause == 'size'
    data = bombs.png(8000, 8000)
    with pytest.raises(FrameError, match=f'of {len(data)} bytes claims to be 8000x8000'):
        frame_from_compressed(data)


@pytest.mark.parametrize('suffix, options', [
    ('.png', [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 9]),
    ('.png', [cv2.IMWRITE_PNG_COMPRESSION, 9]), ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    ('.jpg', [cv2.IMWRITE_JPEG_QUALITY, 1])])
def test_the_densest_true_pictures_pass(suffix, options):
    """A black picture of one colour, as large as 4K."""
    black = np.zeros((2160, 3840), np.uint8)
    data = cv2.imencode(suffix, black, options)[1].tobytes()
    assert frame_from_compressed(data).size_wh == (3840, 2160)


def test_a_jpeg_with_scans_beyond_measure_is_refused():
    """Each would go over all pixels once more."""
    data = cv2.imencode('.jpg', bombs.PIXELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan, end = data.rindex(b'\xff\xda'), data.rindex(b'\xff\xd9')
    repeated = data[:end] + data[scan:end] * MAX_JPEG_SCANS + data[end:]
    assert frame_from_compressed(data).size_wh == (16, 16)
    with pytest.raises(FrameError, match='cannot be decoded'):
        frame_from_compressed(repeated)
