"""Several cameras with one model; the results of each appear in its namespace.

ros2 launch yolo_seg_node multi_camera.launch.py config_file:=yolo11_seg_x5.json cameras:=front,rear
"""
from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

ARGUMENTS = (
    DeclareLaunchArgument(
        'config_file', description='Work config (JSON): a path, or the name of a shipped one, '
                                   'such as demo_float.json.'),
    DeclareLaunchArgument(
        'cameras', default_value='front,rear',
        description='Namespaces of the cameras, which run already, separated by commas.'),
    DeclareLaunchArgument(
        'image', default_value='image_raw',
        description='Topic of the pictures in each namespace, such as image_raw/compressed.'),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start the node with its own launch file."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start_node)])


def start_node(context: LaunchContext) -> list[Action]:
    """Start the node on one topic for each camera."""
    cameras, image = (LaunchConfiguration(name).perform(context) for name in ('cameras', 'image'))
    topics = [f'/{camera.strip().strip("/")}/{image}' for camera in cameras.split(',')]
    return [IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).with_name('yolo_seg.launch.py'))),
        launch_arguments={'image_topic': ','.join(topics)}.items())]
