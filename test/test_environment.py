"""The environment of environment/: its pins, its messages, and the script that builds it."""
import importlib
import importlib.util
import json
from pathlib import Path
import re
import sys
import time

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / 'environment'
IN_ENVIRONMENT = Path(sys.prefix).resolve() == ROOT / '.venv'

PIN = re.compile(r'(?P<name>[\w.-]+)(\[\w+\])?==(?P<version>[\w.]+)( ; python_full_version .+)?')
HBM_PICTURE = (
    'index int32, time_stamp builtin_interfaces/Time, height uint32, width uint32, '
    'data_size uint32, step uint32, encoding uint8[12], data uint8[{size}]')
FIELDS = {
    'vision_msgs': {
        'BoundingBox2D': 'center vision_msgs/Pose2D, size_x double, size_y double',
        'BoundingBox2DArray': 'header std_msgs/Header, boxes sequence<vision_msgs/BoundingBox2D>',
        'Detection2D': 'header std_msgs/Header, '
                       'results sequence<vision_msgs/ObjectHypothesisWithPose>, '
                       'bbox vision_msgs/BoundingBox2D, id string',
        'Detection2DArray': 'header std_msgs/Header, '
                            'detections sequence<vision_msgs/Detection2D>',
        'LabelInfo': 'header std_msgs/Header, class_map sequence<vision_msgs/VisionClass>, '
                     'threshold float',
        'ObjectHypothesis': 'class_id string, score double',
        'ObjectHypothesisWithPose': 'hypothesis vision_msgs/ObjectHypothesis, '
                                    'pose geometry_msgs/PoseWithCovariance',
        'Point2D': 'x double, y double',
        'Pose2D': 'position vision_msgs/Point2D, theta double',
        'VisionClass': 'class_id uint16, class_name string',
        'VisionInfo': 'header std_msgs/Header, method string, database_location string, '
                      'database_version int32',
    },
    'ai_msgs': {
        'Attribute': 'type string, value float, confidence float',
        'Capture': 'header std_msgs/Header, img sensor_msgs/Image, features sequence<float>, '
                   'db_result ai_msgs/DBResult',
        'CaptureTargets': 'header std_msgs/Header, perfs sequence<ai_msgs/Perf>, '
                          'targets sequence<ai_msgs/Target>',
        'DBResult': 'db_type string, match_id string, distance float, similarity float',
        'PerceptionInfo': 'header std_msgs/Header, height uint32, width uint32, '
                          'class_names sequence<string>',
        'PerceptionTargets': 'header std_msgs/Header, fps int16, perfs sequence<ai_msgs/Perf>, '
                             'targets sequence<ai_msgs/Target>, '
                             'disappeared_targets sequence<ai_msgs/Target>',
        'Perf': 'type string, stamp_start builtin_interfaces/Time, '
                'stamp_end builtin_interfaces/Time, time_ms_duration double',
        'Point': 'type string, point sequence<geometry_msgs/Point32>, '
                 'confidence sequence<float>',
        'Roi': 'type string, rect sensor_msgs/RegionOfInterest, confidence float',
        'Target': 'type string, track_id uint64, rois sequence<ai_msgs/Roi>, '
                  'attributes sequence<ai_msgs/Attribute>, points sequence<ai_msgs/Point>, '
                  'captures sequence<ai_msgs/Capture>',
    },
    'hbm_img_msgs': {
        'HbmMsg1080P': HBM_PICTURE.format(size=6220800),
        'HbmMsg540P': HBM_PICTURE.format(size=1555200),
        'HbmMsg480P': HBM_PICTURE.format(size=921600),
        'HbmH26XFrame': 'index uint32, dts builtin_interfaces/Time, pts builtin_interfaces/Time, '
                        'encoding uint8[12], height uint32, width uint32, data uint8[512000], '
                        'data_size uint32',
    },
}
MESSAGES = [(package, name) for package, names in FIELDS.items() for name in names]


def message_class(package, name):
    """Import a message class; only outside the environment may its package be missing."""
    if not IN_ENVIRONMENT and importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed in this ROS 2 workspace')
    return getattr(importlib.import_module(f'{package}.msg'), name)


def filled(slot_type, depth=0):
    """Return a value of a message field in which every leaf differs from its default."""
    from rosidl_parser import definition
    if isinstance(slot_type, definition.NamespacedType):
        package, _, name = slot_type.namespaced_name()
        return filled_message(message_class(package, name), depth + 1)
    if isinstance(slot_type, definition.AbstractString):
        return f'text {depth}'
    if isinstance(slot_type, definition.Array):
        return [filled(slot_type.value_type, depth) for _ in range(slot_type.size)]
    if isinstance(slot_type, definition.AbstractSequence):
        return [filled(slot_type.value_type, depth), filled(slot_type.value_type, depth + 1)]
    if slot_type.typename in ('float', 'double'):
        return depth + 0.5
    return slot_type.typename == 'boolean' or depth + 1


def filled_message(cls, depth=0):
    """Return a message with every field filled."""
    names = cls.get_fields_and_field_types()
    return cls(**{name: filled(slot, depth) for name, slot in zip(names, cls.SLOT_TYPES)})


def pins(path):
    """Return the lines of a requirement file that name a package."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith('#')]


def test_every_wheel_of_the_lock_is_pinned():
    lines = pins(ENVIRONMENT / 'wheels.lock')
    assert len(lines) > 100
    assert [line for line in lines if not PIN.fullmatch(line)] == []


def test_lock_has_what_is_asked_for():
    locked = {PIN.fullmatch(line)['name'] for line in pins(ENVIRONMENT / 'wheels.lock')}
    asked = {re.match(r'[\w.-]+', line)[0] for line in pins(ENVIRONMENT / 'wheels.in')}
    assert asked - locked == set()


def test_every_definition_has_a_field_table():
    defined = {(path.parts[-3], path.stem) for path in ENVIRONMENT.glob('msg/*/msg/*.msg')}
    assert defined == set(MESSAGES)


@pytest.mark.parametrize(('package', 'name'), MESSAGES)
def test_fields_are_those_of_the_real_message(package, name):
    fields = message_class(package, name).get_fields_and_field_types()
    assert ', '.join(f'{key} {value}' for key, value in fields.items()) == FIELDS[package][name]


@pytest.mark.parametrize(('name', 'size'), [
    ('HbmMsg1080P', 6220800), ('HbmMsg540P', 1555200), ('HbmMsg480P', 921600),
    ('HbmH26XFrame', 512000)])
def test_block_size_is_a_constant(name, size):
    assert message_class('hbm_img_msgs', name).MAX_SIZE == size


@pytest.mark.parametrize(('package', 'name'), [
    entry for entry in MESSAGES if entry[1] not in ('HbmMsg1080P', 'HbmMsg540P', 'HbmMsg480P')])
def test_serialised_message_comes_back(package, name):
    from rclpy.serialization import deserialize_message, serialize_message
    cls = message_class(package, name)
    message = filled_message(cls)
    assert message != cls()
    assert deserialize_message(serialize_message(message), cls) == message


def test_hbm_picture_lies_on_the_wire_as_documented():
    """A board reads data at byte 44 and its length at 24 of the buffer with its 4-byte header."""
    import numpy as np
    from rclpy.serialization import serialize_message
    message = message_class('hbm_img_msgs', 'HbmMsg480P')(data_size=3, width=640)
    message.data[:3] = 7, 8, 9
    buffer = np.frombuffer(serialize_message(message), np.uint8)
    assert buffer[20:28].view(np.uint32).tolist() == [640, 3]
    assert buffer[44:48].tolist() == [7, 8, 9, 0]


@pytest.mark.skipif(not IN_ENVIRONMENT, reason='a ROS 2 workspace has definitions of its own')
def test_another_implementation_computes_the_same_type_hashes():
    rosbags = pytest.importorskip('rosbags.typesys')
    store = rosbags.get_typestore(rosbags.Stores.ROS2_KILTED)
    types = {}
    for path in ENVIRONMENT.glob('msg/*/msg/*.msg'):
        types |= rosbags.get_types_from_msg(
            path.read_text(), f'{path.parts[-3]}/msg/{path.stem}')
    store.register(types)
    for package, name in MESSAGES:
        described = json.loads(
            Path(sys.prefix, 'share', package, 'msg', f'{name}.json').read_text())
        own = {entry['type_name']: entry['hash_string'] for entry in described['type_hashes']}
        full_name = f'{package}/msg/{name}'
        assert store.hash_rihs01(full_name) == own[full_name]


@pytest.mark.parametrize(('package', 'name'), [
    ('vision_msgs', 'Detection2DArray'), ('ai_msgs', 'PerceptionTargets'),
    ('hbm_img_msgs', 'HbmH26XFrame')])
def test_message_travels_over_dds(package, name):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    cls = message_class(package, name)
    sent, received = filled_message(cls), []
    with rclpy.init(context=(context := rclpy.Context()), domain_id=71):
        node = rclpy.create_node('test_environment', context=context)
        node.create_subscription(cls, 'message', received.append, 1)
        publisher = node.create_publisher(cls, 'message', 1)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        deadline = time.monotonic() + 20
        while not received and time.monotonic() < deadline:
            publisher.publish(sent)
            executor.spin_once(timeout_sec=0.2)
        executor.shutdown()
        node.destroy_node()
    assert received[:1] == [sent]


@pytest.mark.skipif(not IN_ENVIRONMENT, reason='a ROS 2 workspace has an ament index of its own')
def test_message_packages_are_in_the_ament_index():
    from ament_index_python import get_package_share_directory, get_resource
    for package, names in FIELDS.items():
        listed, _ = get_resource('rosidl_interfaces', package)
        assert {f'msg/{name}.msg' for name in names} <= set(listed.splitlines())
        share = Path(get_package_share_directory(package))
        assert all((share / line).is_file() for line in listed.splitlines())


@pytest.fixture
def build(monkeypatch, tmp_path):
    """Return environment/build.py as a module that builds below a temporary folder."""
    spec = importlib.util.spec_from_file_location('environment_build', ENVIRONMENT / 'build.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'STAMPS', tmp_path / 'stamps')
    monkeypatch.setattr(module, 'LOG', tmp_path / 'build.log')
    return module


def test_this_machine_is_accepted_with_its_tools(build):
    if not IN_ENVIRONMENT:
        pytest.skip('a ROS 2 workspace needs none of them')
    build.check_machine()


@pytest.mark.parametrize(('change', 'expected'), [
    (('platform.machine', lambda: 'aarch64'), 'no ROS 2 wheels for Linux aarch64.*apt'),
    (('platform.system', lambda: 'Darwin'), 'no ROS 2 wheels for Darwin'),
    (('sys.version_info', (3, 9, 2)), r'only for 3\.10 to 3\.13.*make env PYTHON=python3\.13'),
    (('sys.version_info', (3, 14, 0)), r'only for 3\.10 to 3\.13'),
])
def test_unsupported_machine_is_refused_with_advice(build, monkeypatch, change, expected):
    monkeypatch.setattr('platform.system', lambda: 'Linux')
    monkeypatch.setattr('platform.machine', lambda: 'x86_64')
    monkeypatch.setattr(*change)
    with pytest.raises(build.BuildError, match=expected):
        build.check_machine()


def test_all_missing_tools_are_named_at_once(build, monkeypatch):
    monkeypatch.setattr('platform.system', lambda: 'Linux')
    monkeypatch.setattr('platform.machine', lambda: 'x86_64')
    monkeypatch.setattr('shutil.which', lambda name: None)
    monkeypatch.setattr('sysconfig.get_path', lambda name: '/nowhere')
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    version = f'python{sys.version_info[0]}.{sys.version_info[1]}'
    expected = f'apt-get install {version}-venv {version}-dev gcc g\\+\\+$'
    with pytest.raises(build.BuildError, match=expected):
        build.check_machine()


def test_step_is_redone_only_when_its_inputs_change(build, tmp_path):
    source = tmp_path / 'source'
    source.write_text('one')
    done = []
    step = build.Step('name', 'task', (source, 'text'), lambda: done.append(source.read_text()))
    for content in ('one', 'one', 'two', 'two'):
        source.write_text(content)
        build.perform(step, print)
    assert done == ['one', 'two']


def test_failed_step_tells_why_and_is_tried_again(build, capsys):
    command = (sys.executable, '-c', 'print("disk is full"); raise SystemExit(3)')
    step = build.Step('wheels', 'installing', (), lambda: build.run(*command))
    for _ in range(2):
        with pytest.raises(build.BuildError, match='wheels: installing failed.*code 3.*\n'
                                                   '.*disk is full\n.*make env'):
            build.perform(step, print)
    assert capsys.readouterr().out == 'wheels: installing\n' * 2


def test_no_network_is_told_apart_from_other_failures(build, monkeypatch):
    monkeypatch.setattr(build, 'pip_install', lambda *_: build.run(
        sys.executable, '-c', 'print("WARNING: Retrying (Retry(total=4))"); raise SystemExit(1)'))
    with pytest.raises(build.BuildError, match='no package index. Check the network'):
        build.install_wheels()


def test_commands_do_not_see_a_sourced_ros(build, monkeypatch):
    for name in build.FOREIGN_VARIABLES:
        monkeypatch.setenv(name, '/opt/other')
    build.run(sys.executable, '-S', '-c', 'import os; print(*os.environ)')
    assert not set(build.FOREIGN_VARIABLES) & set(build.LOG.read_text().split())
