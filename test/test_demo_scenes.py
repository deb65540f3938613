"""The synthetic pictures: exact ground truth, the same for the same seed; the sample bag."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'demo'))

from dataset import NO_OBJECT, write_coco_set, write_training_arrays  # noqa: E402
from make_sample_bag import (  # noqa: E402
    BGR_FRAME_COUNT, FRAME_COUNT, FRAME_ID, PERIOD_NS, SIZE_WH, START_NS, nv12_from_bgr)
from scenes import box_of_mask, moving_scene, scene  # noqa: E402
from solids import BALL, BOX, CONE, CYLINDER, Solid, paint, paste  # noqa: E402

BAG = ROOT / 'resource' / 'demo' / 'sample_bag'
TRUTH = ROOT / 'resource' / 'demo' / 'sample_truth.json'
TIMES_SECS = [index * 0.1 for index in range(0, 30, 3)]


def solid(class_id: int, extent: tuple[float, float, float]) -> Solid:
    return Solid(class_id, extent, yaw=0.0, pitch=0.0, roll=0.0, colour_bgr=(255.0, 200.0, 220.0),
                 light=np.array([0.0, 0.0, 1.0]), ambient=0.5, gloss=0.0)


@pytest.mark.parametrize(('class_id', 'extent', 'area', 'size_wh'), [
    (BOX, (0.8, 0.5, 0.6), 4 * 0.8 * 0.5, (1.6, 1.0)),
    (BALL, (0.85, 0.0, 0.0), np.pi * 0.85 ** 2, (1.7, 1.7)),
    (CONE, (0.5, 0.9, 0.0), 2 * 0.5 * 0.9, (1.0, 1.8)),
    (CYLINDER, (0.5, 0.9, 0.0), 4 * 0.5 * 0.9, (1.0, 1.8)),
])
def test_the_silhouette_has_the_area_and_size_of_geometry(class_id, extent, area, size_wh):
    radius = 60.0
    mask = paste(np.zeros((200, 240, 3), np.float32),
                 paint(solid(class_id, extent), (120.0, 100.0), radius))
    x1, y1, x2, y2 = box_of_mask(mask)
    assert mask.sum() == pytest.approx(area * radius ** 2, rel=0.05)
    assert (x2 - x1, y2 - y1) == pytest.approx(np.array(size_wh) * radius, abs=2.5)
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((120.0, 100.0), abs=1.5)


@pytest.mark.parametrize('class_id', [BOX, BALL, CONE, CYLINDER])
@pytest.mark.parametrize('centre', [(60.0, 45.0), (3.0, 80.0), (118.5, 2.0)])
def test_the_mask_covers_the_painted_pixels_and_no_others(class_id, centre):
    picture = np.zeros((90, 120, 3), np.float32)
    mask = paste(picture, paint(solid(class_id, (0.7, 0.8, 0.6)), centre, 30.0))
    painted = picture.max(axis=2) > 0
    assert painted[mask > 0].all()
    rim = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0
    assert not painted[~rim].any()


def test_an_object_outside_the_picture_changes_nothing():
    picture = np.full((40, 50, 3), 7, np.float32)
    mask = paste(picture, paint(solid(BALL, (0.8, 0.0, 0.0)), (-100.0, 20.0), 20.0))
    assert not mask.any()
    assert (picture == 7).all()


def test_box_of_mask_is_half_open():
    mask = np.zeros((10, 12), np.uint8)
    mask[2:5, 3:11] = 1
    assert box_of_mask(mask) == (3, 2, 11, 5)


@pytest.mark.parametrize(('size', 'shape'), [(128, (128, 128)), ((160, 96), (96, 160))])
def test_a_scene_is_the_same_for_the_same_seed(size, shape):
    first, again, other = (scene(seed, size) for seed in (11, 11, 12))
    assert first[0].shape == (*shape, 3)
    assert first[0].dtype == np.uint8
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert [c for c, _ in first[1]] == [c for c, _ in again[1]]
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first[1], again[1]))


def test_masks_of_a_scene_are_disjoint_and_big_enough_to_see():
    seen = set()
    for seed in range(40):
        _, instances = scene(seed, 160)
        masks = np.array([mask for _, mask in instances] or [np.zeros((160, 160), np.uint8)])
        assert masks.max() <= 1
        assert masks.sum(axis=0).max() <= 1
        assert all(mask.sum() >= 60 for _, mask in instances)
        seen.update(class_id for class_id, _ in instances)
    assert seen == {BOX, BALL, CONE, CYLINDER}


@pytest.mark.parametrize('seed', range(6))
def test_objects_of_the_moving_scene_stay_apart_and_inside(seed):
    width, height = 480, 360
    for picture, instances in moving_scene(seed, (width, height), TIMES_SECS):
        assert picture.shape == (height, width, 3)
        assert sorted(class_id for class_id, _ in instances) == [BOX, BOX, BALL, CONE, CYLINDER]
        assert sum(mask.astype(int) for _, mask in instances).max() == 1
        for _, mask in instances:
            x1, y1, x2, y2 = box_of_mask(mask)
            assert min(x1, y1, width - x2, height - y2) >= 3
            assert mask.sum() > 2000


def test_the_kth_object_of_the_moving_scene_is_the_same_in_all_frames():
    frames = [instances for _, instances in moving_scene(0, (480, 360), [0.0, 0.1, 0.2, 0.3])]
    for before, after in zip(frames, frames[1:]):
        for (class_before, old), (class_after, new) in zip(before, after):
            assert class_before == class_after
            assert 0.5 < (old & new).sum() / (old | new).sum() < 1


def test_the_coco_set_holds_the_scenes(tmp_path):
    seeds = [21, 22, 23]
    coco = COCO(str(write_coco_set(tmp_path, seeds, 128)))
    for image_id, seed in zip(coco.getImgIds(), seeds):
        picture, instances = scene(seed, 128)
        stored = cv2.imread(str(tmp_path / 'images' / coco.imgs[image_id]['file_name']))
        assert np.array_equal(stored, picture)
        annotations = coco.imgToAnns[image_id]
        assert [a['category_id'] for a in annotations] == [c for c, _ in instances]
        for annotation, (_, mask) in zip(annotations, instances):
            assert np.array_equal(coco.annToMask(annotation), mask)
            x, y, w, h = annotation['bbox']
            assert (x, y, x + w, y + h) == box_of_mask(mask)


def test_training_arrays_hold_the_scenes(tmp_path):
    write_training_arrays(tmp_path, count=3, size=96, workers=1)
    arrays = {path.stem: np.load(path) for path in tmp_path.glob('*.npy')}
    picture, instances = scene(2, 96)
    assert np.array_equal(arrays['pictures'][1], picture)
    for index, (class_id, mask) in enumerate(instances):
        assert arrays['class_ids'][1, index] == class_id
        assert np.array_equal(arrays['instance_maps'][1] == index + 1, mask > 0)
    assert (arrays['class_ids'][1, len(instances):] == NO_OBJECT).all()


def test_nv12_of_a_grey_picture_has_neutral_chroma():
    bgr = np.full((6, 8, 3), 128, np.uint8)
    nv12 = nv12_from_bgr(bgr)
    assert nv12.shape == (9, 8)
    assert (nv12[6:] == 128).all()


def test_nv12_has_u_before_v():
    bgr = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    u, v = nv12_from_bgr(bgr)[4, :2]
    assert u > 200 > 128 > v


def read_bag() -> dict[str, list]:
    messages: dict[str, list] = {}
    with next(BAG.glob('*.mcap')).open('rb') as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            messages.setdefault(channel.topic, []).append(message)
    return messages


def test_the_sample_bag_holds_the_moving_scene():
    messages = read_bag()
    counts = {topic: len(found) for topic, found in messages.items()}
    assert counts == {'/camera/image_raw': FRAME_COUNT,
                      '/camera/image_raw/compressed': FRAME_COUNT,
                      '/camera_bgr/image_raw': BGR_FRAME_COUNT}
    assert sum(path.stat().st_size for path in BAG.iterdir()) < 8_000_000
    for found in messages.values():
        stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in found]
        assert stamps == [START_NS + index * PERIOD_NS for index in range(len(found))]
        assert {m.header.frame_id for m in found} == {FRAME_ID}


def test_pictures_of_the_sample_bag_are_what_the_script_makes():
    width, height = SIZE_WH
    messages = read_bag()
    picture, _ = next(moving_scene(0, SIZE_WH, [0.0]))
    raw, bgr, jpeg = (messages[topic][0] for topic in (
        '/camera/image_raw', '/camera_bgr/image_raw', '/camera/image_raw/compressed'))
    assert (raw.encoding, raw.width, raw.height, raw.step) == ('nv12', width, height, width)
    assert (bgr.encoding, bgr.width, bgr.height, bgr.step) == ('bgr8', width, height, 3 * width)
    planes = np.frombuffer(raw.data, np.uint8).reshape(height * 3 // 2, width)
    # Other releases of OpenCV may round a blur or a conversion differently by one.
    assert np.abs(planes - nv12_from_bgr(picture).astype(int)).mean() < 0.5
    stored = np.frombuffer(bgr.data, np.uint8).reshape(height, width, 3)
    assert np.abs(stored - picture.astype(int)).mean() < 0.5
    decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded - picture.astype(int)).mean() < 3


def test_the_sample_truth_is_that_of_the_moving_scene():
    frames = json.loads(TRUTH.read_text())['frames']
    times_secs = [index * PERIOD_NS / 1e9 for index in range(FRAME_COUNT)]
    assert [f['stamp_ns'] for f in frames] == [START_NS + int(t * 1e9) for t in times_secs]
    for frame, (_, instances) in zip(frames, moving_scene(0, SIZE_WH, times_secs)):
        for stored, (class_id, mask) in zip(frame['objects'], instances):
            decoded = coco_mask.decode(stored['mask'])
            assert stored['class_id'] == class_id
            assert (decoded != mask).sum() <= 4
            assert stored['xyxy'] == pytest.approx(box_of_mask(decoded))
