"""What every test through real ROS 2 needs."""

import itertools
import os

import pytest

pytest.importorskip('rclpy', reason='these tests need ROS 2: source it, or run `make test`')

from ros_camera import CameraProcess  # noqa: E402
from ros_harness import NodeProcess, Observer, private_domain  # noqa: E402

from yolo_seg_node.paths import share_dir  # noqa: E402
from yolo_seg_node.ros.transport import PROFILE, profile_variable  # noqa: E402

_counter = itertools.count()


@pytest.fixture(scope='session', autouse=True)
def ros_environment(tmp_path_factory):
    """A domain and a log folder of our own, for this process and all that it starts."""
    os.environ['ROS_DOMAIN_ID'] = str(private_domain())
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    os.environ['ROS_LOG_DIR'] = str(tmp_path_factory.mktemp('ros_log'))


@pytest.fixture(scope='session')
def camera(ros_environment):
    process = CameraProcess()
    yield process
    process.close()


@pytest.fixture(scope='session')
def observer(ros_environment):
    # It also publishes pictures of 6 MB. The node must take the profile by itself, so it is taken
    # back from the environment.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(profile_variable(), str(share_dir() / PROFILE))
        instance = Observer()
    yield instance
    instance.close()


@pytest.fixture(scope='module')
def start_node(ros_environment, tmp_path_factory):
    """Starts nodes, each in a namespace of its own; they are stopped after the module."""
    nodes = []

    def start(**parameters):
        number = next(_counter)
        log = tmp_path_factory.mktemp('node') / 'output.txt'
        parameters = {'config_file': 'demo_float.json', **parameters}
        nodes.append(NodeProcess(log, f'/test{number}', parameters))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()
