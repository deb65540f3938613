"""More than ten times as many pictures as the model can do, with workers of both kinds."""

import json
from statistics import median
from typing import Dict, List, NamedTuple

import numpy as np
import pytest
from fake_sdks import FAKES, work_values, write_board_file
from ros_harness import Rig, until, values_of
from ros_pictures import picture
from ros_process import memory_bytes
from vision_msgs.msg import Detection2DArray

TOPIC = 'image_raw'
# An inference takes HOLD_MS and what the demo model needs.
HOLD_MS, PERIOD_SECS = 200, 0.02
WARM_UP_RESULTS, RESULTS = 8, 24
SMALL = picture(np.full((48, 64, 3), 128, np.uint8))


class Run(NamedTuple):
    """What was seen: reports of each second before the stream ended, and the one after it.

    :ivar unseen: results before those.
    """

    sent: List[int]
    unseen: int
    results: List[int]
    reports: List[Dict[str, str]]
    last: Dict[str, str]
    memory: List[int]


@pytest.fixture(scope='module', params=['x5', 's100'])
def run(request, start_node, observer, camera, tmp_path_factory):
    """Workers are a process on X5 and a thread on S100."""
    folder = tmp_path_factory.mktemp('board')
    config = folder / 'work.json'
    config.write_text(json.dumps(work_values(
        write_board_file(folder / 'toy.hbm', request.param, hold_ms=HOLD_MS))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', f'{FAKES / "hbm_runtime_sdk"}:{FAKES}')
        node = start_node(config_file=str(config), image_topics=[TOPIC])
    rig = Rig(observer, camera, node)
    rig.subscribe(detections=Detection2DArray)
    camera.open(node.topic(TOPIC))
    observer.watch_diagnostics()
    rig.warm_up(TOPIC, SMALL, ['detections'])
    return overload(rig)


def overload(rig):
    topic, camera = rig.node.topic(TOPIC), rig.node.namespace.strip('/')
    # Reports are collected from here on.
    unseen = rig.unseen(camera, 'detections')
    before = len(rig.stamps('detections'))

    def wait_results(count):
        rig.observer.wait(rig.node.topic('detections'),
                          lambda _: len(rig.stamps('detections')) >= before + count)

    full_name = f'{camera}/yolo_seg: camera {camera}'

    def reports():
        return [values_of(status) for message in rig.observer.messages('/diagnostics')
                for status in message.status if status.name == full_name]

    rig.camera.start_stream(topic, PERIOD_SECS, [SMALL])
    wait_results(WARM_UP_RESULTS)
    memory = []
    for count in range(WARM_UP_RESULTS + 1, WARM_UP_RESULTS + RESULTS + 1):
        wait_results(count)
        memory.append(memory_bytes(rig.node.process.pid))
    # The first is about pictures before the stream, and the next may have none.
    during = [report for report in reports()[1:] if 'infer_ms' in report]
    sent = rig.camera.stop_stream(topic)
    rig.observer.wait('/diagnostics', lambda _: reports()[-1]['in_flight'] == '0')
    last = reports()[-1]
    published = int(last['published']) - unseen
    until(lambda: len(rig.stamps('detections')) >= published, 'all results')
    return Run(sent, unseen, rig.stamps('detections'), during, last, memory)


def count(report, *names):
    return sum(int(report[name]) for name in names)


def test_it_is_an_overload(run):
    """Ten times as many pictures as inferences, and nearly all of them reach the node."""
    inference_ms = median(float(report['infer_ms']) for report in run.reports)
    assert inference_ms * 1e6 > 9 * median(np.diff(run.sent))
    assert count(run.last, 'received') > 0.8 * len(run.sent)
    assert count(run.last, 'dropped') > 7 * count(run.last, 'published')


def test_results_are_not_late(run):
    """In times of the same run. A single stall of the machine does not count, a lag would."""
    period_ms = median(np.diff(run.sent)) / 1e6
    bounds_ms = [1.5 * (float(report['infer_ms']) + 2 * period_ms) for report in run.reports]
    typical_ms, oldest_ms = (np.array([float(report[f'age_{key}_ms']) for report in run.reports])
                             for key in ('p50', 'max'))
    assert len(run.reports) >= RESULTS * HOLD_MS / 2000
    assert (typical_ms < bounds_ms).all()
    assert (oldest_ms < bounds_ms).mean() >= 0.7


def test_every_picture_is_in_one_counter(run):
    for report in [*run.reports, run.last]:
        assert count(report, 'received') == count(
            report, 'published', 'dropped', 'refused', 'in_flight')
    assert count(run.last, 'published') - run.unseen == len(run.results)
    assert run.last['refused'] == '0'


def test_results_are_in_order_and_none_is_there_twice(run):
    assert run.results == sorted(set(run.results))
    assert set(run.results[-RESULTS:]) < set(run.sent)


def test_memory_is_flat(run):
    """The figures of the first and the last third, each as steady as a median."""
    third = RESULTS // 3
    assert median(run.memory[-third:]) < 1.02 * median(run.memory[:third])
