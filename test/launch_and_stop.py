"""Launch a file until its output has a text, then stop it: FILE TEXT [NAME:=VALUE...]."""

import sys

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource


def main(path: str, text: str, *arguments: str) -> int:
    """Launch, and give the exit code."""
    def stop(event):
        return Shutdown() if text in event.text.decode() else None

    service = LaunchService()
    service.include_launch_description(LaunchDescription([
        RegisterEventHandler(OnProcessIO(on_stdout=stop, on_stderr=stop)),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=[
            tuple(argument.split(':=', 1)) for argument in arguments])]))
    return service.run()


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
