"""The integer model finds what the float model finds, and so does a fallback, through the node."""

import json

import numpy as np
import pytest
from fake_sdks import MODELS, work_values
from ros_harness import Rig, box_iou, mask_iou, pixels_of, values_of, xyxy_of
from ros_pictures import picture, scene
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

TOPIC = 'image_raw'


@pytest.fixture(scope='module')
def rigs(start_node, observer, camera):
    """A node with the float model and one with the integer model."""
    rigs = [Rig(observer, camera, start_node(config_file=f'demo_{kind}.json'))
            for kind in ('float', 'int')]
    for rig in rigs:
        rig.subscribe(detections=Detection2DArray, instance_mask=Image)
        camera.open(rig.node.topic(TOPIC))
        rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections', 'instance_mask'])
    return rigs


@pytest.mark.parametrize('encoding', ['bgr8', 'nv12'])
@pytest.mark.parametrize('index', range(8))
def test_float_and_integer_model_agree(rigs, index, encoding):
    stamps = [rig.send(TOPIC, picture(scene()[index][0], encoding)) for rig in rigs]
    floats, integers = (rig.result('detections', s).detections for rig, s in zip(rigs, stamps))
    maps = [pixels_of(rig.result('instance_mask', s)) for rig, s in zip(rigs, stamps)]
    assert len(floats) == len(integers) == len(scene()[index][1])
    for k, detection in enumerate(floats):
        overlaps = [box_iou(xyxy_of(detection), xyxy_of(other)) for other in integers]
        best = int(np.argmax(overlaps))
        assert overlaps[best] >= 0.95
        assert mask_iou(maps[0] == k + 1, maps[1] == best + 1) >= 0.9
        assert detection.results[0].hypothesis.class_id == (
            integers[best].results[0].hypothesis.class_id)


def test_a_machine_without_the_accelerator_and_its_model(start_node, observer, camera, tmp_path):
    """The work config of a board with a fallback, on a PC to which only the fallback was copied."""
    config = tmp_path / 'board.json'
    config.write_text(json.dumps(work_values(
        '/nowhere/yolo.bin', fallback_model_file=str(MODELS['float']))))
    rig = Rig(observer, camera, start_node(config_file=str(config), image_topics=[TOPIC]))
    rig.subscribe(detections=Detection2DArray)
    camera.open(rig.node.topic(TOPIC))
    rig.warm_up(TOPIC, picture(scene()[0][0]), ['detections'])
    found = rig.result('detections', rig.send(TOPIC, picture(scene()[0][0])))
    assert len(found.detections) == len(scene()[0][1])
    observer.watch_diagnostics()
    values = values_of(observer.wait_status(rig.node, 'runtime', lambda *_: True))
    assert values['model'] == 'shapes_seg_float.onnx'
    assert 'fallback shapes_seg_float.onnx' in values['runtime']
    assert 'hobot_dnn' in values['runtime']
