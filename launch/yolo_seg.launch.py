"""Start the node with a work config and a camera topic.

ros2 launch yolo_seg_node yolo_seg.launch.py \\
    config_file:=demo_float.json image_topic:=/camera/image_raw
"""
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

ARGUMENTS = (
    DeclareLaunchArgument(
        'config_file', default_value='',
        description='Work config (JSON): a path, or the name of a shipped one, such as '
                    'demo_float.json. Empty leaves it to params_file.'),
    DeclareLaunchArgument(
        'image_topic', default_value='',
        description='Camera topic, sensor_msgs/Image or sensor_msgs/CompressedImage; several are '
                    'separated by commas. Empty leaves it to params_file, or else to image_raw.'),
    DeclareLaunchArgument(
        'params_file', default_value='',
        description='Parameters (YAML) like the shipped config/yolo_seg_node.yaml; what is given '
                    'as a launch argument comes before.'),
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of the node and its results.'),
    DeclareLaunchArgument(
        'autostart', default_value='', choices=['', 'true', 'false'],
        description='Configure and activate at start; false leaves it to a lifecycle manager. '
                    'Empty leaves it to params_file, or else is true.'),
    DeclareLaunchArgument(
        'use_sim_time', default_value='', choices=['', 'true', 'false'],
        description='Take the time from /clock, for a simulation or a bag. Empty leaves it to '
                    'params_file, or else is false.'),
    DeclareLaunchArgument(
        'log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Least severity of log messages.'),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node with them."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start_node)])


def start_node(context: LaunchContext) -> list[LifecycleNode]:
    """Start the node; an argument left empty must not override the parameter file."""
    values = {argument.name: LaunchConfiguration(argument.name).perform(context)
              for argument in ARGUMENTS}
    files = [values['params_file']] if values['params_file'] else []
    return [LifecycleNode(
        package='yolo_seg_node', executable='yolo_seg_node', name='yolo_seg_node',
        namespace=values['namespace'], output='screen', parameters=[*files, parameters(values)],
        arguments=['--ros-args', '--log-level', values['log_level']])]


def parameters(values: dict[str, str]) -> dict[str, object]:
    """Give the node's parameters from the values of the launch arguments."""
    topics = [topic.strip() for topic in values['image_topic'].split(',') if topic.strip()]
    switches = {name: values[name] == 'true' for name in ('autostart', 'use_sim_time')
                if values[name]}
    named = {'config_file': values['config_file'], 'image_topics': topics}
    return {**switches, **{name: value for name, value in named.items() if value}}
