"""Measure the host side of the node.

    make bench                                    # every table, about ten minutes
    make bench-check                              # short; fails where a ratio is too small

Everything but the tables of the whole node runs on one thread. Times are medians of process CPU
time over repetitions in which all candidates take turns, ratios are medians of paired ratios, so
that other load on the machine hardly matters. The whole node is measured from outside, on all
cores.
"""
from __future__ import annotations

import os

for _name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[_name] = '1'  # before numpy is imported

import argparse  # noqa: E402
import platform  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402

import cv2  # noqa: E402
import decode  # noqa: E402
import frame_profile  # noqa: E402
import messages  # noqa: E402
import node_lifetime  # noqa: E402
import node_rates  # noqa: E402
import numpy as np  # noqa: E402
import preprocess  # noqa: E402
import scaling  # noqa: E402
import stand_in  # noqa: E402
import transport  # noqa: E402
from table import Table  # noqa: E402

from yolo_seg_node.ros.transport import prepare_process  # noqa: E402

CHECK_REPETITIONS, REPETITIONS = 15, 60
TRANSPORT_PICTURES, LASTING_PICTURES = 60, 10000
RATE_SECS, RATE_REPETITIONS, START_REPETITIONS = 5.0, 3, 3
TRANSPORT_CHECK_PICTURES, RATE_CHECK_SECS = 20, 3.0
PROFILE = stand_in.ROOT / 'docs' / 'images' / 'profile.png'
SMALLEST_IOU = 0.999


def machine() -> str:
    """What the figures were measured on, and how busy it was before."""
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    names = [line for line in lines if line.startswith(('model name', 'Model'))]
    cpu = names[0].partition(':')[2].strip() if names else platform.machine()
    return (f'{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, '
            f'numpy {np.__version__}, OpenCV {cv2.__version__}; '
            f'load {os.getloadavg()[0]:.1f} before.')


def all_tables(repetitions: int) -> Iterator[Table]:
    """Every table, as it is ready."""
    yield decode.objects_table(repetitions)
    yield decode.forms_table(repetitions)
    yield decode.crowd_table(repetitions)
    yield preprocess.table(repetitions)
    yield messages.table(repetitions)
    yield from scaling.tables(repetitions)
    profile = frame_profile.table(repetitions)
    frame_profile.draw(profile, PROFILE)
    yield profile
    yield transport.table(TRANSPORT_PICTURES)
    yield node_rates.rates_table(RATE_SECS, RATE_REPETITIONS)
    yield node_rates.slow_table(RATE_SECS)
    yield node_rates.workers_table(repetitions)
    yield node_rates.cameras_table(RATE_SECS)
    yield node_lifetime.start_table(START_REPETITIONS)
    yield node_lifetime.steady_table(LASTING_PICTURES)
    yield node_lifetime.crowd_table()


def check(repetitions: int) -> list[str]:
    """Sentences about ratios that are worse than they may be, with generous margins."""
    objects, forms = decode.objects_table(repetitions), decode.forms_table(repetitions)
    crowd, pictures = decode.crowd_table(repetitions), preprocess.table(repetitions)
    message_ms = messages.table(repetitions).column('CPU ms')
    limits = [
        ('decode and masks, plain / ours, worst scene', min(objects.column('plain / source')), 3.0),
        ('boxes only, plain / ours, worst scene', min(objects.column('plain / boxes only')), 4.0),
        ('1080p NV12, through BGR / by planes', pictures.column('through BGR / by planes')[0], 2.0),
        ('1080p bgr8, blobFromImage / ours', pictures.column('blobFromImage / ours')[0], 1.2),
        ('other heads, int / worst form', 1 / max(forms.column('ratio to int32/int16')), 1 / 3),
        ('normal picture / 8400 cells above the threshold',
         1 / max(crowd.column('ratio to 20 objects')), 1 / 30),
        ('smallest mask IoU against the plain way', decode.agreement(20), SMALLEST_IOU),
        ('detection array, new / filled again', message_ms[1] / message_ms[2], 3.0),
        *through_ros(),
    ]
    for name, found, least in limits:
        print(f'{"ok  " if found >= least else "FAIL"} {name}: {found:.3g} (least {least:.3g})',
              flush=True)
    return [name for name, found, least in limits if not found >= least]


def through_ros() -> Iterator[tuple[str, float, float]]:
    """The same about the node in ROS 2."""
    default, ours = (transport.ages_ms('reliable', name, TRANSPORT_CHECK_PICTURES)
                     for name in ('default', 'node and camera'))
    yield '1080p NV12, age at receipt, default / ours', median(default) / median(ours), 3.0
    came = transport.ages_ms('best_effort', 'node and camera', TRANSPORT_CHECK_PICTURES)
    yield '1080p NV12, best effort, arrived', len(came) / TRANSPORT_CHECK_PICTURES, 0.9
    yield 'published / bare runtime', node_rates.check_ratio(RATE_CHECK_SECS), 0.7
    yield 'peak memory, no objects / 100', 1 / node_lifetime.crowd_table().column(
        'ratio to none')[-1], 1 / 1.3


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='only compare ratios with limits')
    options = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    prepare_process()  # also keeps OpenCV to one thread
    stand_in.install()
    if options.check:
        return bool(check(CHECK_REPETITIONS))
    print(f'`make bench` on {machine()}')
    for table in all_tables(REPETITIONS):
        print(f'\n{table.markdown()}', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
