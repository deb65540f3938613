"""Parameters that change while pictures flow, wrong ones that are refused, and descriptors."""

import pytest
from ros_harness import LATCHED, Rig, found, pixels_of
from ros_pictures import picture, scene
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray, LabelInfo

from yolo_seg_node.ros.parameters import PARAMETERS

TOPIC = 'image_raw'
NAMES = ['box', 'ball', 'cone', 'cylinder']


@pytest.fixture(scope='module')
def started(start_node, observer, camera):
    rig = Rig(observer, camera, start_node())
    rig.subscribe(detections=Detection2DArray, instance_mask=Image)
    camera.open(rig.node.topic(TOPIC))
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections', 'instance_mask'])
    return rig


@pytest.fixture
def rig(started):
    """The running node; what a test sets is set back."""
    names = [spec.name for spec in PARAMETERS if spec.effect == 'at once']
    before = {name: started.observer.get(started.node, name) for name in names}
    yield started
    assert started.observer.set(started.node, **before) == ''


def detect(rig):
    return rig.result('detections', rig.send(TOPIC, picture(scene()[0][0])))


def test_score_threshold(rig):
    before = found(detect(rig))
    threshold = (before[1][1] + before[2][1]) / 2
    assert rig.observer.set(rig.node, score_threshold=threshold) == ''
    assert found(detect(rig)) == before[:2]


def test_max_detections_keeps_the_best(rig):
    before = found(detect(rig))
    assert rig.observer.set(rig.node, max_detections=3) == ''
    assert found(detect(rig)) == before[:3] and len(before) > 3


@pytest.mark.parametrize('entries', [['ball', 'cone'], ['1', '2'], ['ball', '2', '']])
def test_class_filter_takes_names_and_numbers(rig, entries):
    before = found(detect(rig))
    assert rig.observer.set(rig.node, class_filter=entries) == ''
    after = found(detect(rig))
    assert after == [entry for entry in before if entry[0] in ('ball', 'cone')]
    assert 0 < len(after) < len(before)


def test_nms_threshold_of_one_keeps_doubles(rig):
    before = found(detect(rig))
    assert rig.observer.set(rig.node, nms_threshold=1.0) == ''
    assert len(found(detect(rig))) > len(before)


def test_class_id_format(rig):
    before = found(detect(rig))
    assert rig.observer.set(rig.node, class_id_format='number') == ''
    assert found(detect(rig)) == [(str(NAMES.index(name)), score) for name, score in before]


def test_masks_at_the_resolution_of_the_prototypes(rig):
    """Prototypes have a quarter of the model's 320 pixels, and 480x360 fills 320x240 of them."""
    full = pixels_of(rig.result('instance_mask', rig.send(TOPIC, picture(scene()[0][0]))))
    assert rig.observer.set(rig.node, mask_resolution='proto') == ''
    small = pixels_of(rig.result('instance_mask', rig.send(TOPIC, picture(scene()[0][0]))))
    assert (full.shape, small.shape) == ((360, 480), (60, 80))
    assert set(small.flat) == set(full.flat)
    assert (small == full[3::6, 3::6]).mean() > 0.95


def test_labels_tell_the_threshold_again(rig):
    topic = rig.node.topic('label_info')
    rig.observer.subscribe(topic, LabelInfo, LATCHED)
    assert rig.observer.set(rig.node, score_threshold=0.625) == ''
    rig.observer.wait(topic, lambda info: info.threshold == 0.625)


REFUSED = [
    ('score_threshold', 1.5, '1.5'), ('score_threshold', -0.5, '-0.5'),
    ('score_threshold', -1.0, 'must be from 0.0 to 1.0'), ('score_threshold', 'high', 'type'),
    ('nms_threshold', 2.0, '2.0'), ('max_detections', 0, 'must be from 1 to 65534'),
    ('max_detections', 70000, '70000'), ('max_detections', -1, '-1'),
    ('class_filter', ['dog'], 'box, ball, cone, cylinder'), ('class_filter', ['4'], '0 to 3'),
    ('class_id_format', 'colour', 'name, number'), ('masks', 'sometimes', 'auto, always, never'),
    ('mask_resolution', 'tiny', 'source, proto'),
    ('config_file', 'demo_int.json', 'deactivate and cleanup'),
    ('image_topics', ['other'], 'deactivate and cleanup'), ('autostart', False, 'read-only'),
]


@pytest.mark.parametrize('name, value, reason', REFUSED)
def test_wrong_value_is_refused_with_a_reason(rig, name, value, reason):
    before = rig.observer.get(rig.node, name)
    assert reason in rig.observer.set(rig.node, **{name: value})
    assert rig.observer.get(rig.node, name) == before


def test_values_of_the_work_config_are_shown(rig):
    shown = [rig.observer.get(rig.node, name) for name in (
        'score_threshold', 'nms_threshold', 'max_detections')]
    assert shown == [0.4, 0.5, 300]


def test_every_parameter_is_described(rig):
    descriptors = rig.observer.describe(rig.node, [spec.name for spec in PARAMETERS])
    by_name = {d.name: d for d in descriptors}
    assert all(spec.description in by_name[spec.name].description for spec in PARAMETERS)
    ranges = by_name['score_threshold'].floating_point_range
    assert [(r.from_value, r.to_value) for r in ranges] == [(-1.0, 1.0)]
    ranges = by_name['max_detections'].integer_range
    assert [(r.from_value, r.to_value) for r in ranges] == [(0, 65534)]
    assert by_name['masks'].additional_constraints == 'one of: auto, always, never'
    assert by_name['autostart'].read_only
