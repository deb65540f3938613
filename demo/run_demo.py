"""The main job end to end on real ROS 2: a camera process, the node process, and this receiver.

    make demo

Plays the sample bag onto a camera topic, collects what the node publishes, and writes to
demo_output/: an annotated picture and a bag with the node's messages. Prints what was found.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BAG = ROOT / 'resource' / 'demo' / 'sample_bag'
TRUTH = ROOT / 'resource' / 'demo' / 'sample_truth.json'
TOPIC = '/camera/image_raw'
START_SECONDS = 60.0
RESULT_SECONDS = 60.0


def prepare_environment(output: Path) -> None:
    """Give this demo's processes a ROS domain of their own, on this machine only."""
    os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    os.environ['ROS_LOG_DIR'] = str(output / 'log')


def start_node(config: str, log: Path) -> subprocess.Popen:
    """Start the installed node, its log going to a file."""
    command = [str(Path(sys.prefix) / 'bin' / 'yolo_seg_node'), '--ros-args',
               '-p', f'config_file:={ROOT / "config" / config}',
               '-p', f'image_topics:=["{TOPIC}"]']
    with log.open('w') as sink:
        return subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)


def start_camera() -> subprocess.Popen:
    """Start the process that plays the bag."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / 'demo' / 'play_bag.py'), str(BAG), '--topic', TOPIC],
        stdout=subprocess.DEVNULL)


def stop(process: subprocess.Popen) -> int:
    """End a process the way a user does, with Ctrl-C, and give its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def fail(message: str, log: Path) -> None:
    """End the demo with the node's last words."""
    tail = log.read_text(errors='replace').splitlines()[-15:] if log.exists() else []
    raise SystemExit('\n'.join([f'demo failed: {message}', f'The node said ({log}):', *tail]))


def run(output: Path, config: str) -> int:
    """Run node and camera, collect, report; gives the exit code."""
    from collector import Collector  # imports rclpy, which reads the environment set above
    from report import print_stages, print_table, save_picture

    log = output / 'node.log'
    truth = {entry['stamp_ns']: entry for entry in json.loads(TRUTH.read_text())['frames']}
    print('starting the node ...', flush=True)
    node = start_node(config, log)
    collector = Collector(output / 'bag')
    try:
        if not collector.wait(lambda: collector.is_active() or node.poll() is not None,
                              START_SECONDS) or node.poll() is not None:
            fail(f'the node was not active within {START_SECONDS:g} s', log)
        print(f'playing {BAG.relative_to(ROOT)} onto {TOPIC} ...', flush=True)
        camera = start_camera()
        last = max(truth)
        arrived = collector.wait(lambda: collector.newest_ns() >= last, RESULT_SECONDS)
        collector.wait(collector.has_stage_times, 3.0)
        if camera.wait(30) != 0 or not arrived:
            fail(f'not all results came within {RESULT_SECONDS:g} s', log)
    finally:
        node_code = stop(node)
        collector.close()
    print_table(collector.frames, truth)
    picture = save_picture(collector.frames, output / 'annotated.png')
    print_stages(collector.stage_times)
    print(f'\nwrote {picture.relative_to(ROOT)}, {(output / "bag").relative_to(ROOT)}')
    if node_code != 0:
        fail(f'the node ended with exit code {node_code}', log)
    return 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', default='demo_int.json', help='work config in config/')
    options = parser.parse_args()
    output = ROOT / 'demo_output'
    shutil.rmtree(output, ignore_errors=True)
    (output / 'log').mkdir(parents=True)
    prepare_environment(output)
    start = time.monotonic()
    code = run(output, options.config)
    print(f'done in {time.monotonic() - start:.0f} s')
    return code


if __name__ == '__main__':
    sys.exit(main())
