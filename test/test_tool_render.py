"""Drawings of results: the right detections on the right pictures."""

import json
from pathlib import Path
from typing import Any, Dict, List

import cv2
import numpy as np
import pytest

pytest.importorskip('rosbags', reason='these tests need the extra "replay"')

from bags_factory import START_NS, raw_entry, scene, write_rosbag2  # noqa: E402
from dataset import write_coco_set  # noqa: E402

from yolo_seg_node.drawing import class_colour  # noqa: E402
from yolo_seg_node.tools.cli import main  # noqa: E402
from yolo_seg_node.tools.results import read_results  # noqa: E402

CONFIG = 'demo_float.json'
NAMES = ('box', 'ball', 'cone', 'cylinder')
COUNT = 3


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A recording of two cameras and its results."""
    folder, frames = tmp_path_factory.mktemp('render'), scene()
    bag = write_rosbag2(folder / 'bag', [
        raw_entry(i, frames[i], topic) for i in range(COUNT) for topic in ('/a/image', '/b/image')])
    assert main(['replay', str(bag), '-o', str(folder / 'results'), '--config', CONFIG,
                 '--summary', str(folder / 'summary.json')]) == 0
    return folder


def render(results: Path, out: Path, *arguments: Any) -> int:
    return main(['render', str(results), '-o', str(out), *map(str, arguments)])


def edge_colour(drawn: np.ndarray, xyxy: np.ndarray) -> tuple:
    """The most frequent colour on the lower edge of a box."""
    x1, _, x2, y2 = np.rint(xyxy).astype(int)
    edge = drawn[y2 - 1, x1:x2].reshape(-1, 3)
    colours, counts = np.unique(edge, axis=0, return_counts=True)
    return tuple(int(v) for v in colours[counts.argmax()])


@pytest.mark.parametrize('form', ['results', 'summary.json'])
def test_boxes_lie_on_the_pictures_in_which_they_were_found(form, folder, tmp_path, capsys):
    assert render(folder / form, tmp_path / 'drawn', '--bag', folder / 'bag') == 0
    assert f'{2 * COUNT} pictures drawn: {tmp_path}/drawn' in capsys.readouterr().out
    results = read_results(folder / 'results')[0]
    assert len(list((tmp_path / 'drawn').iterdir())) == len(results) == 2 * COUNT
    for key, found in results.items():
        path = tmp_path / 'drawn' / f'{key.camera.strip("/")}_{key.stamp_ns}.png'
        drawn, picture = cv2.imread(str(path)), scene()[(key.stamp_ns - START_NS) // 10**8]
        # The highest score lies on top; a bag tells the order of the classes, and so the colours.
        colour = edge_colour(drawn, found.xyxy_image[0])
        if form == 'results':
            assert colour == class_colour(NAMES.index(found.class_names[0]))
        outside = np.ones(drawn.shape[:2], bool)
        for x1, y1, x2, y2 in np.rint(found.xyxy_image).astype(int):
            outside[max(0, y1 - 30):y2 + 3, max(0, x1 - 5):x2 + 150] = False
        assert outside.any() and np.array_equal(drawn[outside], picture[outside])


def test_video_of_each_camera(folder, tmp_path, capsys):
    assert render(folder / 'results', tmp_path / 'drawn.mp4', '--bag', folder / 'bag') == 0
    output = capsys.readouterr().out
    for camera in 'ab':
        path = tmp_path / f'drawn_{camera}.mp4'
        assert f'{COUNT} pictures drawn: {path}' in output
        video = cv2.VideoCapture(str(path))
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
        frames = [video.read()[1] for _ in range(COUNT + 1)]
        assert frames[-1] is None and frames[-2].shape == (360, 480, 3)


def test_one_camera_alone_and_pictures_without_a_result(folder, tmp_path, capsys):
    summary = json.loads((folder / 'summary.json').read_text())
    summary['frames'] = [f for f in summary['frames'] if f['camera'] == '/a'][1:]
    (tmp_path / 'fewer.json').write_text(json.dumps(summary))
    assert render(tmp_path / 'fewer.json', tmp_path / 'drawn.mp4', '--bag', folder / 'bag') == 0
    output = capsys.readouterr().out
    assert f'{COUNT - 1} pictures drawn: {tmp_path}/drawn.mp4' in output
    assert f'{COUNT + 1} pictures of' in output and 'have no result' in output


def test_nothing_to_draw_on_is_no_success(folder, tmp_path):
    (tmp_path / 'empty.json').write_text('{"version": 1, "frames": []}')
    assert render(tmp_path / 'empty.json', tmp_path / 'drawn', '--bag', folder / 'bag') == 1


@pytest.fixture(scope='module')
def dataset(tmp_path_factory) -> Path:
    """Pictures, and their annotations as if they were results."""
    folder = tmp_path_factory.mktemp('dataset')
    annotations = json.loads(write_coco_set(folder, range(6_000_000, 6_000_004),
                                            (320, 240)).read_text())
    records: List[Dict[str, Any]] = [
        {'score': 0.9 if i % 2 else 0.1, **{k: annotation[k] for k in (
            'image_id', 'category_id', 'bbox', 'segmentation')}}
        for i, annotation in enumerate(annotations['annotations'])]
    (folder / 'results.json').write_text(json.dumps(records))
    return folder


def changed_pixels(dataset: Path, drawn: Path) -> int:
    return sum(int((cv2.imread(str(drawn / path.name)) != cv2.imread(str(path))).any(axis=2).sum())
               for path in (dataset / 'images').iterdir())


def test_coco_result_is_drawn_from_a_score_on(dataset, tmp_path):
    changed = {}
    for score in (None, 0.05, 0.25, 0.95):
        arguments = [] if score is None else ['--min-score', score]
        assert render(dataset / 'results.json', tmp_path / str(score), '--images',
                      dataset / 'images', '--annotations', dataset / 'instances.json',
                      *arguments) == 0
        changed[score] = changed_pixels(dataset, tmp_path / str(score))
    assert changed[0.05] > changed[0.25] == changed[None] > changed[0.95] == 0


@pytest.mark.parametrize(('text', 'sentence'), [
    ('', 'is no COCO result'), ('{"a": 1}', 'is no COCO result'),
    ('[{"image_id": 1}]', 'a record lacks bbox, category_id, score')])
def test_what_is_no_coco_result_is_refused(text, sentence, dataset, tmp_path, capsys):
    (tmp_path / 'other.json').write_text(text)
    assert render(tmp_path / 'other.json', tmp_path / 'drawn', '--images', dataset / 'images',
                  '--annotations', dataset / 'instances.json') == 2
    assert sentence in capsys.readouterr().err


def test_images_and_annotations_go_together(dataset, tmp_path, capsys):
    assert render(dataset / 'results.json', tmp_path, '--images', dataset / 'images') == 2
    assert '--images and --annotations go together' in capsys.readouterr().err


def test_folder_that_cannot_be_written_is_told(folder, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    for out in ('drawn', 'drawn.mp4'):
        assert render(folder / 'results', tmp_path / 'file' / out, '--bag', folder / 'bag') == 2
        assert 'cannot be written' in capsys.readouterr().err
