"""Masks are computed for those who want them, and not otherwise."""

import pytest
from ros_harness import Rig, values_of
from ros_pictures import picture, scene
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

TOPIC = 'image_raw'


@pytest.fixture(scope='module')
def rig(start_node, observer, camera):
    rig = Rig(observer, camera, start_node())
    rig.subscribe(detections=Detection2DArray)
    camera.open(rig.node.topic(TOPIC))
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    observer.watch_diagnostics()
    return rig


def stages(rig):
    """Stages that a picture goes through, by the diagnostics of its second."""
    camera = rig.node.namespace.strip('/')
    status = rig.report(camera, TOPIC, 'detections', picture(scene()[0][0]))
    return {key for key in values_of(status) if key.endswith('_ms')}


def test_no_masks_while_only_detections_are_subscribed(rig):
    assert 'masks_ms' not in stages(rig)


def test_masks_when_always(rig):
    assert rig.observer.set(rig.node, masks='always') == ''
    assert 'masks_ms' in stages(rig)
    assert rig.observer.set(rig.node, masks='auto') == ''


@pytest.mark.parametrize('output, kind', [
    ('instance_mask', Image), ('class_mask', Image), ('overlay', Image),
    ('overlay/compressed', CompressedImage)])
def test_masks_while_an_output_that_shows_them_is_subscribed(rig, output, kind):
    rig.subscribe(**{output: kind})
    rig.warm_up(TOPIC, picture(scene()[0][0]), [output])
    assert 'masks_ms' in stages(rig)
    rig.observer.unsubscribe(rig.node.topic(output))


def test_never_leaves_the_overlay_without_masks_and_the_mask_topics_silent(rig):
    rig.subscribe(instance_mask=Image, overlay=Image)
    assert rig.observer.set(rig.node, masks='never') == ''
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['overlay'])
    masks = len(rig.stamps('instance_mask'))
    rig.result('overlay', rig.send(TOPIC, picture(scene()[0][0])))
    assert 'masks_ms' not in stages(rig)
    assert len(rig.stamps('instance_mask')) == masks
    assert rig.observer.set(rig.node, masks='auto') == ''
