"""On an RDK board with TROS: camera, codec, node, and the web view on port 8000.

ros2 launch yolo_seg_node rdk_camera.launch.py dnn_example_config_file:=yolov8_seg_x5.json

Takes the arguments of dnn_node_example.launch.py, and leaves the working directory alone.
"""
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument, IncludeLaunchDescription, LogInfo, OpaqueFunction)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode

# NV12 pictures in shared memory, and the same ones as JPEG for the web view.
SHARED, WEB = '/hbmem_img', '/image'
DEVICES = {'mipi': 'F37', 'usb': '/dev/video8', 'fb': ''}

ARGUMENTS = (
    DeclareLaunchArgument(
        'camera', default_value=EnvironmentVariable('CAM_TYPE', default_value='mipi'),
        choices=['mipi', 'usb', 'fb'],
        description='Where pictures come from: a MIPI camera, a USB camera, or a file that is '
                    'played again and again (fb).'),
    DeclareLaunchArgument(
        'device', default_value='',
        description='Sensor of a MIPI camera or device of a USB camera; empty is '
                    f'{DEVICES["mipi"]} or {DEVICES["usb"]}, as in TROS.'),
    DeclareLaunchArgument(
        'publish_image_source', default_value='./config/target.jpg',
        description='JPEG picture that fb plays.'),
    DeclareLaunchArgument(
        'dnn_example_config_file', default_value='yolov8_seg_x5.json',
        description='Work config (JSON): a path, or the name of a shipped one.'),
    DeclareLaunchArgument(
        'dnn_example_image_width', default_value='960', description='Width of camera pictures.'),
    DeclareLaunchArgument(
        'dnn_example_image_height', default_value='544', description='Height of camera pictures.'),
    DeclareLaunchArgument(
        'dnn_example_dump_render_img', default_value='0', choices=['0', '1'],
        description='1 writes every picture with its results into the working directory.'),
    DeclareLaunchArgument(
        'dnn_example_msg_pub_topic_name', default_value='hobot_dnn_detection',
        description='Topic of the ai_msgs results, which the web view shows.'),
    DeclareLaunchArgument(
        'log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Least severity of the log messages of the node.'),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what they start depends on their values."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Action]:
    """Start everything in the order of TROS: first the settings for shared memory."""
    values = {argument.name: LaunchConfiguration(argument.name).perform(context)
              for argument in ARGUMENTS}
    return [
        include('hobot_shm', 'hobot_shm.launch.py', {}),
        camera(values), codec(values['camera']), node(values),
        include('websocket', 'websocket.launch.py', {
            'websocket_image_topic': WEB, 'websocket_image_type': 'mjpeg',
            'websocket_smart_topic': values['dnn_example_msg_pub_topic_name']}),
    ]


def camera(values: dict[str, str]) -> Action:
    """Start the source of pictures."""
    kind = values['camera']
    width, height = values['dnn_example_image_width'], values['dnn_example_image_height']
    device = values['device'] or DEVICES[kind]
    if kind == 'usb':
        return include('hobot_usb_cam', 'hobot_usb_cam.launch.py', {
            'usb_image_width': width, 'usb_image_height': height, 'usb_video_device': device})
    if kind == 'fb':
        return include('hobot_image_publisher', 'hobot_image_publisher.launch.py', {
            'publish_image_source': values['publish_image_source'], 'publish_image_format': 'jpg',
            'publish_message_topic_name': SHARED, 'publish_fps': '5'})
    return include('mipi_cam', 'mipi_cam.launch.py', {
        'mipi_image_width': width, 'mipi_image_height': height, 'mipi_video_device': device,
        'mipi_io_method': 'shared_mem', 'mipi_frame_ts_type': 'realtime'})


def codec(kind: str) -> Action:
    """Decode the JPEG pictures of a USB camera, encode those of the others."""
    if kind == 'usb':
        return include('hobot_codec', 'hobot_codec_decode.launch.py', {
            'codec_in_mode': 'ros', 'codec_out_mode': 'shared_mem',
            'codec_sub_topic': WEB, 'codec_pub_topic': SHARED})
    return include('hobot_codec', 'hobot_codec_encode.launch.py', {
        'codec_in_mode': 'shared_mem', 'codec_out_mode': 'ros',
        'codec_sub_topic': SHARED, 'codec_pub_topic': WEB})


def node(values: dict[str, str]) -> LifecycleNode:
    """Start the node on the pictures in shared memory."""
    return LifecycleNode(
        package='yolo_seg_node', executable='yolo_seg_node', name='yolo_seg_node', namespace='',
        output='screen', arguments=['--ros-args', '--log-level', values['log_level']],
        parameters=[{
            'config_file': values['dnn_example_config_file'],
            'dump_render_img': int(values['dnn_example_dump_render_img']),
            'feed_type': 1, 'is_shared_mem_sub': 1, 'sharedmem_img_topic_name': SHARED,
            'msg_pub_topic_name': values['dnn_example_msg_pub_topic_name']}])


def include(package: str, file: str, arguments: dict[str, str]) -> Action:
    """Start a launch file of TROS, or say which package is missing."""
    try:
        share = Path(get_package_share_directory(package))
    except PackageNotFoundError:
        return LogInfo(msg=f'{package} is not installed and not started: source TROS '
                           f'(/opt/tros/humble/setup.bash) or install its package {package}.')
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / 'launch' / file)),
        launch_arguments=arguments.items())
