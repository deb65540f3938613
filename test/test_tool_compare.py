"""The comparison of two results, proven by planted changes."""

import copy
import json
import re
from pathlib import Path
from typing import Any, Callable, Dict, List

import cv2
import numpy as np
import pytest

pytest.importorskip('rosbags', reason='these tests need the extra "replay"')

import rosbags.rosbag2  # noqa: E402
from bags_factory import raw_entries, write_rosbag2  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from pycocotools import mask as coco_mask  # noqa: E402
from rosbags.highlevel import AnyReader  # noqa: E402

from yolo_seg_node.tools.bag_messages import message_types  # noqa: E402
from yolo_seg_node.tools.cli import main  # noqa: E402
from yolo_seg_node.tools.matching import SAME_THING_IOU, histogram, mask_iou, match  # noqa: E402

CONFIG = 'demo_float.json'
FRAMES = 4
KINDS = ('lost', 'new', 'moved', 'class-changed', 'mask-changed')
Rows = List[Dict[str, Any]]


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A recording, and its results as a bag and as a summary."""
    folder = tmp_path_factory.mktemp('golden')
    bag = write_rosbag2(folder / 'bag', raw_entries(FRAMES))
    assert main(['replay', str(bag), '-o', str(folder / 'results'), '--config', CONFIG,
                 '--summary', str(folder / 'summary.json')]) == 0
    return folder


def compared(capsys, new: Path, golden: Path, *arguments: Any) -> 'tuple[int, Dict[str, int], str]':
    """Exit code, counts by kind, and the whole report."""
    code = main(['compare', str(new), str(golden), *map(str, arguments)])
    output = capsys.readouterr().out
    counts = re.search('golden detections: (.*)', output).group(1)
    found = {kind: int(number) for number, kind in
             (part.split(' ') for part in counts.split(', '))}
    return code, found, output


def planted(folder: Path, tmp_path: Path, change: Callable[[Rows], None], frame: int = 1) -> Path:
    """The golden summary after a change of the detections of one frame."""
    summary = json.loads((folder / 'summary.json').read_text())
    change(summary['frames'][frame]['detections'])
    path = tmp_path / 'planted.json'
    path.write_text(json.dumps(summary))
    return path


def lose(rows: Rows) -> None:
    del rows[0]


def add(rows: Rows) -> None:
    rows.append({**copy.deepcopy(rows[0]), 'xyxy_image': [0.0, 0.0, 9.0, 9.0]})


def move(rows: Rows) -> None:
    x1, y1, x2, y2 = rows[0]['xyxy_image']
    dx = 0.2 * (x2 - x1)  # IoU 0.8 / 1.2 = 0.67
    rows[0]['xyxy_image'] = [x1 + dx, y1, x2 + dx, y2]


def rename(rows: Rows) -> None:
    rows[0]['class_name'] = 'cone' if rows[0]['class_name'] != 'cone' else 'ball'


def erode(rows: Rows) -> None:
    mask = coco_mask.decode(rows[0]['mask'])
    smaller = cv2.erode(mask, np.ones((9, 9), np.uint8))
    encoded = coco_mask.encode(np.asfortranarray(smaller))
    rows[0]['mask'] = {'size': rows[0]['mask']['size'], 'counts': encoded['counts'].decode()}


CHANGES = {'lost': lose, 'new': add, 'moved': move, 'class-changed': rename, 'mask-changed': erode}


def test_equal_results_pass_in_both_forms(folder, capsys):
    for new in ('results', 'summary.json'):
        for golden in ('results', 'summary.json'):
            code, counts, output = compared(capsys, folder / new, folder / golden)
            assert (code, set(counts.values())) == (0, {0})
            assert 'PASSED' in output and 'least 1.0000' in output
            assert 'worst' not in output


@pytest.mark.parametrize('kind', KINDS)
def test_planted_change_is_found_and_nothing_else(kind, folder, tmp_path, capsys):
    new = planted(folder, tmp_path, CHANGES[kind])
    code, counts, output = compared(capsys, new, folder / 'summary.json')
    assert code == 1
    assert counts == {other: int(other == kind) for other in KINDS}
    stamp = json.loads(new.read_text())['frames'][1]['stamp_ns']
    worst = output.split('worst frames:\n')[1].splitlines()[0]
    assert f'stamp {stamp}: 1 {kind}' in worst
    assert f'FAILED: 1 {kind}, but 0 allowed' in output


@pytest.mark.parametrize('kind', KINDS)
def test_tolerance_in_percent_of_the_golden_detections(kind, folder, tmp_path, capsys):
    new = planted(folder, tmp_path, CHANGES[kind])
    total = sum(len(frame['detections'])
                for frame in json.loads((folder / 'summary.json').read_text())['frames'])
    for percent, code in ((100.001 / total, 0), (99.999 / total, 1)):
        assert compared(capsys, new, folder / 'summary.json', f'--allow-{kind}', percent)[0] == code


def test_limits_of_iou_decide_what_counts(folder, tmp_path, capsys):
    new = planted(folder, tmp_path, move)
    assert compared(capsys, new, folder / 'results', '--min-box-iou', 0.66)[0] == 0
    assert compared(capsys, new, folder / 'results', '--min-box-iou', 0.67)[0] == 1
    new = planted(folder, tmp_path, erode)
    assert compared(capsys, new, folder / 'results', '--min-mask-iou', 0.3)[0] == 0


def test_missing_and_extra_frames_fail(folder, tmp_path, capsys):
    summary = json.loads((folder / 'summary.json').read_text())
    del summary['frames'][2]
    shorter = tmp_path / 'shorter.json'
    shorter.write_text(json.dumps(summary))
    for new, golden, what in ((shorter, folder / 'results', 'missing'),
                              (folder / 'results', shorter, 'extra')):
        code, counts, output = compared(capsys, new, golden)
        assert (code, set(counts.values())) == (1, {0})
        assert f'1 frames are {what}' in output


def test_so_many_frames_may_be_missing_or_extra(folder, tmp_path, capsys):
    summary = json.loads((folder / 'summary.json').read_text())
    del summary['frames'][2]
    shorter = tmp_path / 'shorter.json'
    shorter.write_text(json.dumps(summary))
    for new, golden, kind, percent in (
            (shorter, folder / 'results', 'missing', 100 / FRAMES),
            (folder / 'results', shorter, 'extra', 100 / (FRAMES - 1))):
        for factor, code in ((1.001, 0), (0.999, 1)):
            assert compared(capsys, new, golden, f'--allow-{kind}-frames', factor * percent)[
                0] == code


def test_single_camera_may_have_another_name(folder, tmp_path, capsys):
    summary = json.loads((folder / 'summary.json').read_text())
    for frame in summary['frames']:
        frame['camera'] = '/robot'
    other = tmp_path / 'other.json'
    other.write_text(json.dumps(summary))
    assert compared(capsys, folder / 'results', other)[0] == 0
    summary['frames'][0]['camera'] = '/second'
    other.write_text(json.dumps(summary))
    code, _, output = compared(capsys, folder / 'results', other)
    assert code == 1 and f'{FRAMES} frames are missing' in output
    assert f'{FRAMES} frames are extra' in output


def test_results_without_a_frame_fail(tmp_path, capsys):
    path = tmp_path / 'empty.json'
    path.write_text('{"version": 1, "frames": []}')
    assert main(['compare', str(path), str(path)]) == 1
    assert 'no frame to compare' in capsys.readouterr().out


def test_replay_compares_and_draws_the_worst_frames(folder, tmp_path, capsys):
    golden = planted(folder, tmp_path, add, frame=2)
    out = tmp_path / 'new'
    code = main(['replay', str(folder / 'bag'), '-o', str(out), '--config', CONFIG,
                 '--compare', str(golden)])
    output = capsys.readouterr().out
    stamp = json.loads(golden.read_text())['frames'][2]['stamp_ns']
    path = tmp_path / 'new_worst' / f'camera_{stamp}.png'
    assert code == 1 and f'picture: {path}' in output
    picture = cv2.imread(str(path))
    assert picture.shape[1] == 2 * 480 and picture.shape[0] > 360
    # The planted detection is a box at the corner of the golden half alone.
    corner = picture[-360:][:9]
    assert np.abs(corner[:, :9].astype(int) - corner[:, 480:489]).max() > 40


def test_replay_that_equals_its_golden_results_passes(folder, tmp_path):
    assert main(['replay', str(folder / 'bag'), '-o', str(tmp_path / 'new'), '--config', CONFIG,
                 '--compare', str(folder / 'summary.json')]) == 0
    assert not (tmp_path / 'new_worst').exists()


@pytest.mark.parametrize('text', [
    '', '[]', '{"version": 1}', '{"version": 2, "frames": []}',
    '{"version": 1, "frames": [{"camera": "", "stamp_ns": 1, "repeat": 0, "detections": [3]}]}',
    '{"version": 1, "frames": [{"camera": "", "stamp_ns": 1, "repeat": 0, "detections": [{"score": 1,'
    ' "class_name": "box", "xyxy_image": [0, 0, 1, 1], "mask": {"size": [2, 2]}}]}]}'])
def test_what_is_no_summary_is_refused(text, folder, tmp_path, capsys):
    path = tmp_path / 'other.json'
    path.write_text(text)
    assert main(['compare', str(path), str(folder / 'results')]) == 2
    assert 'is no summary of a replay' in capsys.readouterr().err


def test_bag_without_results_is_refused(folder, capsys):
    assert main(['compare', str(folder / 'bag'), str(folder / 'results')]) == 2
    assert 'has no results' in capsys.readouterr().err


def test_bag_with_a_torn_message_is_refused(folder, tmp_path, capsys):
    types = message_types()
    with AnyReader([folder / 'results'], default_typestore=types) as bag, \
            rosbags.rosbag2.Writer(tmp_path / 'torn', version=8) as writer:
        connections = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=types)
                       for c in bag.connections}
        for connection, log_ns, data in bag.messages():
            writer.write(connections[connection.topic], log_ns, data[:len(data) // 2])
    assert main(['compare', str(tmp_path / 'torn'), str(folder / 'results')]) == 2
    error = capsys.readouterr().err
    assert 'of bag torn cannot be read as results' in error and 'Traceback' not in error


def test_masks_of_two_resolutions_are_refused(folder, tmp_path, capsys):
    def shrink(rows: Rows) -> None:
        small = coco_mask.encode(np.zeros((90, 120), np.uint8, order='F'))
        for row in rows:
            row['mask'] = {'size': [90, 120], 'counts': small['counts'].decode()}
    new = planted(folder, tmp_path, shrink)
    assert main(['compare', str(new), str(folder / 'results')]) == 2
    assert 'Masks of 120x90 cannot be compared with golden ones of 480x360' in (
        capsys.readouterr().err)


@given(st.data())
def test_matching_is_greedy_by_class_and_overlap(data):
    """Against the rule spelled out: take the best pair that is left, again and again."""
    n, m = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
    values = data.draw(st.lists(st.integers(0, 1000), min_size=n * m, max_size=n * m, unique=True))
    iou = np.array(values, float).reshape(n, m) / 1000
    names, golden = (data.draw(st.lists(st.sampled_from('ab'), min_size=k, max_size=k))
                     for k in (n, m))
    wanted, left = [], {(i, j) for i in range(n) for j in range(m) if iou[i, j] >= SAME_THING_IOU}
    while left:
        best = max(left, key=lambda p: (names[p[0]] == golden[p[1]], iou[p]))
        wanted.append(best)
        left = {p for p in left if p[0] != best[0] and p[1] != best[1]}
    assert match(iou, names, golden) == wanted


def test_mask_iou_is_common_over_joint_pixels():
    noise = np.random.default_rng(2)
    a, b = (noise.random((13, 17)) < 0.4 for _ in range(2))
    encoded = [coco_mask.encode(np.asfortranarray(m, np.uint8)) for m in (a, b)]
    assert mask_iou(*encoded) == pytest.approx((a & b).sum() / (a | b).sum())
    nothing = coco_mask.encode(np.zeros((13, 17), np.uint8, order='F'))
    assert mask_iou(nothing, nothing) == 1.0
    assert mask_iou(nothing, encoded[0]) == 0.0


def test_histogram_counts_every_value_once():
    values = [0.0, 0.49, 0.5, 0.9, 0.949, 0.95, 0.9991, 1.0]
    counts = [int(line.split()[3]) for line in histogram(values)]
    assert counts == [2, 1, 0, 2, 1, 0, 2]
