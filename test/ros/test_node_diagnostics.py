"""What the node tells on /diagnostics."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_harness import Rig, values_of
from ros_pictures import picture, scene
from vision_msgs.msg import Detection2DArray

BUSY, SILENT = 'busy/image_raw', 'silent/image_raw'
STAGES = ('receive', 'preprocess', 'infer', 'decode', 'messages', 'publish', 'age_p50', 'age_max')


@pytest.fixture(scope='module')
def rig(start_node, observer, camera):
    rig = Rig(observer, camera, start_node(image_topics=[BUSY, SILENT]))
    rig.subscribe(**{'busy/detections': Detection2DArray})
    camera.open(rig.node.topic(BUSY))
    rig.warm_up(BUSY, picture(scene()[0][0]), ['busy/detections'])
    observer.watch_diagnostics()
    return rig


def name_of(rig, place):
    return f'{rig.node.namespace.strip("/")}/{place}'


def test_runtime(rig):
    status = rig.observer.wait_status(
        rig.node, 'runtime', lambda s, _: s.level == DiagnosticStatus.OK)
    assert status.message == 'Running on onnxruntime CPUExecutionProvider'
    values = values_of(status)
    assert values['runtime'] == status.hardware_id == 'onnxruntime CPUExecutionProvider'
    assert values['model'] == 'shapes_seg_float.onnx' and values['input'] == '320x320'
    assert (values['decoder'], values['classes'], values['workers']) == ('yolov8_seg', '4', '1')


def test_a_busy_camera_has_counters_and_stage_times(rig):
    camera = name_of(rig, 'busy')
    unseen = rig.unseen(camera, 'busy/detections')
    status = rig.report(camera, BUSY, 'busy/detections', picture(scene()[0][0]))
    values = values_of(status)
    assert status.level == DiagnosticStatus.OK and 'results/s out' in status.message
    assert values['topic'] == status.hardware_id == rig.node.topic(BUSY)
    assert int(values['published']) - unseen == len(rig.stamps('busy/detections'))
    assert int(values['received']) == sum(
        int(values[key]) for key in ('published', 'dropped', 'refused', 'in_flight'))
    assert all(float(values[f'{stage}_ms']) > 0 for stage in STAGES)
    assert float(values['output_rate_hz']) > 0


def test_a_silent_camera_says_why_and_what_to_do(rig):
    status = rig.observer.wait_status(
        rig.node, f'camera {name_of(rig, "silent")}', lambda s, _: s.level == DiagnosticStatus.WARN)
    topic = rig.node.topic(SILENT)
    assert status.message.startswith(f'No picture on {topic} for 5 s: 0 publishers.')
    assert rig.node.topic(BUSY) in status.message
    assert rig.node.output.count(status.message.split(' Start')[0]) == 1


def test_a_node_without_a_config_says_so(start_node, observer):
    node = start_node(config_file='nowhere.json')
    observer.watch_diagnostics()
    status = observer.wait_status(node, 'runtime', lambda s, _: s.level == DiagnosticStatus.ERROR)
    assert "Work config 'nowhere.json'" in status.message and 'demo_float.json' in status.message
