"""Every picture encoding through the real node, compared with the ground truth of the scene."""

import cv2
import numpy as np
import pytest
from ros_harness import LATCHED, Rig, box_iou, mask_iou, pixels_of, stamp_of, xyxy_of
from ros_pictures import FRAME_ID, compressed, picture, scene
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray, LabelInfo

NAMES = ['box', 'ball', 'cone', 'cylinder']
RAW, JPEG = 'front/image_raw', 'rear/image_raw/compressed'
LEAST_IOU = 0.8


@pytest.fixture(scope='module')
def rig(start_node, observer, camera):
    """One node with a raw and a compressed camera."""
    rig = Rig(observer, camera, start_node(image_topics=[RAW, JPEG]))
    for place in ('front', 'rear'):
        rig.subscribe(**{f'{place}/detections': Detection2DArray,
                         f'{place}/instance_mask': Image, f'{place}/class_mask': Image})
    camera.open(rig.node.topic(RAW))
    camera.open(rig.node.topic(JPEG), 'CompressedImage')
    bgr = scene()[0][0]
    for place, topic, fields in [('front', RAW, picture(bgr)), ('rear', JPEG, compressed(bgr))]:
        rig.warm_up(topic, fields, [f'{place}/{name}' for name in (
            'detections', 'instance_mask', 'class_mask')])
    return rig


def results(rig, place, stamp_ns):
    """Detections, instance map and class map, with the headers checked."""
    messages = [rig.result(f'{place}/{name}', stamp_ns) for name in (
        'detections', 'instance_mask', 'class_mask')]
    for message in [*messages, *messages[0].detections]:
        assert (stamp_of(message), message.header.frame_id) == (stamp_ns, FRAME_ID)
    return messages[0].detections, pixels_of(messages[1]), pixels_of(messages[2])


def check(detections, instances, classes, things):
    """Every thing is found once, in the right place, and nothing else."""
    assert len(detections) == len(things)
    scores = [d.results[0].hypothesis.score for d in detections]
    assert scores == sorted(scores, reverse=True)
    for thing in things:
        overlaps = [box_iou(xyxy_of(d), thing.xyxy) for d in detections]
        k = int(np.argmax(overlaps))
        assert detections[k].results[0].hypothesis.class_id == thing.class_name
        assert overlaps[k] >= LEAST_IOU
        mask = instances == k + 1
        assert mask.shape == thing.mask.shape and mask_iou(mask, thing.mask) >= LEAST_IOU
        assert (classes[mask] == NAMES.index(thing.class_name) + 1).all()
    assert ((instances > 0) == (classes > 0)).all()


ENCODINGS = ['bgr8', 'rgb8', 'bgra8', 'rgba8', 'nv12', 'nv21', 'yuv422', 'uyvy',
             'yuv422_yuy2', 'yuyv', '8UC3', 'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8',
             'bayer_grbg8']


@pytest.mark.parametrize('padding', [0, 32])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_raw_picture(rig, encoding, padding):
    bgr, things = scene()[ENCODINGS.index(encoding) % len(scene())]
    stamp_ns = rig.send(RAW, picture(bgr, encoding, padding))
    check(*results(rig, 'front', stamp_ns), things)


@pytest.mark.parametrize('padding', [0, 32])
def test_grey_picture_is_taken_as_the_colour_picture_that_looks_the_same(rig, padding):
    """The demo model has never seen grey pictures and finds little in them, so no truth here."""
    grey = cv2.cvtColor(scene()[5][0], cv2.COLOR_BGR2GRAY)
    as_colour = np.repeat(grey[..., None], 3, axis=2)
    mono, colour = (results(rig, 'front', rig.send(RAW, fields)) for fields in (
        picture(as_colour, 'mono8', padding), picture(as_colour)))
    assert len(mono[0])
    assert [d.results for d in mono[0]] == [d.results for d in colour[0]]
    assert [d.bbox for d in mono[0]] == [d.bbox for d in colour[0]]
    assert (mono[1] == colour[1]).all() and (mono[2] == colour[2]).all()


@pytest.mark.parametrize('suffix', ['jpeg', 'png'])
def test_compressed_picture(rig, suffix):
    bgr, things = scene()[3]
    stamp_ns = rig.send(JPEG, compressed(bgr, suffix))
    check(*results(rig, 'rear', stamp_ns), things)


def test_two_cameras_at_once(rig):
    """Both are served, in order, each with its own pictures."""
    sent = [(rig.send(RAW, picture(front, 'nv12')), rig.send(JPEG, compressed(rear)))
            for (front, _), (rear, _) in zip(scene()[:4], scene()[4:])]
    last_front, last_rear = sent[-1]
    check(*results(rig, 'front', last_front), scene()[3][1])
    check(*results(rig, 'rear', last_rear), scene()[7][1])
    for place, stamps in zip(('front', 'rear'), zip(*sent)):
        messages = rig.observer.messages(rig.node.topic(f'{place}/detections'))
        got = [stamp_of(m) for m in messages if stamp_of(m) >= min(sent[0])]
        assert got == sorted(set(got)) and set(got) <= set(stamps)


def test_a_camera_that_floods_does_not_keep_the_other_waiting(rig):
    """The busy camera loses pictures, the other one none."""
    front, rear = picture(scene()[0][0]), compressed(scene()[1][0])
    for _ in range(10):
        for _ in range(3):
            rig.send(RAW, front)
        rig.result('rear/detections', rig.send(JPEG, rear))


def test_empty_scene_is_published_too(rig):
    blank = np.full((360, 480, 3), 128, np.uint8)
    detections, instances, classes = results(rig, 'front', rig.send(RAW, picture(blank)))
    assert detections == [] and not instances.any() and not classes.any()
    assert instances.shape == classes.shape == (360, 480)


@pytest.mark.parametrize('image_wh', [(481, 361), (200, 500), (64, 48)])
def test_sizes_may_change_from_picture_to_picture(rig, image_wh):
    pixels = np.zeros((image_wh[1], image_wh[0], 3), np.uint8)
    _, instances, classes = results(rig, 'front', rig.send(RAW, picture(pixels)))
    assert instances.shape == classes.shape == image_wh[::-1]


def test_label_info_is_there_for_late_subscribers(rig):
    topic = rig.node.topic('front/label_info')
    rig.observer.subscribe(topic, LabelInfo, LATCHED)
    info = rig.observer.wait(topic, lambda _: True)
    assert [(c.class_id, c.class_name) for c in info.class_map] == list(enumerate(NAMES, 1))
    assert info.threshold == pytest.approx(rig.observer.get(rig.node, 'score_threshold'))


def test_overlays_show_what_was_found(rig):
    """Both overlays come, with the picture's header, and differ from the picture at each box."""
    rig.subscribe(**{'front/overlay': Image, 'front/overlay/compressed': CompressedImage})
    bgr, things = scene()[0]
    rig.warm_up(RAW, picture(bgr), ['front/overlay', 'front/overlay/compressed'])
    stamp_ns = rig.send(RAW, picture(bgr, 'nv12'))
    overlay = rig.result('front/overlay', stamp_ns)
    jpeg = rig.result('front/overlay/compressed', stamp_ns)
    assert overlay.header == jpeg.header and overlay.header.frame_id == FRAME_ID
    assert (overlay.encoding, overlay.step) == ('bgr8', 3 * 480)
    pixels = np.frombuffer(overlay.data, np.uint8).reshape(360, 480, 3).astype(int)
    difference = np.abs(pixels - bgr).max(axis=2) > 60
    for thing in things:
        assert difference[thing.mask].mean() > 0.2
    decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - pixels).mean() < 10
