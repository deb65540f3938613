"""Play the pictures of a bag to the node and record its results; it ends with the bag.

ros2 launch yolo_seg_node bag_replay.launch.py config_file:=yolo11_seg_x5.json bag:=drive \
    image_topic:=/camera/image_raw output:=drive_results

Pictures come at the speed of the bag, so a slow machine skips some; `yolo_seg replay` skips none.
"""
from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument, EmitEvent, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction,
    RegisterEventHandler, TimerAction)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

# Time for the results of pictures that are under way when the bag ends.
LAST_RESULTS_SECS = 3.0
RESULTS = '^(.*/)?(detections|instance_mask|class_mask|label_info|hobot_dnn_detection(_info)?)$'

ARGUMENTS = (
    DeclareLaunchArgument(
        'config_file', description='Work config (JSON): a path, or the name of a shipped one, '
                                   'such as demo_float.json.'),
    DeclareLaunchArgument('bag', description='The bag to play.'),
    DeclareLaunchArgument(
        'image_topic', description='Topic of the pictures in the bag; several are separated by '
                                   'commas.'),
    DeclareLaunchArgument(
        'output', description='Folder of the bag that is written; it must not exist.'),
    DeclareLaunchArgument('rate', default_value='1.0', description='Speed of the playback.'),
    DeclareLaunchArgument(
        'delay', default_value='5.0',
        description='Seconds before the playback begins, in which the model is loaded.'),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start the node with its own launch file."""
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).with_name('yolo_seg.launch.py'))),
        launch_arguments={'use_sim_time': 'true'}.items())
    return LaunchDescription([*ARGUMENTS, node, OpaqueFunction(function=start_bags)])


def start_bags(context: LaunchContext) -> list[Action]:
    """Start the recorder and the player; end when the player does."""
    values = {argument.name: LaunchConfiguration(argument.name).perform(context)
              for argument in ARGUMENTS}
    record = ExecuteProcess(output='screen', cmd=[
        'ros2', 'bag', 'record', '--use-sim-time', '--output', values['output'],
        '--regex', RESULTS])
    # Only the pictures: the bag may hold results of an earlier run under the same names.
    topics = [topic.strip() for topic in values['image_topic'].split(',')]
    play = ExecuteProcess(output='screen', cmd=[
        'ros2', 'bag', 'play', values['bag'], '--clock', '--rate', values['rate'],
        '--delay', values['delay'], '--topics', *topics])
    finish = TimerAction(period=LAST_RESULTS_SECS, actions=[
        EmitEvent(event=Shutdown(reason='the bag has been played'))])
    return [record, play,
            RegisterEventHandler(OnProcessExit(target_action=play, on_exit=[finish]))]
