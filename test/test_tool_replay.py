"""Replay: every picture of a bag through the model, results as the node would publish them."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import cv2
import numpy as np
import pytest

pytest.importorskip('rosbags', reason='these tests need the extra "replay"')

import yaml  # noqa: E402
from bags_factory import (  # noqa: E402
    PERIOD_NS, RECORDING_DELAY_NS, SAMPLE_BAG, SAMPLE_TRUTH, START_NS, TOPIC, compressed_entry, cut,
    png_entry, raw_entries, raw_entry, scene, write_mcap, write_rosbag1, write_rosbag2)
from fake_sdks import MODELS, work_values  # noqa: E402
from mcap.reader import make_reader  # noqa: E402
from mcap.writer import CompressionType  # noqa: E402
from mcap_ros2.decoder import DecoderFactory  # noqa: E402
from pycocotools import mask as coco_mask  # noqa: E402
from rosbags.rosbag2 import StoragePlugin  # noqa: E402

from yolo_seg_node.config import find_work_config, load_work_config  # noqa: E402
from yolo_seg_node.frame import frame_from_bgr  # noqa: E402
from yolo_seg_node.pipeline import Pipeline  # noqa: E402
from yolo_seg_node.tools.bag_messages import MessageBuilder  # noqa: E402
from yolo_seg_node.tools.cli import main  # noqa: E402
from yolo_seg_node.tools.results import read_results  # noqa: E402

CONFIG = 'demo_float.json'
NAMES = ['box', 'ball', 'cone', 'cylinder']
LEAST_IOU = 0.8
ROOT = Path(__file__).parents[1]


def replay(bag: Path, out: Path, *arguments: Any) -> int:
    return main(['replay', str(bag), '-o', str(out), '--config', CONFIG, *map(str, arguments)])


def storage(bag: Path) -> Path:
    return bag / f'{bag.name}.mcap'


def decoded(bag: Path) -> Dict[str, List[Any]]:
    """(log time, message) by topic, by readers that have nothing to do with this package."""
    messages: Dict[str, List[Any]] = {}
    with storage(bag).open('rb') as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, message, fields in reader.iter_decoded_messages():
            messages.setdefault(channel.topic, []).append((message.log_time, fields))
    return messages


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def xyxy(detection: Any) -> np.ndarray:
    centre, box = detection.bbox.center.position, detection.bbox
    return np.array([centre.x - box.size_x / 2, centre.y - box.size_y / 2,
                     centre.x + box.size_x / 2, centre.y + box.size_y / 2])


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def pixels(image: Any) -> np.ndarray:
    assert (image.encoding, image.step) == ('mono8', image.width)
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width)


@pytest.fixture(scope='module')
def sample(tmp_path_factory) -> Path:
    """Results of the sample bag."""
    out = tmp_path_factory.mktemp('sample') / 'results'
    assert replay(SAMPLE_BAG, out) == 0
    return out


@pytest.fixture(scope='module')
def golden(tmp_path_factory) -> Dict[Any, Any]:
    """Results of 16 raw pictures."""
    folder = tmp_path_factory.mktemp('golden')
    assert replay(write_rosbag2(folder / 'bag', raw_entries(16)), folder / 'out') == 0
    return read_results(folder / 'out')[0]


def same(results: Dict[Any, Any], wanted: Dict[Any, Any]) -> bool:
    """Equal to the last bit, frame by frame."""
    return list(results) == list(wanted) and all(
        a.class_names == b.class_names and a.masks == b.masks and np.array_equal(a.score, b.score)
        and np.array_equal(a.xyxy_image, b.xyxy_image)
        for a, b in zip(results.values(), wanted.values()))


@pytest.mark.parametrize('camera', ['/camera', '/camera_bgr'])
def test_results_of_the_sample_bag_are_its_ground_truth(sample, camera):
    messages = decoded(sample)
    arrays = messages[f'{camera}/detections']
    instances = messages[f'{camera}/instance_mask']
    classes = messages[f'{camera}/class_mask']
    truth = json.loads(SAMPLE_TRUTH.read_text())['frames'][:len(arrays)]
    assert len(arrays) == len(instances) == len(classes) == (30 if camera == '/camera' else 8)
    for frame, (log_ns, array), (_, instance), (_, kind) in zip(truth, arrays, instances, classes):
        assert log_ns == stamp_ns(array) == stamp_ns(instance) == stamp_ns(kind)
        assert log_ns == frame['stamp_ns']
        assert array.header.frame_id == instance.header.frame_id == 'camera_optical_frame'
        assert all(stamp_ns(d) == log_ns for d in array.detections)
        assert len(array.detections) == len(frame['objects'])
        for thing in frame['objects']:
            overlaps = [box_iou(xyxy(d), thing['xyxy']) for d in array.detections]
            k = int(np.argmax(overlaps))
            hypothesis = array.detections[k].results[0].hypothesis
            assert hypothesis.class_id == thing['class_name']
            assert overlaps[k] >= LEAST_IOU
            found, true = pixels(instance) == k + 1, coco_mask.decode(thing['mask']).astype(bool)
            assert (found & true).sum() / (found | true).sum() >= LEAST_IOU
            assert (pixels(kind)[found] == NAMES.index(thing['class_name']) + 1).all()


def test_labels_come_first_and_once_for_each_camera(sample):
    messages = decoded(sample)
    for camera in ('/camera', '/camera_bgr'):
        (log_ns, labels), = messages[f'{camera}/label_info']
        assert [c.class_name for c in labels.class_map] == NAMES
        assert [c.class_id for c in labels.class_map] == [1, 2, 3, 4]
        assert labels.threshold == pytest.approx(0.4)
        assert log_ns <= messages[f'{camera}/detections'][0][0]


def test_bag_offers_what_the_node_offers(sample):
    qos = pytest.importorskip('yolo_seg_node.ros.qos', reason='rclpy is needed')
    from rclpy.qos import QoSProfile

    with storage(sample).open('rb') as stream:
        channels = make_reader(stream).get_summary().channels.values()
        offered = {c.topic: yaml.safe_load(c.metadata['offered_qos_profiles']) for c in channels}
    information = yaml.safe_load((sample / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']
    stated = {t['topic_metadata']['name']: t for t in information['topics_with_message_count']}
    assert set(stated) == set(offered) == set(decoded(sample))
    for topic, (profile,) in offered.items():
        node: QoSProfile = qos.LABELS if topic.endswith('label_info') else qos.RESULTS
        assert profile == yaml.safe_load(stated[topic]['topic_metadata']['offered_qos_profiles'])[0]
        assert (profile['reliability'], profile['durability'], profile['depth'],
                profile['history']) == (node.reliability, node.durability, node.depth, node.history)
        assert stated[topic]['message_count'] == len(decoded(sample)[topic])


def test_messages_are_those_of_the_node():
    pytest.importorskip('rclpy', reason='the node needs ROS 2')
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header
    from vision_msgs.msg import Detection2DArray, LabelInfo

    from yolo_seg_node.ros import messages

    pipeline = Pipeline.open(load_work_config(find_work_config(CONFIG)))
    names, stamp = pipeline.config.class_names, START_NS + 123_456_789
    detections = pipeline.process(frame_from_bgr(scene()[0])).detections
    header = Header(frame_id='camera')
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
    builder = MessageBuilder(names)
    made = dict(builder.results(stamp, 'camera', detections))
    wanted = {
        'detections': messages.detection_array(header, detections, lambda i: names[i]),
        'instance_mask': messages.mask_image(header, detections.instance_map()),
        'class_mask': messages.mask_image(header, detections.class_map()),
    }
    assert len(detections) > 3 and set(made) == set(wanted)
    for name, message in wanted.items():
        kind = Detection2DArray if name == 'detections' else Image
        assert deserialize_message(made[name], kind) == message
    labels = deserialize_message(builder.labels(0.25)[1], LabelInfo)
    assert labels == messages.label_info(names, 0.25)


def test_bytes_are_equal_from_run_to_run_and_for_any_number_of_processes(sample, tmp_path):
    for name, arguments in (('again', ()), ('jobs', ('--jobs', 2))):
        out = tmp_path / name / 'results'
        assert replay(SAMPLE_BAG, out, *arguments) == 0
        for file in ('results.mcap', 'metadata.yaml'):
            assert (out / file).read_bytes() == (sample / file).read_bytes(), (name, file)


@pytest.mark.parametrize('kind', ['sqlite3', 'ros1', 'png', 'mcap lz4'])
def test_container_and_transport_make_no_difference(kind, golden, tmp_path):
    entries = raw_entries(16)
    if kind == 'sqlite3':
        bag = write_rosbag2(tmp_path / 'bag', entries, StoragePlugin.SQLITE3)
    elif kind == 'ros1':
        bag = write_rosbag1(tmp_path / 'bag.bag', entries)
    elif kind == 'png':
        frames = scene()
        bag = write_rosbag2(tmp_path / 'bag', [png_entry(i, frames[i % len(frames)])
                                               for i in range(16)])
    else:
        bag = write_mcap(tmp_path / 'bag.mcap', entries, CompressionType.LZ4)
    assert replay(bag, tmp_path / 'out') == 0
    assert same(read_results(tmp_path / 'out')[0], golden)


def test_one_camera_has_topics_without_a_namespace(golden, tmp_path):
    assert {key.camera for key in golden} == {''}
    assert len(golden) == 16


@pytest.fixture(params=[signal.SIGKILL, signal.SIGINT])
def interrupted(request, tmp_path) -> 'tuple[Path, int]':
    """What a replay of 300 pictures has written until a signal ended it."""
    bag, out = write_rosbag2(tmp_path / 'bag', raw_entries(300)), tmp_path / 'out'
    process = subprocess.Popen(
        [sys.executable, '-m', 'yolo_seg_node.tools.cli', 'replay', str(bag), '-o', str(out),
         '--config', CONFIG], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (storage(out).exists() and storage(out).stat().st_size > 20_000):
        assert process.poll() is None, 'it ended before it could be stopped'
        time.sleep(0.005)
    process.send_signal(request.param)
    assert process.wait() != 0
    return out, request.param


def test_replay_that_is_stopped_half_way_leaves_a_readable_bag(golden, interrupted):
    out, number = interrupted
    results, warnings = read_results(out)
    assert 2 <= len(results) < 300
    # Only Ctrl-C leaves time to write the index.
    assert bool(warnings) == (number == signal.SIGKILL)
    whole = {key: value for key, value in golden.items() if key in results and value.masks}
    # The last array may be on the disk without its mask.
    checked = list(whole)[:len(results) - 1]
    assert checked and same({key: results[key] for key in checked},
                            {key: whole[key] for key in checked})


@pytest.mark.parametrize('kind', ['mcap', 'sqlite3', 'ros1'])
def test_truncated_bag_is_replayed_as_far_as_it_goes(kind, golden, tmp_path, capsys):
    entries = raw_entries(40)
    if kind == 'ros1':
        bag = file = write_rosbag1(tmp_path / 'bag.bag', entries)
    else:
        bag = write_rosbag2(tmp_path / 'bag', entries, StoragePlugin[kind.upper()])
        file = next(p for p in bag.iterdir() if p.suffix in ('.mcap', '.db3'))
    cut(file, 0.5)
    assert replay(bag, tmp_path / 'out') == 0
    assert 'read from the front' in capsys.readouterr().out
    results = read_results(tmp_path / 'out')[0]
    assert 5 < len(results) < 40
    common = [key for key in golden if key in results]
    assert same({key: results[key] for key in common}, {key: golden[key] for key in common})
    assert list(results)[:len(common)] == common


def test_a_fallback_is_told(tmp_path, capsys):
    config = tmp_path / 'board.json'
    config.write_text(json.dumps(work_values(
        '/nowhere/model.bin', fallback_model_file=str(MODELS['float']))))
    bag = write_rosbag2(tmp_path / 'bag', raw_entries(2))
    assert main(['replay', str(bag), '-o', str(tmp_path / 'out'), '--config', str(config)]) == 0
    assert capsys.readouterr().out.startswith(
        'runtime: onnxruntime CPUExecutionProvider, fallback shapes_seg_float.onnx (')


def test_broken_pictures_are_counted_and_the_others_processed(golden, tmp_path, capsys):
    frames = scene()
    entries = raw_entries(8)
    entries[1] = raw_entry(1, frames[1], encoding='16UC1')
    entries[3] = raw_entry(3, frames[3], data=frames[3].reshape(-1)[:-1])
    no_jpeg = np.frombuffer(b'\xff\xd8\xff\xe0 no jpeg', np.uint8)
    broken = compressed_entry(5, no_jpeg, '/rear/compressed')
    bag = write_rosbag2(tmp_path / 'bag', [*entries, broken])
    assert replay(bag, tmp_path / 'out') == 0
    output = capsys.readouterr().out
    assert '3 pictures gave no result (decode 1, encoding 1, length 1)' in output
    assert f'{TOPIC}: 6 pictures processed' in output
    assert "'16UC1' is not supported" in output
    stamps = [key.stamp_ns for key in read_results(tmp_path / 'out')[0]]
    assert stamps == [START_NS + i * PERIOD_NS for i in (0, 2, 4, 5, 6, 7)]


def test_bag_with_no_usable_picture_fails(tmp_path):
    bag = write_rosbag2(tmp_path / 'bag', [raw_entry(0, scene()[0], encoding='16UC1')])
    assert replay(bag, tmp_path / 'out') == 1


def test_topics_start_and_duration_choose_pictures(tmp_path):
    frames = scene()
    bag = write_rosbag2(tmp_path / 'bag', [
        raw_entry(i, frames[i], topic) for i in range(8) for topic in ('/a/image', '/b/image')])
    assert replay(bag, tmp_path / 'out', '--topics', '/b/image', '--start', 0.2, '--duration', 0.3,
                  '--summary', tmp_path / 'summary.json') == 0
    results = read_results(tmp_path / 'summary.json')[0]
    assert [key.stamp_ns for key in results] == [START_NS + i * PERIOD_NS for i in (2, 3, 4)]
    assert same(results, read_results(tmp_path / 'out')[0])
    assert {topic: len(m) for topic, m in decoded(tmp_path / 'out').items()} == {
        '/detections': 3, '/instance_mask': 3, '/class_mask': 3, '/label_info': 1}


def test_video_has_a_frame_for_each_picture(tmp_path):
    frames = scene()
    bag = write_rosbag2(tmp_path / 'bag', [
        raw_entry(i, frames[i], topic) for i in range(8) for topic in ('/a/image', '/b/image')])
    assert replay(bag, tmp_path / 'out', '--video', tmp_path / 'seen.mp4') == 0
    for camera in ('a', 'b'):
        video = cv2.VideoCapture(str(tmp_path / f'seen_{camera}.mp4'))
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(1e9 / PERIOD_NS)
        shown = [video.read()[1] for _ in range(9)]
        assert shown[8] is None
        for bgr, picture in zip(shown, frames):
            # The scene is there (most pixels as recorded) and so are boxes (many are not).
            changed = np.abs(bgr.astype(int) - picture).max(axis=2) > 40
            assert 0.005 < changed.mean() < 0.5


@pytest.mark.parametrize(('arguments', 'sentence'), [
    (['--topics', '/nowhere'], 'no pictures on /nowhere. Its topics are:\n  /camera/image_raw'),
    (['--start', '99'], 'has no picture on /camera/image_raw in the chosen time'),
    (['--config', 'nowhere.json'], "'nowhere.json'"),
    (['--video', '/nowhere/seen.mp4'], '/nowhere/seen.mp4 cannot be written'),
])
def test_bad_arguments_are_told_in_a_sentence(arguments, sentence, tmp_path, capsys):
    bag = write_rosbag2(tmp_path / 'bag', raw_entries(2))
    assert replay(bag, tmp_path / 'out', *arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [
    ['--start', '-1'], ['--duration', 'nan'], ['--jobs', '0'], ['--allow-lost', '101'],
    ['--min-box-iou', '2']])
def test_values_out_of_range_are_refused(arguments, tmp_path):
    with pytest.raises(SystemExit) as refused:
        replay(SAMPLE_BAG, tmp_path / 'out', *arguments)
    assert refused.value.code == 2


def test_result_is_never_overwritten(sample, capsys):
    before = storage(sample).read_bytes()
    assert replay(SAMPLE_BAG, sample) == 2
    assert 'is there already' in capsys.readouterr().err
    assert storage(sample).read_bytes() == before


def test_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert replay(SAMPLE_BAG, tmp_path / 'file' / 'out') == 2
    assert 'cannot be created' in capsys.readouterr().err


def test_full_disk_keeps_and_names_what_was_written(golden, tmp_path):
    bag, out = write_rosbag2(tmp_path / 'bag', raw_entries(16)), tmp_path / 'out'
    limit = 12_000

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, '-B', '-m', 'yolo_seg_node.tools.cli', 'replay', str(bag), '-o', str(out),
         '--config', CONFIG], cwd=ROOT, capture_output=True, text=True, preexec_fn=small_disk)
    assert done.returncode == 2
    assert f'What was written until then is in {out}' in done.stderr
    assert 'Traceback' not in done.stderr
    results, warnings = read_results(out)
    assert warnings and 0 < len(results) < 16
    first = list(results)[:-1]
    assert same({key: results[key] for key in first}, {key: golden[key] for key in first})


def test_many_bags_go_to_a_folder_and_one_that_fails_stops_no_other(golden, tmp_path, capsys):
    bags = [write_rosbag2(tmp_path / name, raw_entries(2)) for name in ('run.1', 'run.2')]
    bags.insert(1, tmp_path / 'missing')
    out = tmp_path / 'results'
    code = main(['replay', *map(str, bags), '-o', str(out), '--config', CONFIG])
    output = capsys.readouterr().out
    assert code == 1
    assert f'There is no bag {bags[1]}' in output
    assert '2 of 3 bags replayed' in output
    for name in ('run.1', 'run.2'):
        assert same(read_results(out / name)[0], dict(list(golden.items())[:2]))


@pytest.mark.parametrize(('extra', 'sentence'), [
    (['--video', 'seen.mp4'], '--video is for one bag'),
    ([], 'Several bags are called bag'),
])
def test_many_bags_need_names_and_no_video(extra, sentence, tmp_path, capsys):
    bags = [write_rosbag2(tmp_path / folder / 'bag', raw_entries(1)) for folder in ('a', 'b')]
    assert main(['replay', *map(str, bags), '-o', str(tmp_path / 'out'), '--config', CONFIG,
                 *extra]) == 2
    assert sentence in capsys.readouterr().err


def test_dask_cluster_gives_the_same_bytes(tmp_path):
    distributed = pytest.importorskip(
        'distributed', reason='the extra "dask" is not installed; `pip install distributed`')
    bags = [write_rosbag2(tmp_path / name, raw_entries(4)) for name in ('run_1', 'run_2')]
    arguments = ['replay', *map(str, bags), '--config', CONFIG]
    assert main([*arguments, '-o', str(tmp_path / 'here')]) == 0
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                                  host='127.0.0.1') as cluster:
        assert main([*arguments, '-o', str(tmp_path / 'there'),
                     '--dask', cluster.scheduler_address]) == 0
    for bag in bags:
        here, there = (tmp_path / place / bag.name for place in ('here', 'there'))
        assert storage(here).read_bytes() == storage(there).read_bytes()


def test_dask_that_is_missing_or_away_is_told(tmp_path, capsys):
    code = replay(SAMPLE_BAG, tmp_path / 'out', '--dask', 'tcp://127.0.0.1:1')
    error = capsys.readouterr().err
    assert code == 2
    assert 'cannot be reached' in error or 'distributed cannot be imported' in error


def test_log_times_are_those_of_the_recording(tmp_path):
    bag = write_rosbag2(tmp_path / 'bag', raw_entries(3))
    assert replay(bag, tmp_path / 'out') == 0
    for log_ns, message in decoded(tmp_path / 'out')['/detections']:
        assert log_ns == stamp_ns(message) + RECORDING_DELAY_NS
