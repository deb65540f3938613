"""Pictures that cannot be used: dropped, counted, said once in a while, and the next one works."""

import time

import numpy as np
import pytest
from bombs import jpeg
from ros_harness import Rig, values_of
from ros_pictures import compressed, picture
from vision_msgs.msg import Detection2DArray

RAW, JPEG = 'front/image_raw', 'rear/image_raw/compressed'
GREY = np.full((48, 64, 3), 128, np.uint8)
LOG_SECS = 5
PAUSE_SECS = 0.05


def good():
    return picture(GREY)


# cause, picture, words of the log
BAD_RAW = [
    ('length', {**good(), 'data': good()['data'][:-1]}, '9024 bytes of data, but 48 rows'),
    ('size', {**good(), 'width': 0, 'height': 0, 'step': 0, 'data': b''}, 'size 0x0 is empty'),
    ('size', {**picture(GREY, 'nv12'), 'width': 63}, 'size 63x48 is odd'),
    ('step', {**good(), 'step': 191}, 'step 191, but a row of bgr8 needs 192 bytes'),
    ('encoding', {**good(), 'encoding': 'xyz16'}, "'xyz16' is not supported; publish one of: bgr8"),
]
BAD_JPEG = [
    ('decode', {**compressed(GREY), 'data': compressed(GREY)['data'][:-20]}, 'cannot be decoded'),
    ('decode', {**compressed(GREY), 'data': b'no picture'}, 'of 10 bytes cannot be decoded'),
    ('decode', {**compressed(GREY), 'data': b''}, 'of 0 bytes cannot be decoded'),
    ('size', {**compressed(GREY), 'data': jpeg(65000, 60000)}, 'claims to be 65000x60000'),
]


@pytest.fixture(scope='module')
def rig(start_node, observer, camera):
    rig = Rig(observer, camera, start_node(image_topics=[RAW, JPEG]))
    observer.watch_diagnostics()
    for place, topic, kind, fields in [('front', RAW, 'Image', good()),
                                       ('rear', JPEG, 'CompressedImage', compressed(GREY))]:
        rig.subscribe(**{f'{place}/detections': Detection2DArray})
        camera.open(rig.node.topic(topic), kind)
        rig.warm_up(topic, fields, [f'{place}/detections'])
    return rig


def refused(rig, place, least):
    """Counters once all of at least ``least`` pictures are settled."""
    name = f'camera {rig.node.namespace.strip("/")}/{place}'
    return values_of(rig.observer.wait_status(
        rig.node, name,
        lambda _, v: int(v['refused']) + int(v['dropped']) >= least and v['in_flight'] == '0'))


@pytest.mark.parametrize('place, topic, fields, bad', [
    ('front', RAW, good(), BAD_RAW), ('rear', JPEG, compressed(GREY), BAD_JPEG)])
def test_bad_pictures_are_dropped_counted_and_told(rig, place, topic, fields, bad):
    start = time.monotonic()
    stamps = []
    for _, wrong, _ in bad * 3:
        stamps.append(rig.send(topic, wrong))
        time.sleep(PAUSE_SECS)  # or the newer one takes its place in the mailbox
    rig.result(f'{place}/detections', rig.send(topic, fields))
    counted = refused(rig, place, len(stamps))
    assert all(int(counted[f'refused_{cause}']) > 1 for cause, _, _ in bad)
    assert set(stamps).isdisjoint(rig.stamps(f'{place}/detections'))
    said = [line for line in rig.node.output.splitlines()
            if 'ERROR' in line and rig.node.topic(topic) in line]
    most = 1 + (time.monotonic() - start) // LOG_SECS
    for cause in {cause for cause, _, _ in bad}:
        words = [text for c, _, text in bad if c == cause]
        assert any(words[0] in line for line in said)
        assert sum(any(text in line for text in words) for line in said) <= most


@pytest.mark.parametrize('place, topic, fields, bad', [
    *(('front', RAW, good(), entry) for entry in BAD_RAW),
    *(('rear', JPEG, compressed(GREY), entry) for entry in BAD_JPEG)])
def test_the_next_good_picture_works(rig, place, topic, fields, bad):
    wrong = rig.send(topic, bad[1])
    rig.result(f'{place}/detections', rig.send(topic, fields))
    assert wrong not in rig.stamps(f'{place}/detections')
