"""A long run: nodes with worker threads and with worker processes, two cameras each, and faults.

Each fault must pass within ``RECOVERY_SECS``. At the end the run fails if the memory of a node has
grown after the warm-up, if a picture was in no counter or in two, if a result came twice or out of
order, or if results came late.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test'), str(ROOT / 'test' / 'ros')]

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from fake_sdks import FAKES, work_values, write_board_file  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from ros_camera import CameraProcess  # noqa: E402
from ros_harness import (  # noqa: E402
    NodeProcess, Observer, private_domain, stamp_of, until, values_of)
from ros_pictures import compressed, picture, scene  # noqa: E402
from ros_process import members, memory_bytes  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

RAW, JPEG = 'front/image_raw', 'rear/image_raw/compressed'
KINDS = {RAW: 'Image', JPEG: 'CompressedImage'}
PERIOD_SECS = 0.125
LIMIT_SECS = 2.0
RECOVERY_SECS = 60
CALM_SECS = 1.0
# Models that are opened again and again fill the gaps of the heap first. What is then allocated
# after this share of the run is a leak.
WARM_UP_ROUNDS = 12
WARM_UP_SHARE = 0.25
MAX_GROWTH = 1.02
MAX_LAG = 1.5
FINAL_SECS = 5.0


class Stream:
    """The results of one camera, as they come."""

    def __init__(self) -> None:
        self.count, self.newest_ns, self.disorders = 0, 0, 0

    def take(self, message: Detection2DArray) -> None:
        """Note a result."""
        self.disorders += stamp_of(message) <= self.newest_ns
        self.count, self.newest_ns = self.count + 1, stamp_of(message)

    def is_newer(self, stamp_ns: int) -> bool:
        """Whether there is a result of a picture after a time."""
        return self.newest_ns > stamp_ns


class Report(NamedTuple):
    """One second of one camera; ages and the inference are medians."""

    age_ms: float
    infer_ms: float


class Subject:
    """A node in the long run."""

    def __init__(self, observer: Observer, camera: CameraProcess, node: NodeProcess,
                 trouble: Path) -> None:
        self.observer, self.camera, self.node, self.trouble = observer, camera, node, trouble
        self.streams = {topic: Stream() for topic in KINDS}
        self.reports: List[Report] = []
        self.counters: Dict[str, Dict[str, int]] = {}
        self.miscounted: List[Dict[str, int]] = []
        self.memory: List[int] = []
        self.faults = 0
        node.wait_output('Subscribed to')
        for topic, stream in self.streams.items():
            observer.node.create_subscription(
                Detection2DArray, node.topic(f'{topic.partition("/")[0]}/detections'), stream.take,
                QoSProfile(depth=100))
            self.open(topic)
        observer.node.create_subscription(
            DiagnosticArray, '/diagnostics', self._take_report, QoSProfile(depth=100))

    def open(self, topic: str) -> None:
        """Switch a camera on; every third JPEG is torn."""
        self.camera.open(self.node.topic(topic), KINDS[topic])
        bgr = scene()[0][0]
        jpeg = compressed(bgr)
        torn = {**jpeg, 'data': jpeg['data'][:len(jpeg['data']) // 2]}
        self.camera.start_stream(self.node.topic(topic), PERIOD_SECS,
                                 [jpeg, jpeg, torn] if topic == JPEG else [picture(bgr)])

    def close(self, topic: str) -> None:
        """Switch a camera off."""
        self.camera.stop_stream(self.node.topic(topic))
        self.camera.stop(self.node.topic(topic))

    def _take_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f'{self.node.namespace[1:]}/yolo_seg: camera '):
                self._check(status.hardware_id, values_of(status))

    def _check(self, topic: str, values: Dict[str, str]) -> None:
        names = ('received', 'published', 'dropped', 'refused', 'in_flight')
        counters = {name: int(values[name]) for name in names}
        if counters['received'] != sum(counters[name] for name in names[1:]):
            self.miscounted.append(counters)
        self.counters[topic] = counters
        if 'infer_ms' in values:
            self.reports.append(Report(float(values['age_p50_ms']), float(values['infer_ms'])))

    def wait_results(self) -> None:
        """Wait until pictures that are taken from now on have results, from both cameras."""
        now_ns = time.time_ns()
        for topic, stream in self.streams.items():
            until(partial(stream.is_newer, now_ns), f'results of {topic}', RECOVERY_SECS)

    def workers(self) -> List[int]:
        """Process ids of its worker processes."""
        return [pid for pid in members(self.node.process.pid)
                if b'spawn_main' in Path(f'/proc/{pid}/cmdline').read_bytes()]


def kill_worker(subject: Subject) -> None:
    os.kill(random.choice(subject.workers()), signal.SIGKILL)


def hang(subject: Subject) -> None:
    subject.trouble.write_text('hang')
    until(lambda: not subject.trouble.exists(), 'an inference that hangs')


def fail(subject: Subject) -> None:
    subject.trouble.write_text('raise')
    time.sleep(2 * PERIOD_SECS)
    subject.trouble.unlink()


def change_parameters(subject: Subject) -> None:
    for value in [1, 300] * 5:
        assert subject.observer.set(subject.node, max_detections=value) == ''


def lose_camera(subject: Subject) -> None:
    for topic in KINDS:
        subject.close(topic)
    for topic in KINDS:
        subject.open(topic)


def reactivate(subject: Subject) -> None:
    transit(subject, 'deactivate', 'activate')


def reconfigure(subject: Subject) -> None:
    transit(subject, 'deactivate', 'cleanup', 'configure', 'activate')


def transit(subject: Subject, *transitions: str) -> None:
    for transition in transitions:
        assert subject.observer.change_state(subject.node, transition), transition


Fault = Callable[[Subject], None]
FAULTS: List[Fault] = [change_parameters, lose_camera, reactivate, reconfigure]
BOARD_FAULTS: List[Fault] = [kill_worker, hang, fail]


def start(folder: Path, observer: Observer, camera: CameraProcess) -> Dict[str, Subject]:
    """The nodes, by the kind of their workers."""
    trouble = folder / 'trouble'
    board = folder / 'board.json'
    model = write_board_file(folder / 'toy.hbm', 'x5', trouble=str(trouble))
    board.write_text(json.dumps(work_values(model, task_num=2)))
    os.environ['PYTHONPATH'] = os.pathsep.join([str(FAKES / 'hbm_runtime_sdk'), str(FAKES)])
    configs = {'threads': 'demo_float.json', 'processes': str(board)}
    nodes = {kind: NodeProcess(folder / f'{kind}.txt', f'/soak_{kind}', {
        'config_file': config, 'image_topics': list(KINDS), 'max_inference_secs': LIMIT_SECS})
        for kind, config in configs.items()}
    return {kind: Subject(observer, camera, node, trouble) for kind, node in nodes.items()}


def warm_up(subjects: Dict[str, Subject]) -> None:
    """What takes the most memory, over and over again."""
    for subject in subjects.values():
        for _ in range(WARM_UP_ROUNDS):
            reconfigure(subject)
            subject.wait_results()


def run(subjects: Dict[str, Subject], end_secs: float) -> None:
    """One fault after the other, in turn for each node, and a look at it when it has passed."""
    turns = [(subject, itertools.cycle(FAULTS + BOARD_FAULTS * (kind == 'processes')))
             for kind, subject in subjects.items()]
    for subject, faults in itertools.cycle(turns):
        if time.monotonic() > end_secs:
            return
        next(faults)(subject)
        subject.faults += 1
        subject.wait_results()
        time.sleep(CALM_SECS)
        subject.memory.append(memory_bytes(subject.node.process.pid))


def finish(subject: Subject) -> List[str]:
    """A last while without faults, in which results are counted from outside too; problems."""
    for topic in KINDS:
        subject.close(topic)
    reactivate(subject)
    before = {topic: stream.count for topic, stream in subject.streams.items()}
    for topic in KINDS:
        subject.open(topic)
    time.sleep(FINAL_SECS)
    for topic in KINDS:
        subject.close(topic)
    subject.counters.clear()
    until(lambda: len(subject.counters) == len(KINDS) and not any(
        counters['in_flight'] for counters in subject.counters.values()), 'the last report')
    seen = {subject.node.topic(topic): stream.count - before[topic]
            for topic, stream in subject.streams.items()}
    told = {topic: counters['published'] for topic, counters in subject.counters.items()}
    problems = [] if seen == told else [f'results seen {seen}, but told {told}']
    if subject.node.stop() != 0:
        problems.append('the node did not end well')
    if 'Traceback' in subject.node.output:
        problems.append('the node says Traceback')
    return problems


def judge(subject: Subject) -> List[str]:
    """Problems of the whole run, after a line of figures."""
    memory = subject.memory[int(len(subject.memory) * WARM_UP_SHARE):]
    third = max(1, len(memory) // 3)
    first, last = median(memory[:third]), median(memory[-third:])
    ages, inferences = zip(*subject.reports)
    bound_ms = MAX_LAG * (median(inferences) + 2e3 * PERIOD_SECS)
    late_ms = median(ages[-len(ages) // 3:])
    results = sum(stream.count for stream in subject.streams.values())
    print(f'  {results} results, {subject.faults} faults, memory {first / 1e6:.1f} -> '
          f'{last / 1e6:.1f} MB ({100 * (last / first - 1):+.2f} %), age {median(ages):.1f} ms, '
          f'at the end {late_ms:.1f} ms (bound {bound_ms:.1f} ms)')
    problems = [f'miscounted: {counters}' for counters in subject.miscounted[:3]]
    disorders = sum(stream.disorders for stream in subject.streams.values())
    if disorders:
        problems.append(f'{disorders} results came twice or out of order')
    if last > MAX_GROWTH * first:
        problems.append('the memory grows')
    if late_ms > bound_ms:
        problems.append('results come late')
    return problems


def main() -> int:
    """Run it; 1 when there is a problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=3)
    minutes = parser.parse_args().minutes
    os.environ['ROS_DOMAIN_ID'] = str(private_domain())
    camera, observer = CameraProcess(), Observer()
    subjects: Dict[str, Subject] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            subjects.update(start(Path(folder), observer, camera))
            warm_up(subjects)
            run(subjects, time.monotonic() + 60 * minutes)
            return int(any([tell(kind, subject) for kind, subject in subjects.items()]))
    finally:
        for subject in subjects.values():
            subject.node.stop()
        observer.close()
        camera.close()


def tell(kind: str, subject: Subject) -> bool:
    """Print how a node did; whether there is a problem."""
    print(f'node with worker {kind}:')
    problems = finish(subject) + judge(subject)
    for problem in problems:
        print(f'  PROBLEM: {problem}')
    return bool(problems)


if __name__ == '__main__':
    sys.exit(main())
