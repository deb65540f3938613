"""The launch files: as Python everywhere, and as launch descriptions where launch is installed.

The packages that they start are stood in for by an ament index of empty packages.
"""
import ast
from collections import defaultdict
import importlib.util
from pathlib import Path
import re

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
ALLOWED_IMPORTS = {'ament_index_python', 'launch', 'launch_ros', 'pathlib'}
TROS_ARGUMENTS = {
    'dnn_example_config_file', 'dnn_example_dump_render_img', 'dnn_example_image_width',
    'dnn_example_image_height', 'dnn_example_msg_pub_topic_name', 'device', 'publish_image_source'}
TROS_PACKAGES = {
    'hobot_shm': ['hobot_shm'], 'mipi_cam': ['mipi_cam'], 'hobot_usb_cam': ['hobot_usb_cam'],
    'hobot_image_publisher': ['hobot_image_publisher'], 'websocket': ['websocket'],
    'hobot_codec': ['hobot_codec_encode', 'hobot_codec_decode']}
COMMANDS = {'yolo_seg_node': 'yolo_seg_node', 'v4l2_camera': 'v4l2_camera_node',
            'usb_cam': 'usb_cam_node_exe'}


def assigned(path, name):
    """What is assigned to a name at the top level of a file."""
    (value,) = [node.value for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name]
    return value


def declared(path):
    """Name -> keyword arguments of every DeclareLaunchArgument at the top level of a file."""
    table = assigned(path, 'ARGUMENTS')
    return {call.args[0].value: {k.arg: k.value for k in call.keywords} for call in table.elts}


def called(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_argument_is_declared_at_the_top_and_described(path):
    tree, arguments = ast.parse(path.read_text()), declared(path)
    assert list(called(tree)).count('DeclareLaunchArgument') == len(arguments) > 0
    assert all('description' in keywords for keywords in arguments.values())
    for name in arguments:
        assert f"'{name}'" in path.read_text().split('ARGUMENTS', 1)[1]


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_no_process_of_its_own_and_nothing_written(path):
    tree = ast.parse(path.read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
               for alias in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.split('.')[0] for module in modules} <= ALLOWED_IMPORTS
    assert not {'open', 'exec', 'eval', 'mkdir', 'write_text', 'touch'} & set(called(tree))


def test_every_launch_file_of_the_package_is_there():
    assert [path.name.split('.')[0] for path in FILES] == [
        'bag_replay', 'multi_camera', 'rdk_camera', 'usb_camera', 'yolo_seg']


def test_arguments_of_tros_are_accepted():
    arguments = declared(ROOT / 'launch/rdk_camera.launch.py')
    assert TROS_ARGUMENTS <= set(arguments)
    assert [choice.value for choice in arguments['camera']['choices'].elts] == ['mipi', 'usb', 'fb']
    defaults = {name: keywords['default_value'].value for name, keywords in arguments.items()
                if isinstance(keywords['default_value'], ast.Constant)}
    assert (defaults['dnn_example_image_width'], defaults['dnn_example_image_height']) == (
        '960', '544')
    assert defaults['dnn_example_msg_pub_topic_name'] == 'hobot_dnn_detection'


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An ament index to which a test adds packages; nothing else is installed."""
    pytest.importorskip('launch_ros', reason='launch comes with ROS 2 from apt')

    def add(*packages):
        for package in packages:
            marker = tmp_path / 'share/ament_index/resource_index/packages' / package
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            for name in TROS_PACKAGES.get(package, []):
                file = tmp_path / 'share' / package / 'launch' / f'{name}.launch.py'
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text('from launch import LaunchDescription\n'
                                'def generate_launch_description():\n'
                                '    return LaunchDescription([])\n')
            if package in COMMANDS:
                command = tmp_path / 'lib' / package / COMMANDS[package]
                command.parent.mkdir(parents=True)
                command.touch(mode=0o755)

    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    monkeypatch.delenv('CAM_TYPE', raising=False)
    empty = tmp_path / 'working_directory'
    empty.mkdir()
    monkeypatch.chdir(empty)
    add('yolo_seg_node')
    yield add
    assert not list(empty.iterdir())


class Started:
    """What a launch file starts with given arguments, without starting it."""

    def __init__(self, name, **arguments):
        from launch import LaunchContext
        self.context = LaunchContext()
        self.context.launch_configurations.update(arguments)
        self.context.extend_locals({'ros_specific_arguments': defaultdict(str)})
        self.includes, self.nodes, self.commands, self.said = {}, {}, [], []
        self._visit(load(ROOT / 'launch' / f'{name}.launch.py'))

    def _visit(self, entity):
        from launch.actions import ExecuteProcess, IncludeLaunchDescription, LogInfo
        from launch.utilities import perform_substitutions
        from launch_ros.actions import Node
        if isinstance(entity, LogInfo):
            self.said.append(perform_substitutions(self.context, entity.msg))
        elif isinstance(entity, Node):
            self._take_node(entity)
        elif isinstance(entity, ExecuteProcess):
            self.commands.append([perform_substitutions(self.context, word) for word in entity.cmd])
        elif type(entity).__name__ in ('RegisterEventHandler', 'TimerAction'):
            pass
        else:
            children = entity.visit(self.context) or []
            if isinstance(entity, IncludeLaunchDescription):
                self.includes[Path(entity.launch_description_source.location).name] = dict(
                    entity.launch_arguments)
            for child in children:
                self._visit(child)

    def _take_node(self, node):
        from launch.utilities import perform_substitutions
        node._perform_substitutions(self.context)
        command = [perform_substitutions(self.context, word) for word in node.cmd]
        files = [command[i + 1] for i, word in enumerate(command) if word == '--params-file']
        parameters = {}
        for file in files:
            # launch_ros writes lists as tuples, which ROS reads alike
            (section,) = yaml.full_load(Path(file).read_text()).values()
            parameters.update({name: list(value) if isinstance(value, tuple) else value
                               for name, value in section['ros__parameters'].items()})
        self.nodes[Path(command[0]).name] = parameters


def load(path):
    spec = importlib.util.spec_from_file_location(path.name.replace('.', '_'), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


NODE = {'config_file': 'demo_float.json'}
WEB = {'websocket_image_topic': '/image', 'websocket_image_type': 'mjpeg',
       'websocket_smart_topic': 'hobot_dnn_detection'}


def test_mipi_camera_of_an_rdk_board(index):
    index(*TROS_PACKAGES)
    started = Started('rdk_camera', dnn_example_config_file='demo_float.json')
    assert started.said == []
    assert started.nodes == {'yolo_seg_node': {
        **NODE, 'feed_type': 1, 'is_shared_mem_sub': 1, 'dump_render_img': 0,
        'sharedmem_img_topic_name': '/hbmem_img', 'msg_pub_topic_name': 'hobot_dnn_detection'}}
    assert list(started.includes) == [
        'hobot_shm.launch.py', 'mipi_cam.launch.py', 'hobot_codec_encode.launch.py',
        'websocket.launch.py']
    assert started.includes['mipi_cam.launch.py'] == {
        'mipi_image_width': '960', 'mipi_image_height': '544', 'mipi_video_device': 'F37',
        'mipi_io_method': 'shared_mem', 'mipi_frame_ts_type': 'realtime'}
    assert started.includes['hobot_codec_encode.launch.py'] == {
        'codec_in_mode': 'shared_mem', 'codec_out_mode': 'ros', 'codec_sub_topic': '/hbmem_img',
        'codec_pub_topic': '/image'}
    assert started.includes['websocket.launch.py'] == WEB


def test_usb_camera_of_an_rdk_board_by_cam_type(index, monkeypatch):
    index(*TROS_PACKAGES)
    monkeypatch.setenv('CAM_TYPE', 'usb')
    started = Started('rdk_camera', dnn_example_image_width='1280', dnn_example_image_height='720',
                      dnn_example_msg_pub_topic_name='found', dnn_example_dump_render_img='1')
    assert started.includes['hobot_usb_cam.launch.py'] == {
        'usb_image_width': '1280', 'usb_image_height': '720', 'usb_video_device': '/dev/video8'}
    assert started.includes['hobot_codec_decode.launch.py'] == {
        'codec_in_mode': 'ros', 'codec_out_mode': 'shared_mem', 'codec_sub_topic': '/image',
        'codec_pub_topic': '/hbmem_img'}
    assert started.includes['websocket.launch.py'] == {**WEB, 'websocket_smart_topic': 'found'}
    parameters = started.nodes['yolo_seg_node']
    assert (parameters['msg_pub_topic_name'], parameters['dump_render_img']) == ('found', 1)


def test_picture_file_of_an_rdk_board(index):
    index(*TROS_PACKAGES)
    started = Started('rdk_camera', camera='fb', publish_image_source='street.jpg')
    assert started.includes['hobot_image_publisher.launch.py'] == {
        'publish_image_source': 'street.jpg', 'publish_image_format': 'jpg',
        'publish_message_topic_name': '/hbmem_img', 'publish_fps': '5'}
    assert 'hobot_codec_encode.launch.py' in started.includes


def test_each_missing_package_of_tros_is_named_in_a_line(index):
    index('mipi_cam', 'hobot_codec')
    started = Started('rdk_camera')
    assert list(started.includes) == ['mipi_cam.launch.py', 'hobot_codec_encode.launch.py']
    assert [line.split()[0] for line in started.said] == ['hobot_shm', 'websocket']
    assert all('\n' not in line and 'not installed' in line for line in started.said)
    assert 'yolo_seg_node' in started.nodes


def test_an_unknown_cam_type_is_refused(index, monkeypatch):
    monkeypatch.setenv('CAM_TYPE', 'csi')
    with pytest.raises(RuntimeError, match='csi'):
        Started('rdk_camera')


@pytest.mark.parametrize('driver, parameters', [
    ('v4l2_camera', {'camera_frame_id': 'eye', 'image_size': [640, 480]}),
    ('usb_cam', {'frame_id': 'eye', 'image_width': 640, 'image_height': 480}),
])
def test_usb_camera(index, driver, parameters):
    index(driver)
    started = Started('usb_camera', driver=driver, device='/dev/video2', frame_id='eye', **NODE)
    assert started.said == []
    assert started.nodes == {
        COMMANDS[driver]: {'video_device': '/dev/video2', **parameters},
        'yolo_seg_node': {**NODE, 'image_topics': ['image_raw']}}


def test_usb_camera_without_its_driver(index):
    started = Started('usb_camera', **NODE)
    (line,) = started.said
    assert 'ros-$ROS_DISTRO-v4l2-camera' in line and list(started.nodes) == ['yolo_seg_node']


def test_several_cameras(index):
    started = Started('multi_camera', cameras='front, /rear', image='image_raw/compressed', **NODE)
    assert started.nodes['yolo_seg_node'] == {
        **NODE, 'image_topics': ['/front/image_raw/compressed', '/rear/image_raw/compressed']}


def test_bag_replay(index):
    started = Started('bag_replay', bag='drive', output='results', image_topic='/left, /right',
                      rate='0.5', **NODE)
    assert started.nodes['yolo_seg_node'] == {
        **NODE, 'image_topics': ['/left', '/right'], 'use_sim_time': True}
    record, play = started.commands
    assert record[:3] == ['ros2', 'bag', 'record'] and '--use-sim-time' in record
    assert record[record.index('--output') + 1] == 'results'
    assert play[:5] == ['ros2', 'bag', 'play', 'drive', '--clock']
    assert play[play.index('--rate') + 1] == '0.5'
    assert play[play.index('--topics') + 1:] == ['/left', '/right']


@pytest.mark.parametrize('topic, is_recorded', [
    ('/detections', True), ('/front/instance_mask', True), ('/hobot_dnn_detection_info', True),
    ('/a/b/label_info', True), ('/old_detections', False), ('/camera/image_raw', False)])
def test_recorded_topics(topic, is_recorded):
    pattern = assigned(ROOT / 'launch/bag_replay.launch.py', 'RESULTS').value
    assert bool(re.search(pattern, topic)) == is_recorded


def test_show_args_knows_every_argument(index):
    for path in FILES:
        arguments = {argument.name for argument in load(path).get_launch_arguments()}
        assert set(declared(path)) <= arguments
