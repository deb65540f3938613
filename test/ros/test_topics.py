"""Names of cameras and of the topics of their results."""

import pytest

from yolo_seg_node.errors import ConfigError
from yolo_seg_node.ros.topics import camera_topics


def resolve(topic):
    """As a node in the namespace /robot does."""
    return topic if topic.startswith('/') else f'/robot/{topic}'


@pytest.mark.parametrize('configured, names, outputs', [
    (['image_raw'], ['robot'], ['detections']),
    (['/image_raw'], ['image_raw'], ['detections']),
    (['/camera/image_raw/compressed'], ['camera'], ['detections']),
    (['front/image_raw', '/rear/image_raw'], ['robot/front', 'rear'],
     ['/robot/front/detections', '/rear/detections']),
    (['/stereo/left', '/stereo/right/compressed'], ['stereo/left', 'stereo/right'],
     ['/stereo/left/detections', '/stereo/right/detections']),
    (['/a', '/b', ''], ['a', 'b'], ['/a/detections', '/b/detections'])])
def test_names(configured, names, outputs):
    cameras = camera_topics(configured, resolve)
    assert [camera.name for camera in cameras] == names
    assert [camera.output('detections') for camera in cameras] == outputs
    assert [camera.image for camera in cameras] == [topic for topic in configured if topic]


@pytest.mark.parametrize('configured, words', [
    ([], 'names no topic'), ([''], 'names no topic'),
    (['a', '/robot/a'], "names the camera '/robot/a' twice"),
    (['/a', '/a/compressed'], "names the camera '/a' twice")])
def test_wrong_lists(configured, words):
    with pytest.raises(ConfigError, match=words):
        camera_topics(configured, resolve)
