"""What the node sets for its process so that large pictures arrive, and what it leaves alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from yolo_seg_node.paths import share_dir
from yolo_seg_node.ros.transport import PROFILE, PROFILE_VARIABLES

PROFILE_PATH = share_dir() / PROFILE
TIMEOUT_SECS = 60
PICTURES, PICTURE_BYTES = 20, 1920 * 1080 * 3

SHOW_ENVIRONMENT = """
import json, os
from yolo_seg_node.ros.transport import prepare_process
before = dict(os.environ)
prepare_process()
print(json.dumps({k: v for k, v in os.environ.items() if before.get(k) != v}))
"""
# Allocates and frees pictures as rclpy does; prints the page faults of them all.
COUNT_PAGE_FAULTS = """
import ctypes, resource, sys
from yolo_seg_node.ros.transport import prepare_process
prepare_process()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [
    ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def pictures(count, size):
    for _ in range(count):
        parts = [libc.malloc(size) for _ in range(3)]
        for part in parts:
            libc.memset(part, 1, size)
        for part in reversed(parts):
            libc.free(part)
pictures(2, int(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pictures(20, int(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
RECEIVE = """
import sys, threading, time
from yolo_seg_node.ros.transport import prepare_process
prepare_process()
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node, received = rclpy.create_node('test_transport_receiver'), set()
node.create_subscription(
    Image, sys.argv[1], lambda m: received.add(m.height), qos_profile_sensor_data)
end = time.monotonic() + float(sys.argv[2])
while 0 not in received and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
print(len(received - {0}))
"""
SEND = """
import sys, time
from array import array
from yolo_seg_node.ros.transport import prepare_process
prepare_process()
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
topic, pictures, size, timeout = sys.argv[1], *map(int, sys.argv[2:])
rclpy.init()
node = rclpy.create_node('test_transport_camera')
publisher = node.create_publisher(Image, topic, qos_profile_sensor_data)
end = time.monotonic() + timeout
while not publisher.get_subscription_count() and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)
data = array('B', bytes(size))
for i in range(1, pictures + 1):
    publisher.publish(Image(height=i, data=data))
    time.sleep(0.1)
while publisher.get_subscription_count() and time.monotonic() < end:
    publisher.publish(Image(height=0))
    time.sleep(0.1)
"""


def environment(**changes):
    """The environment of the tests without what a user may have set."""
    ours = ('MALLOC_', 'FASTDDS_', 'FASTRTPS_', 'SKIP_DEFAULT_XML')
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    # Tests may run from any folder, and the child must find this package.
    root = str(Path(__file__).parents[2])
    return {**kept, 'PYTHONPATH': os.pathsep.join(
        [root, *filter(None, [kept.get('PYTHONPATH')])]), **changes}


def run(code, *arguments, folder=None, **changes):
    done = subprocess.run([sys.executable, '-c', code, *map(str, arguments)], text=True, cwd=folder,
                          env=environment(**changes), timeout=TIMEOUT_SECS, capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize('distribution, variable', [
    ('humble', PROFILE_VARIABLES[1]), ('iron', PROFILE_VARIABLES[1]),
    ('jazzy', PROFILE_VARIABLES[0]), ('kilted', PROFILE_VARIABLES[0])])
def test_fast_dds_is_given_the_profile_by_the_name_that_it_knows(tmp_path, distribution, variable):
    changed = run(SHOW_ENVIRONMENT, folder=tmp_path, ROS_DISTRO=distribution)
    assert changed == {variable: str(PROFILE_PATH)} and PROFILE_PATH.is_file()


@pytest.mark.parametrize('variable, value', [
    ('FASTDDS_DEFAULT_PROFILES_FILE', 'mine.xml'), ('FASTRTPS_DEFAULT_PROFILES_FILE', 'mine.xml'),
    ('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4'), ('SKIP_DEFAULT_XML', '1')])
def test_a_choice_of_the_user_stays(tmp_path, variable, value):
    assert run(SHOW_ENVIRONMENT, folder=tmp_path, **{variable: value}) == {}


def test_a_profile_in_the_working_directory_stays(tmp_path):
    (tmp_path / 'DEFAULT_FASTDDS_PROFILES.xml').write_text(PROFILE_PATH.read_text())
    assert run(SHOW_ENVIRONMENT, folder=tmp_path) == {}


def test_memory_of_pictures_is_kept_for_the_next():
    # The first touch of a page of 4 KiB is a fault.
    in_all = 20 * 3 * PICTURE_BYTES / 4096
    assert run(COUNT_PAGE_FAULTS, PICTURE_BYTES) < in_all / 10


def test_limits_of_memory_that_the_user_has_set_stay():
    in_all = 20 * 3 * PICTURE_BYTES / 4096
    assert run(COUNT_PAGE_FAULTS, PICTURE_BYTES, MALLOC_MMAP_THRESHOLD_='131072',
               MALLOC_TRIM_THRESHOLD_='131072') > in_all / 2


def test_opencv_works_in_the_thread_of_its_caller():
    assert run('import cv2\nfrom yolo_seg_node.ros.transport import prepare_process\n'
               'prepare_process()\nprint(cv2.getNumThreads())') == 1


def test_large_best_effort_pictures_arrive():
    """Without the profile a picture of 6 MB hardly ever does."""
    topic = f'/test_transport_{os.getpid()}'
    with subprocess.Popen(
            [sys.executable, '-c', SEND, topic, str(PICTURES), str(PICTURE_BYTES),
             str(TIMEOUT_SECS)], env=environment()) as camera:
        received = run(RECEIVE, topic, TIMEOUT_SECS / 2)
    assert camera.returncode == 0
    assert received >= PICTURES * 3 / 4
