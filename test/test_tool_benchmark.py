"""The benchmark: its arithmetic, its sources, and whole runs of it; no time is ever asserted."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict

import cv2
import numpy as np
import pytest

pytest.importorskip('rosbags', reason='these tests need the extra "replay"')

from bags_factory import SAMPLE_BAG, raw_entry, scene, write_rosbag2  # noqa: E402
from fake_sdks import installed, work_values, write_board_file  # noqa: E402

from yolo_seg_node.config import find_work_config, load_work_config  # noqa: E402
from yolo_seg_node.drawing import class_colour  # noqa: E402
from yolo_seg_node.errors import InferenceError  # noqa: E402
from yolo_seg_node.frame import frame_from_bgr  # noqa: E402
from yolo_seg_node.model_input import Preprocessor  # noqa: E402
from yolo_seg_node.pipeline import Pipeline  # noqa: E402
from yolo_seg_node.tools.benchmark_plot import write_plot  # noqa: E402
from yolo_seg_node.tools.benchmark_report import COLUMNS, STAGES, spread_ms  # noqa: E402
from yolo_seg_node.tools.benchmark_run import Measured, cpu_secs, measure  # noqa: E402
from yolo_seg_node.tools.benchmark_sources import MAX_PICTURES, read_source  # noqa: E402
from yolo_seg_node.tools.cli import main  # noqa: E402
from yolo_seg_node.tools.errors import ToolError  # noqa: E402

CONFIG = 'demo_float.json'
ROOT = Path(__file__).parents[1]
TIMEOUT_SECS = 60
MEASURE_TWO_CAMERAS = f"""
import json
from yolo_seg_node.config import find_work_config
from yolo_seg_node.tools.benchmark_node import measure_node
from yolo_seg_node.tools.benchmark_sources import read_source
config = str(find_work_config('{CONFIG}'))
print(json.dumps(measure_node(config, read_source('bgr8:64x48'), 5, 20, 3, cameras=2)))
"""


def benchmark(*arguments: Any) -> int:
    return main(['benchmark', '--config', CONFIG, *map(str, arguments)])


def values_of(capsys) -> Dict[str, Any]:
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope='module')
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('picture') / 'scene.png'
    cv2.imwrite(str(path), scene()[0])
    return path


def is_rising(spread: Dict[str, float]) -> bool:
    ordered = [spread[name] for name in ('min', 'p50', 'p90', 'p99', 'max')]
    return ordered == sorted(ordered) and spread['min'] <= spread['avg'] <= spread['max']


def test_whole_frames_on_several_workers(picture, capsys):
    assert benchmark('--source', picture, '--workers', '1,2', '--frames', 12, '--warm-up', 3,
                     '--json') == 0
    values = values_of(capsys)
    assert values['runtime'] == 'onnxruntime CPUExecutionProvider'
    assert (values['frames'], values['warm_up_frames']) == (12, 3)
    assert values['machine']['cpus'] == len(os.sched_getaffinity(0))
    assert [run['workers'] for run in values['runs']] == [1, 2]
    for run in values['runs']:
        assert list(run['stages_ms']) == ['receive', 'preprocess', 'infer', 'decode', 'masks']
        assert all(map(is_rising, [run['latency_ms'], *run['stages_ms'].values()]))
        # The stages are parts of the frame.
        parts = sum(spread['avg'] for spread in run['stages_ms'].values())
        assert parts <= run['latency_ms']['avg'] + 0.01
        assert run['detections_per_frame'] == 5  # as many as there are in the scene
        assert run['warm_up_ms']['first'] >= run['warm_up_ms']['min'] > 0
        assert run['frames_per_second'] > 0 and run['cpu_ms_per_frame'] > 0


def test_recorded_heads_are_decoded_alone(tmp_path, capsys):
    pipeline = Pipeline.open(load_work_config(find_work_config(CONFIG)))
    frame = frame_from_bgr(scene()[0])
    arrays, _ = Preprocessor(pipeline.runtime.input_format).prepare(frame)
    np.savez(tmp_path / 'heads.npz', **{
        f'output_{i}': a for i, a in enumerate(pipeline.runtime.infer(arrays))})
    shipped = find_work_config(CONFIG)
    config = tmp_path / 'recorded.json'
    config.write_text(json.dumps({**json.loads(shipped.read_text()), 'input_size': [320, 320],
                                  'model_file': 'absent.onnx'}))
    assert main(['benchmark', '--config', str(config), '--tensors', str(tmp_path / 'heads.npz'),
                 '--image-size', '480x360', '--frames', '20', '--json']) == 0
    values = values_of(capsys)
    run, = values['runs']
    assert list(run['stages_ms']) == ['decode', 'masks']
    assert run['detections_per_frame'] == len(pipeline.process(frame).detections)
    assert values['source'] == 'heads.npz for 480x360'


def test_worker_processes_of_a_board_are_measured_too(picture, tmp_path, capsys):
    config = tmp_path / 'board.json'
    with installed('hobot_dnn'):
        model = write_board_file(tmp_path / 'toy.bin', 'x5')
        config.write_text(json.dumps(work_values(model, runtime='hobot_dnn')))
        assert main(['benchmark', '--config', str(config), '--source', str(picture), '--workers',
                     '2', '--frames', '6', '--warm-up', '2', '--json']) == 0
    values = values_of(capsys)
    run, = values['runs']
    assert 'hobot_dnn' in values['runtime'] and run['workers'] == 2
    assert list(run['stages_ms']) == ['receive', 'preprocess', 'infer', 'decode', 'masks']
    assert all(spread['min'] > 0 for spread in run['stages_ms'].values())


def test_table_names_machine_stages_and_columns(picture, tmp_path, capsys):
    assert benchmark('--source', picture, '--frames', 4, '--plot', tmp_path / 'plot.png') == 0
    output = capsys.readouterr().out
    for word in (*COLUMNS, 'frames/s', 'preprocess', 'infer', 'onnxruntime', '4 frames after 10'):
        assert word in output
    assert cv2.imread(str(tmp_path / 'plot.png')).shape[1] == 900


def test_spread_is_that_of_the_sorted_values():
    durations = list(np.random.default_rng(3).permutation(101) * 1_000_000)
    assert spread_ms(durations) == {'avg': 50, 'min': 0, 'p50': 50, 'p90': 90, 'p99': 99,
                                    'max': 100}


@pytest.mark.parametrize('workers', [1, 3])
def test_every_frame_is_measured_once_and_warm_up_stands_apart(workers):
    calls: Counter = Counter()
    lock = threading.Lock()

    def process(index: int) -> Measured:
        with lock:
            calls[index] += 1
        return Measured({'infer': index}, 0)

    run = measure(process, workers, 50, 7)
    assert calls == Counter([*range(7), *range(50)])
    assert sorted(frame.stages_ns['infer'] for frame in run.frames) == list(range(50))
    assert (len(run.latency_ns), len(run.warm_up_ns)) == (50, 7)
    assert run.elapsed_secs >= max(run.latency_ns) / 1e9


def test_workers_work_at_the_same_time():
    together = threading.Barrier(2, timeout=TIMEOUT_SECS)

    def process(_: int) -> Measured:
        together.wait()  # only passed when two frames are under way
        return Measured({}, 0)

    assert len(measure(process, 2, 8, 2).frames) == 8


def test_failure_of_a_worker_is_the_failure_of_the_benchmark():
    def process(index: int) -> Measured:
        if index == 3:
            raise InferenceError('The model failed.')
        return Measured({}, 0)

    with pytest.raises(InferenceError):
        measure(process, 2, 8, 1)


def test_cpu_time_of_worker_processes_is_counted():
    before_secs = cpu_secs()
    with subprocess.Popen([sys.executable, '-c', 'while True: pass']) as child:
        try:
            end = time.monotonic() + TIMEOUT_SECS
            own_secs = time.process_time()
            while cpu_secs() - before_secs < 0.5 + (time.process_time() - own_secs):
                assert time.monotonic() < end, 'the CPU time of the child does not appear'
                time.sleep(0.02)
        finally:
            child.kill()


@pytest.mark.parametrize(('encoding', 'size_wh', 'size'), [
    ('nv12', (64, 48), 64 * 48 * 3 // 2), ('bgr8', (63, 47), 63 * 47 * 3)])
def test_made_picture_has_its_size(encoding, size_wh, size):
    text = '{}:{}x{}'.format(encoding, *size_wh)
    source, = read_source(text)
    frame = source.frame()
    assert (frame.encoding, frame.size_wh) == (encoding, size_wh)
    assert source.data.size == size and source.data.std() > 0
    assert np.array_equal(source.data, read_source(text)[0].data)


def test_picture_file_is_decoded_every_time(picture):
    source, = read_source(str(picture))
    assert source.raw is None
    assert np.array_equal(source.frame().bgr(), scene()[0])


def test_bag_gives_the_pictures_of_its_first_camera(tmp_path):
    assert len(read_source(str(SAMPLE_BAG))) == 30
    frames = scene()
    entries = [raw_entry(i, frames[i % 8]) for i in range(MAX_PICTURES + 3)]
    entries[1] = raw_entry(1, frames[1], encoding='16UC1')
    found = read_source(str(write_rosbag2(tmp_path / 'bag', entries)))
    assert len(found) == MAX_PICTURES - 1
    assert np.array_equal(found[1].frame().bgr(), frames[2])


@pytest.mark.parametrize(('source', 'sentence'), [
    ('nv12:63x48', 'NV12 has even sizes'),
    ('nv12:big', "'big' is no size"),
    ('bgr8:big', "'big' is no size"),
    ('/nowhere', 'There is no bag /nowhere'),
    ('broken.png', 'cannot be read as a bag|No picture of'),
    ('depth', 'No picture of .*depth can be used'),
])
def test_bad_source_is_told(source, sentence, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'\x89PNG\r\n\x1a\n and nothing else')
    write_rosbag2(tmp_path / 'depth', [raw_entry(0, scene()[0], encoding='16UC1')])
    with pytest.raises(ToolError, match=sentence):
        read_source(source if source.startswith(('nv12', 'bgr8', '/')) else str(tmp_path / source))


@pytest.mark.parametrize(('arguments', 'sentence'), [
    (['--tensors', 'heads.npz'], '--tensors and --image-size go together'),
    (['--image-size', '64x48'], '--tensors and --image-size go together'),
    (['--tensors', '/nowhere.npz', '--image-size', '64x48'], 'there is no such file'),
    (['--node', '--workers', '1,2'], 'do not go with it'),
])
def test_arguments_that_do_not_go_together(arguments, sentence, capsys):
    assert benchmark(*arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize('workers', ['', '0', '1,,2', 'two'])
def test_bad_worker_counts_are_refused(workers):
    with pytest.raises(SystemExit) as refused:
        benchmark('--workers', workers)
    assert refused.value.code == 2


def test_bars_are_as_long_as_their_stages(tmp_path):
    def run(workers: int, infer: float, decode: float) -> Dict[str, Any]:
        return {'workers': workers, 'frames_per_second': 1.0, 'latency_ms': {'avg': 1, 'p99': 2},
                'stages_ms': {'infer': {'avg': infer}, 'decode': {'avg': decode}}}

    write_plot(tmp_path / 'plot.png', {
        'config': 'a', 'source': 'b', 'machine': {'board': 'c'},
        'runs': [run(1, 20.0, 10.0), run(2, 40.0, 5.0)]})
    drawn = cv2.imread(str(tmp_path / 'plot.png'))
    lengths = {(i, stage): int((drawn[80 + 56 * i] == class_colour(STAGES.index(stage))).all(
        axis=1).sum()) for i in range(2) for stage in ('infer', 'decode')}
    unit = lengths[0, 'infer'] / 20
    assert unit > 5
    for key, ms in {(0, 'decode'): 10, (1, 'infer'): 40, (1, 'decode'): 5}.items():
        assert abs(lengths[key] - ms * unit) <= 2, key


def test_plot_that_cannot_be_written_is_told(picture, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert benchmark('--source', picture, '--frames', 1, '--plot', tmp_path / 'file' / 'p.png') == 2
    assert 'cannot be written' in capsys.readouterr().err


def ros_environment() -> Dict[str, str]:
    return {**os.environ, 'ROS_DOMAIN_ID': str(100 + os.getpid() % 100),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}


def test_node_is_measured_from_publishing_to_the_result(picture):
    pytest.importorskip('rclpy', reason='the node needs ROS 2')
    done = subprocess.run(
        [sys.executable, '-m', 'yolo_seg_node.tools.cli', 'benchmark', '--config', CONFIG,
         '--source', str(picture), '--node', '--rate', '10', '--frames', '20', '--warm-up', '3',
         '--json'], cwd=ROOT, capture_output=True, text=True,
        env=ros_environment())
    assert done.returncode == 0, done.stderr
    node = json.loads(done.stdout)['node']
    assert node['sent'] == 20 and 0 < node['results'] <= 20
    assert node['results'] + node['lost_before_node'] + node['dropped'] + node['refused'] <= 20
    assert set(node['stages_ms']) == set(STAGES)
    assert is_rising(node['age_ms']) and node['age_ms']['min'] > 0
    assert node['cpu_ms_per_frame'] > 0


def test_cameras_take_turns_and_their_results_are_counted_together():
    pytest.importorskip('rclpy', reason='the node needs ROS 2')
    done = subprocess.run([sys.executable, '-c', MEASURE_TWO_CAMERAS], cwd=ROOT, text=True,
                          capture_output=True, env=ros_environment())
    assert done.returncode == 0, done.stderr
    node = json.loads(done.stdout)
    assert node['sent'] == 20 and node['lost_before_node'] <= 4
    # More than either camera alone can have given.
    assert 10 < node['results'] <= 20


def test_node_of_a_broken_model_is_told_at_once(tmp_path, capsys):
    pytest.importorskip('rclpy', reason='the node needs ROS 2')
    (tmp_path / 'broken.onnx').write_bytes(b'no model')
    config = json.loads(find_work_config(CONFIG).read_text())
    (tmp_path / 'broken.json').write_text(json.dumps({**config, 'model_file': 'broken.onnx'}))
    assert main(['benchmark', '--config', str(tmp_path / 'broken.json'), '--node']) == 2
    assert 'broken.onnx' in capsys.readouterr().err
