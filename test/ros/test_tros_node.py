"""The node in the place of dnn_node_example: shared-memory pictures in, ai_msgs out."""

import itertools
import re

import cv2
import numpy as np
import pytest
from ros_harness import NodeProcess, Rig, box_iou, mask_iou, stamp_of, until, xyxy_of
from ros_pictures import FRAME_ID, picture, scene

pytest.importorskip('ai_msgs')
pytest.importorskip('hbm_img_msgs')

from ai_msgs.msg import PerceptionInfo, PerceptionTargets  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from hbm_img_msgs.msg import HbmMsg480P, HbmMsg1080P  # noqa: E402
from rclpy._rclpy_pybind11 import RCLError  # noqa: E402
from rclpy.qos import ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

NAMES = ['box', 'ball', 'cone', 'cylinder']
TARGETS, INFO, DETECTIONS = 'hobot_dnn_detection', 'hobot_dnn_detection_info', 'detections'
IMAGE, SHARED = 'image', 'hbmem_img'
PIXELS = 1.5
# of the demo model's 320 x 320 input, 480 x 360 pictures cover 320 x 240
MAP_WH = (80, 60)
STAMPS = itertools.count(1_800_000_000_000_000_000, 33_333_333)


def nv12(bgr):
    """Fields of an NV12 picture with the mean chroma of each four pixels.

    OpenCV takes the chroma of the first of them, which shifts colours by half a pixel.
    """
    small = cv2.resize(bgr, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(small, bgr.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    fields, rows = picture(bgr, 'nv12'), bgr.shape[0]
    fields['data'][rows:] = picture(mean, 'nv12')['data'][rows:]
    return fields


class SharedMemoryCamera:
    """Publishes NV12 pictures as a TROS camera does.

    It is reliable, since 6 MB are only carried for sure where the memory that is shared has room.
    """

    def __init__(self, observer, topic, kind):
        self._observer, self._node, self._kind = observer, observer.node, kind
        self._publisher = until(lambda: self._created(topic), f'the first publisher of {kind}')
        until(lambda: self._matched(topic), f'a reliable subscriber of {kind.__name__}')

    def _created(self, topic):
        """A topic has one type in a process, and rclpy may let go of the last one a bit late."""
        try:
            return self._node.create_publisher(self._kind, topic, 10)
        except RCLError:
            return None

    def _matched(self, topic):
        asked = [(s.topic_type.split('/')[-1], s.qos_profile.reliability)
                 for s in self._node.get_subscriptions_info_by_topic(topic)]
        return ((self._kind.__name__, ReliabilityPolicy.RELIABLE) in asked
                and self._publisher.get_subscription_count() == len(asked))

    def send(self, bgr, index=7):
        fields, stamp_ns = nv12(bgr), next(STAMPS)
        message = self._kind(index=index, width=fields['width'], height=fields['height'],
                             step=fields['step'], data_size=fields['data'].size)
        message.time_stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        message.encoding[:4] = np.frombuffer(b'nv12', np.uint8)
        message.data[:fields['data'].size] = fields['data'].reshape(-1)
        self._publisher.publish(message)
        return stamp_ns

    def close(self):
        self._observer.run(self._node.destroy_publisher, self._publisher)


@pytest.fixture(scope='module')
def rig(start_node, observer, camera):
    """A node on a camera topic that has the name of TROS."""
    node = start_node(ros_img_topic_name=IMAGE, image_topics=['elsewhere'])
    rig = Rig(observer, camera, node)
    rig.subscribe(**{TARGETS: PerceptionTargets, DETECTIONS: Detection2DArray})
    camera.open(node.topic(IMAGE))
    rig.warm_up(IMAGE, picture(scene()[0][0]), [TARGETS, DETECTIONS])
    return rig


@pytest.fixture(scope='module')
def shared(start_node, observer, camera):
    """A node on shared-memory pictures, and what publishes them."""
    node = start_node(is_shared_mem_sub=1, sharedmem_img_topic_name=SHARED)
    rig = Rig(observer, camera, node)
    rig.subscribe(**{TARGETS: PerceptionTargets, DETECTIONS: Detection2DArray})
    source = SharedMemoryCamera(observer, node.topic(SHARED), HbmMsg1080P)
    rig.warm_up_with(lambda: source.send(scene()[0][0]), [TARGETS, DETECTIONS])
    yield rig, source
    source.close()


def xyxy_of_target(target):
    (roi,) = target.rois
    assert roi.type == target.type and not roi.rect.do_rectify
    x, y = roi.rect.x_offset, roi.rect.y_offset
    return np.array([x, y, x + roi.rect.width, y + roi.rect.height])


def results(rig, stamp_ns, frame_id):
    """Both messages of a picture, with equal headers and equal boxes."""
    targets, detections = rig.result(TARGETS, stamp_ns), rig.result(DETECTIONS, stamp_ns)
    assert targets.header == detections.header and targets.header.frame_id == frame_id
    *found, segmentation = targets.targets
    assert len(found) == len(detections.detections)
    for target, detection in zip(found, detections.detections):
        hypothesis = detection.results[0].hypothesis
        assert target.type == hypothesis.class_id
        assert target.rois[0].confidence == pytest.approx(hypothesis.score, abs=1e-6)
        # rois are the whole pixels around the box
        margin = (xyxy_of_target(target) - xyxy_of(detection)) * (-1, -1, 1, 1)
        assert (margin > -1e-3).all() and (margin < 1 + 1e-3).all()
    return found, segmentation, detections.detections


def check_scene(found, segmentation, things):
    """Every thing is a target, and the class map has it where it is."""
    assert len(found) == len(things)
    labels = label_map(segmentation)
    for thing in things:
        overlaps = [box_iou(xyxy_of_target(target), thing.xyxy) for target in found]
        assert max(overlaps) >= 0.8 and found[int(np.argmax(overlaps))].type == thing.class_name
        label = NAMES.index(thing.class_name) + 1
        mask = cv2.resize(thing.mask.astype(np.uint8), MAP_WH, interpolation=cv2.INTER_AREA) > 0
        assert (labels[mask] == label).mean() > 0.5
    truth = np.any([thing.mask for thing in things], axis=0)
    stretched = cv2.resize(labels, truth.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert mask_iou(stretched, truth) >= 0.75


def label_map(segmentation):
    """(h, w) labels of the class map, with everything around them checked."""
    assert (segmentation.type, segmentation.rois) == ('parking_space', [])
    (attribute,), (capture,) = segmentation.attributes, segmentation.captures
    assert (attribute.type, attribute.value) == ('segmentation_label_count', len(NAMES))
    assert (capture.img.width, capture.img.height, capture.img.step) == (*MAP_WH, 1)
    return np.reshape(capture.features, MAP_WH[::-1])


def test_shared_memory_picture(shared):
    rig, source = shared
    for bgr, things in scene()[:3]:
        found, segmentation, _ = results(rig, source.send(bgr, index=42), '42')
        check_scene(found, segmentation, things)


def test_type_of_shared_memory_follows_the_publisher(shared, observer):
    rig, source = shared
    source.close()
    smaller = SharedMemoryCamera(observer, rig.node.topic(SHARED), HbmMsg480P)
    bgr, things = scene()[4]
    found, segmentation, _ = results(rig, smaller.send(bgr), '7')
    check_scene(found, segmentation, things)
    smaller.close()


@pytest.mark.parametrize('encoding', ['nv12', 'bgr8', 'rgb8'])
def test_camera_picture(rig, encoding):
    bgr, things = scene()[1]
    found, segmentation, _ = results(rig, rig.send(IMAGE, picture(bgr, encoding)), FRAME_ID)
    check_scene(found, segmentation, things)


def test_encodings_of_one_scene_give_the_same_boxes(rig):
    """TROS stretches rgb8 and bgr8, and publishes their boxes in pixels of the model."""
    for bgr, _ in scene()[:4]:
        boxes = []
        for fields in (nv12(bgr), picture(bgr, 'bgr8'), picture(bgr, 'rgb8')):
            _, _, found = results(rig, rig.send(IMAGE, fields), FRAME_ID)
            boxes.append(sorted((d.results[0].hypothesis.class_id, *xyxy_of(d)) for d in found))
        yuv, bgr8, rgb8 = boxes
        assert [row[0] for row in yuv] == [row[0] for row in bgr8] and bgr8 == rgb8
        difference = [np.abs(np.subtract(a[1:], b[1:])).max() for a, b in zip(yuv, bgr8)]
        assert max(difference) <= PIXELS


def test_empty_picture_has_the_class_map_alone(rig):
    blank = np.full((360, 480, 3), 128, np.uint8)
    found, segmentation, _ = results(rig, rig.send(IMAGE, picture(blank)), FRAME_ID)
    assert found == [] and not label_map(segmentation).any()


def test_map_is_the_same_while_fine_masks_are_computed(rig):
    """It then comes from the masks at the resolution of the picture."""
    fields, name = picture(scene()[2][0]), 'class_mask'
    coarse = label_map(results(rig, rig.send(IMAGE, fields), FRAME_ID)[1])
    rig.subscribe(**{name: Image})
    rig.warm_up(IMAGE, fields, [name])
    fine = label_map(results(rig, rig.send(IMAGE, fields), FRAME_ID)[1])
    rig.observer.unsubscribe(rig.node.topic(name))
    assert (coarse == fine).mean() > 0.98 and fine.any()


def test_durations(rig):
    targets = rig.result(TARGETS, rig.send(IMAGE, picture(scene()[0][0])))
    model = 'shapes_seg_float'
    assert [perf.type for perf in targets.perfs] == [
        f'{model}_preprocess', f'{model}_predict_infer', f'{model}_predict_parse',
        f'{model}_postprocess', f'{model}_pipeline']
    assert all(perf.time_ms_duration > 0 for perf in targets.perfs)
    assert targets.disappeared_targets == []


def test_each_target_may_carry_its_own_mask(rig):
    bgr, things = scene()[0]
    assert rig.observer.set(rig.node, one_target_per_instance=True) == ''
    found, segmentation, _ = results(rig, rig.send(IMAGE, picture(bgr)), FRAME_ID)
    assert rig.observer.set(rig.node, one_target_per_instance=False) == ''
    labels = label_map(segmentation)
    for target in found:
        (capture,) = target.captures
        own = np.reshape(capture.features, MAP_WH[::-1])
        label = NAMES.index(target.type) + 1
        assert set(np.unique(own)) == {0, label} and own[labels == label].any()
    plain, _, _ = results(rig, rig.send(IMAGE, picture(bgr)), FRAME_ID)
    assert all(target.captures == [] for target in plain)


def test_info(rig):
    rig.subscribe(**{INFO: PerceptionInfo})
    info = rig.observer.wait(rig.node.topic(INFO), lambda _: True)
    assert (info.width, info.height, info.class_names) == (480, 360, NAMES)
    assert info.header.frame_id == FRAME_ID


def test_fps(rig):
    """Unknown at first, then the rate at which results come."""
    fps = []
    for _ in range(200):
        fps.append(rig.result(TARGETS, rig.send(IMAGE, picture(scene()[0][0]))).fps)
        if fps[-1] > 0:
            return
    raise AssertionError(f'no rate in {fps}')


@pytest.fixture
def run_on_file(tmp_path, observer, camera):
    """Starts a node on a picture file, in an empty working directory."""
    nodes = []

    def run(**parameters):
        folder = tmp_path / 'working_directory'
        folder.mkdir()
        node = NodeProcess(tmp_path / 'output.txt', f'/{tmp_path.name}', {
            'config_file': 'demo_float.json', 'feed_type': 0, **parameters}, folder)
        nodes.append(node)
        return node, folder

    yield run
    for node in nodes:
        assert node.stop() == 0


@pytest.mark.parametrize('image_type', [0, 1])
def test_picture_file_goes_to_whoever_subscribes(run_on_file, observer, tmp_path, image_type):
    bgr, things = scene()[0]
    path = tmp_path / 'scene'
    path.write_bytes(picture(bgr, 'nv12')['data'].tobytes() if image_type
                     else cv2.imencode('.png', bgr)[1].tobytes())
    node, folder = run_on_file(image=str(path), image_type=image_type, image_width=480,
                               image_height=360, dump_render_img=1)
    observer.subscribe(node.topic(TARGETS), PerceptionTargets)
    message = observer.wait(node.topic(TARGETS), lambda _: True)
    assert stamp_of(message) == 0 and message.header.frame_id == 'feedback'
    check_scene(message.targets[:-1], message.targets[-1], things)
    # and again to whoever comes later
    observer.subscribe(node.topic(DETECTIONS), Detection2DArray)
    late = observer.wait(node.topic(DETECTIONS), lambda _: True)
    assert late.header == message.header and len(late.detections) == len(things)
    rendered = until(lambda: list(folder.iterdir()), 'a rendered picture')
    assert [file.name for file in rendered] == ['render_feedback_0_0.jpeg']
    pixels = cv2.imread(str(rendered[0])).astype(int)
    assert pixels.shape == bgr.shape
    assert all((np.abs(pixels - bgr).max(axis=2) > 40)[thing.mask].mean() > 0.2 for thing in things)


@pytest.mark.parametrize('parameters, words', [
    ({'feed_type': 0}, 'image is .*no such file'),
    ({'feed_type': 2}, 'feed_type'),
    ({'is_shared_mem_sub': True}, 'is_shared_mem_sub'),
    ({'ros_img_topic_name': 'a b'}, 'ros_img_topic_name: .*'),
    ({'msg_pub_topic_name': 'a b'}, 'msg_pub_topic_name'),
])
def test_wrong_parameters_leave_the_node_unconfigured(start_node, observer, parameters, words):
    node = start_node(**parameters)
    until(lambda: 'ERROR' in node.output, 'an error')
    until(lambda: re.search(words, node.output), f'{words} in the output')
    assert observer.state(node) == 'unconfigured'
