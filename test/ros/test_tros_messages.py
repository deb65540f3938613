"""ai_msgs messages against the tables of the TROS contract, field by field."""

import numpy as np
import pytest

pytest.importorskip('ai_msgs')

from ai_msgs.msg import Capture, PerceptionInfo, PerceptionTargets, Perf, Roi, Target  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from rclpy import time as clock  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import Image, RegionOfInterest  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from yolo_seg_node.detections import Detections, Masks  # noqa: E402
from yolo_seg_node.letterbox import LETTERBOX, STRETCH, TOP_LEFT, make_letterbox  # noqa: E402
from yolo_seg_node.pipeline import StageTimes  # noqa: E402
from yolo_seg_node.ros import tros_messages as tros  # noqa: E402

NAMES = ('person', 'car', 'dog')
FIELDS = {
    PerceptionTargets: ['header', 'fps', 'perfs', 'targets', 'disappeared_targets'],
    Target: ['type', 'track_id', 'rois', 'attributes', 'points', 'captures'],
    Roi: ['type', 'rect', 'confidence'],
    Capture: ['header', 'img', 'features', 'db_result'],
    Perf: ['type', 'stamp_start', 'stamp_end', 'time_ms_duration'],
    PerceptionInfo: ['header', 'height', 'width', 'class_names'],
}


def found(crops=None, origin_xy=None, grid_wh=(8, 6), image_wh=(8, 6)):
    """Two overlapping detections, the better one of class 2; as much of them as has a mask."""
    masks = crops and Masks(tuple(crops), np.array(origin_xy, np.int32), grid_wh)
    return Detections(
        image_wh, np.array([[1.4, 1.0, 4.0, 3.2], [2.0, 2.5, 8.0, 6.0]], np.float32),
        np.array([0.9, 0.5], np.float32), np.array([2, 0], np.int32), masks)


def two_masks(**size):
    """A square of class 2, and below and right of it one of class 0 that it covers in part."""
    return found([np.ones((3, 3), bool), np.ones((3, 5), bool)], [(1, 1), (3, 3)], **size)


NOTHING = Detections((8, 6), np.zeros((0, 4), np.float32), np.zeros(0, np.float32),
                     np.zeros(0, np.int32), Masks((), np.zeros((0, 2), np.int32), (8, 6)))
GRID = tros.LabelGrid((8, 6), 1)


@pytest.mark.parametrize('kind', FIELDS, ids=lambda kind: kind.__name__)
def test_compiled_fields_are_those_of_the_contract(kind):
    assert list(kind.get_fields_and_field_types()) == FIELDS[kind]


def test_detection_target():
    best, other = tros.detection_targets(found(), NAMES)
    assert (best.type, best.track_id) == ('dog', 0)
    assert best.attributes == best.points == best.captures == []
    (roi,) = best.rois
    assert roi.type == 'dog' and roi.confidence == pytest.approx(0.9)
    assert roi.rect == RegionOfInterest(x_offset=1, y_offset=1, width=3, height=3, do_rectify=False)
    assert other.rois[0].rect == RegionOfInterest(x_offset=2, y_offset=2, width=6, height=4)


def test_rois_hold_their_boxes_inside_the_picture():
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 99, (200, 2))
    # some are thinner than a pixel, and some end at the edge of the picture
    high = np.minimum(low + rng.choice([1e-3, 0.4, 30], (200, 2)), (100, 100))
    boxes = np.hstack([low, high]).astype(np.float32)
    detections = Detections((100, 100), boxes, np.ones(200, np.float32), np.zeros(200, np.int32))
    for box, target in zip(boxes, tros.detection_targets(detections, NAMES)):
        rect = target.rois[0].rect
        edges = [rect.x_offset, rect.y_offset, rect.x_offset + rect.width,
                 rect.y_offset + rect.height]
        assert rect.width >= 1 and rect.height >= 1 and max(edges) <= 100
        assert (edges[:2] <= box[:2]).all() and (edges[2:] >= box[2:]).all()
        assert np.abs(edges - box).max() < 1


def test_class_without_a_name_shows_its_number():
    assert [t.type for t in tros.detection_targets(found(), ('person',))] == ['2', 'person']


def test_segmentation_target():
    target = tros.segmentation_target(two_masks(), GRID, 80)
    assert (target.type, target.track_id) == ('parking_space', 0)
    assert target.rois == target.points == []
    (attribute,) = target.attributes
    assert (attribute.type, attribute.value) == ('segmentation_label_count', 80.0)
    (capture,) = target.captures
    # the better detection keeps the overlap; labels are class id + 1
    assert np.reshape(capture.features, (6, 8)).tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0], [0, 3, 3, 3, 0, 0, 0, 0], [0, 3, 3, 3, 0, 0, 0, 0],
        [0, 3, 3, 3, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1]]
    assert capture.img == Image(height=6, width=8, step=1) and capture.header == Header()


def test_segmentation_target_of_an_empty_picture():
    (capture,) = tros.segmentation_target(NOTHING, GRID, 80).captures
    assert list(capture.features) == [0.0] * 48
    assert (capture.img.width, capture.img.height) == (8, 6)
    assert tros.detection_targets(NOTHING, NAMES) == []


def test_labels_of_a_fine_mask_are_those_at_the_centres_of_the_grid():
    detections = two_masks(grid_wh=(8, 6), image_wh=(8, 6))
    (capture,) = tros.segmentation_target(detections, tros.LabelGrid((4, 3), 2), 80).captures
    assert len(capture.features) == capture.img.width * capture.img.height == 12
    assert (capture.img.width, capture.img.height, capture.img.step) == (4, 3, 2)
    fine = detections.class_map()
    assert np.reshape(capture.features, (3, 4)).tolist() == fine[1::2, 1::2].tolist()


def test_labels_at_the_resolution_of_the_prototypes_stay():
    detections = two_masks(grid_wh=(8, 6), image_wh=(80, 60))
    (capture,) = tros.segmentation_target(detections, tros.LabelGrid((9, 6), 1), 80).captures
    assert (capture.img.width, capture.img.height) == (8, 6)
    assert np.array_equal(np.reshape(capture.features, (6, 8)), detections.class_map())


def test_instance_capture_is_the_whole_mask_of_one():
    """Also where a better detection covers it."""
    for index, label, area in [(0, 3, 9), (1, 1, 15)]:
        capture = tros.instance_capture(two_masks(), index, GRID)
        values, counts = np.unique(capture.features, return_counts=True)
        assert (values.tolist(), counts.tolist()) == ([0, label], [48 - area, area])
        assert capture.img == Image(height=6, width=8, step=1)


@pytest.mark.parametrize('image_wh, size_wh, step', [
    ((960, 540), (160, 90), 1), ((1920, 1080), (160, 90), 1), ((1280, 720), (160, 90), 1),
    ((640, 480), (160, 120), 1), ((600, 800), (120, 160), 1), ((480, 272), (160, 91), 1),
    ((720, 1280), (90, 160), 1), ((300, 900), (53, 160), 3),
])
@pytest.mark.parametrize('mode', [LETTERBOX, TOP_LEFT])
def test_label_grid_covers_the_picture_alone(image_wh, size_wh, step, mode):
    assert tros.label_grid(make_letterbox(image_wh, (640, 640), mode)) == (size_wh, step)


def test_label_grid_of_a_stretched_picture_is_that_of_the_model():
    assert tros.label_grid(make_letterbox((1920, 1080), (640, 384), STRETCH)) == ((160, 96), 1)


def test_perfs_have_the_names_and_true_durations():
    times = StageTimes({'receive': 7, 'preprocess': 1_500_000, 'infer': 20_250_000,
                        'decode': 750_000, 'masks': 500_000})
    now_ns = 1_700_000_000_000_000_000
    made = tros.perfs('m', times, now_ns - 40_000_000, now_ns)
    assert [p.type for p in made] == ['m_preprocess', 'm_predict_infer', 'm_predict_parse',
                                      'm_postprocess', 'm_pipeline']
    assert [p.time_ms_duration for p in made] == [1.5, 20.25, 0.75, 0.5, 40.0]
    assert made[0].stamp_start == Time(sec=1_699_999_999, nanosec=977_000_000)
    assert made[3].stamp_end == made[4].stamp_end == Time(sec=1_700_000_000)
    for before, after in zip(made, made[1:4]):
        assert before.stamp_end == after.stamp_start


def test_durations_are_true_while_a_simulated_clock_stands_at_zero():
    made = tros.perfs('m', StageTimes({'infer': 2_000_000}), 0, 0)
    assert [p.time_ms_duration for p in made] == [0, 2, 0, 0, 0]
    assert made[1].stamp_start == Time()


def test_a_stage_that_did_not_run_took_no_time():
    made = tros.perfs('m', StageTimes({'preprocess': 1}), 0, 10)
    assert [p.time_ms_duration for p in made][1:4] == [0, 0, 0]


def test_message_of_a_picture_survives_the_wire():
    header = Header(stamp=Time(sec=5, nanosec=6), frame_id='camera')
    detections = two_masks()
    targets = [*tros.detection_targets(detections, NAMES),
               tros.segmentation_target(detections, GRID, 3)]
    message = PerceptionTargets(header=header, fps=30, targets=targets,
                                perfs=tros.perfs('m', StageTimes(), 0, 1))
    back = deserialize_message(serialize_message(message), PerceptionTargets)
    assert back == message
    assert (back.header, back.fps, back.disappeared_targets) == (header, 30, [])
    assert [t.type for t in back.targets] == ['dog', 'person', 'parking_space']


def test_perception_info():
    info = tros.perception_info(clock.Time(seconds=9), 'camera', (1920, 1080), NAMES)
    assert (info.header.stamp.sec, info.header.frame_id) == (9, 'camera')
    assert (info.width, info.height, info.class_names) == (1920, 1080, list(NAMES))
