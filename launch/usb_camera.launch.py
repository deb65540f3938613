"""A USB camera with a plain ROS 2 driver, and the node on its pictures.

ros2 launch yolo_seg_node usb_camera.launch.py config_file:=yolo11_seg_x5.json device:=/dev/video0
"""
from pathlib import Path

from ament_index_python.packages import get_packages_with_prefixes
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument, IncludeLaunchDescription, LogInfo, OpaqueFunction)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

EXECUTABLES = {'v4l2_camera': 'v4l2_camera_node', 'usb_cam': 'usb_cam_node_exe'}

ARGUMENTS = (
    DeclareLaunchArgument(
        'config_file', description='Work config (JSON): a path, or the name of a shipped one, '
                                   'such as demo_float.json.'),
    DeclareLaunchArgument(
        'driver', default_value='v4l2_camera', choices=list(EXECUTABLES),
        description='Package of the camera driver.'),
    DeclareLaunchArgument(
        'device', default_value='/dev/video0', description='Device of the camera.'),
    DeclareLaunchArgument(
        'image_width', default_value='640', description='Width of the pictures.'),
    DeclareLaunchArgument(
        'image_height', default_value='480', description='Height of the pictures.'),
    DeclareLaunchArgument(
        'frame_id', default_value='camera_optical_frame',
        description='Coordinate frame in the headers of the pictures and their results.'),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, start the driver, and the node with its own launch file."""
    return LaunchDescription([
        *ARGUMENTS, OpaqueFunction(function=start_driver),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(Path(__file__).with_name('yolo_seg.launch.py'))),
            launch_arguments={'image_topic': 'image_raw'}.items()),
    ])


def start_driver(context: LaunchContext) -> list[Action]:
    """Start the driver, or say how to get it."""
    values = {argument.name: LaunchConfiguration(argument.name).perform(context)
              for argument in ARGUMENTS}
    driver = values['driver']
    if driver not in get_packages_with_prefixes():
        return [LogInfo(msg=f'{driver} is not installed and not started: choose another driver, or '
                            f'sudo apt-get install ros-$ROS_DISTRO-{driver.replace("_", "-")}')]
    return [Node(package=driver, executable=EXECUTABLES[driver], name='camera', output='screen',
                 parameters=[parameters(values)])]


def parameters(values: dict[str, str]) -> dict[str, object]:
    """Give the parameters of the chosen driver."""
    width, height = int(values['image_width']), int(values['image_height'])
    if values['driver'] == 'usb_cam':
        return {'video_device': values['device'], 'frame_id': values['frame_id'],
                'image_width': width, 'image_height': height}
    return {'video_device': values['device'], 'camera_frame_id': values['frame_id'],
            'image_size': [width, height]}
