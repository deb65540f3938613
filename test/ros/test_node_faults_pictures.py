"""A camera that stops, changes, loses track of time or sends rubbish, all in the middle of work."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_harness import Rig, until
from ros_pictures import compressed, picture, scene
from vision_msgs.msg import Detection2DArray

RAW, JPEG = 'front/image_raw', 'rear/image_raw/compressed'
RESULTS = {RAW: 'front/detections', JPEG: 'rear/detections'}
NS = 10**9
# of the stream, and how many results it must give
PERIOD_SECS, COUNT = 0.05, 30
LATER_NS = 1_800_000_000 * NS


@pytest.fixture(scope='module')
def rig(start_node, observer, camera):
    rig = Rig(observer, camera, start_node(image_topics=[RAW, JPEG]))
    observer.watch_diagnostics()
    for topic, kind, fields in [(RAW, 'Image', scene_picture()),
                                (JPEG, 'CompressedImage', compressed(scene()[0][0]))]:
        rig.subscribe(**{RESULTS[topic]: Detection2DArray})
        camera.open(rig.node.topic(topic), kind)
        rig.warm_up(topic, fields, [RESULTS[topic]])
    return rig


def scene_picture():
    return picture(scene()[0][0])


def camera_name(rig, topic):
    return f'{rig.node.namespace.strip("/")}/{topic.partition("/")[0]}'


def settled(rig, topic):
    """Counters once nothing is under way."""
    values = rig.at_rest(camera_name(rig, topic))
    return {key: int(values[key]) for key in ('received', 'published', 'dropped', 'refused')}


def test_a_camera_that_stops_and_comes_back(rig):
    """It is told as long as the camera is away; what then comes is taken at once."""
    name = f'camera {camera_name(rig, RAW)}'
    rig.camera.stop(rig.node.topic(RAW))
    status = rig.observer.wait_status(
        rig.node, name, lambda s, _: s.level == DiagnosticStatus.WARN)
    assert status.message.startswith(
        f'No picture on {rig.node.topic(RAW)} for 5 s: 0 publishers. Start the camera')
    rig.camera.open(rig.node.topic(RAW))
    rig.warm_up(RAW, scene_picture(), [RESULTS[RAW]])
    found = rig.result(RESULTS[RAW], rig.send(RAW, scene_picture()))
    assert len(found.detections) == len(scene()[0][1])
    rig.observer.wait_status(rig.node, name, lambda s, _: s.level == DiagnosticStatus.OK)


def test_size_and_encoding_may_change_with_every_picture(rig):
    """The results are those of the same picture alone; the halves of the scene tell them apart."""
    bgr = scene()[0][0]
    height, width = bgr.shape[:2]
    upper, left = bgr[:height // 2], bgr[:, :width // 2]
    pictures = [picture(bgr), picture(upper, 'mono8'), picture(left, 'nv12'), picture(bgr, 'rgba8'),
                picture(upper, 'yuv422_yuy2'), picture(left)]

    def boxes(fields):
        found = rig.result(RESULTS[RAW], rig.send(RAW, fields)).detections
        return [d.bbox for d in found]

    alone = [[boxes(fields) for _ in range(2)][-1] for fields in pictures]
    assert len({len(found) for found in alone}) > 1
    for order in (range(6), range(5, -1, -1), (0, 2, 4, 1, 3, 5)):
        for i in order:
            assert boxes(pictures[i]) == alone[i]


def test_stamps_that_jump_back_or_repeat(rig):
    """Each picture counts for itself: results come in the order of the pictures, none is lost."""
    stamps = [LATER_NS, LATER_NS + NS, LATER_NS - 3600 * NS, LATER_NS - 3600 * NS, 0, 0, LATER_NS]
    before, counted = len(rig.stamps(RESULTS[RAW])), settled(rig, RAW)
    for i, stamp_ns in enumerate(stamps):
        rig.camera.publish(rig.node.topic(RAW), stamp_ns, **scene_picture())
        rig.observer.wait(rig.node.topic(RESULTS[RAW]),
                          lambda _: len(rig.stamps(RESULTS[RAW])) > before + i)
    assert rig.stamps(RESULTS[RAW])[before:] == stamps
    rig.result(RESULTS[RAW], rig.send(RAW, scene_picture()))
    after = settled(rig, RAW)
    assert after['published'] - counted['published'] == len(stamps) + 1
    assert after['refused'] == counted['refused']


def test_every_third_jpeg_is_corrupt(rig):
    good = compressed(scene()[0][0])
    torn = {**good, 'data': good['data'][:len(good['data']) // 2]}
    counted, before = settled(rig, JPEG), len(rig.stamps(RESULTS[JPEG]))
    rig.camera.start_stream(rig.node.topic(JPEG), PERIOD_SECS, [good, good, torn])
    rig.observer.wait(rig.node.topic(RESULTS[JPEG]),
                      lambda _: len(rig.stamps(RESULTS[JPEG])) >= before + COUNT)
    sent = rig.camera.stop_stream(rig.node.topic(JPEG))
    after = settled(rig, JPEG)
    new = {key: after[key] - counted[key] for key in after}
    until(lambda: len(rig.stamps(RESULTS[JPEG])) >= before + new['published'], 'all results')
    results = rig.stamps(RESULTS[JPEG])[before:]
    assert results == sorted(set(results)) and set(results) < set(sent)
    assert set(results).isdisjoint(sent[2::3])
    assert 0 < new['refused'] <= len(sent[2::3])
    assert new['published'] == len(results)
    assert new['received'] == new['published'] + new['dropped'] + new['refused'] <= len(sent)
    assert len(rig.result(RESULTS[JPEG], rig.send(JPEG, good)).detections) == len(scene()[0][1])
