"""Settings of this process without which pictures arrive late, or not at all, or cost too much.

Nothing that the user has set is changed, and nothing reaches other processes.
"""

import ctypes
import os
from pathlib import Path
from typing import Callable

import cv2

from ..paths import share_dir

PROFILE = 'config/fastdds_pictures.xml'
# Fast DDS reads the first (the second, its old name, until Iron), and files of the last two names
# in the working directory. The rest chooses other transports.
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
OTHER_CHOICES = ('FASTDDS_BUILTIN_TRANSPORTS', 'SKIP_DEFAULT_XML', 'SKIP_DEFAULT_XML_FILE')
PROFILE_FILES = ('DEFAULT_FASTDDS_PROFILES.xml', 'DEFAULT_FASTRTPS_PROFILES.xml')

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MMAP_THRESHOLD, TRIM_THRESHOLD = 32 << 20, 512 << 20
ARENAS = 2


def prepare_process() -> None:
    """Make this process fit for pictures; call it before ``rclpy.init``."""
    _use_profile()
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:  # other C libraries have no such limits
        _keep_freed_memory(mallopt)
        _share_memory_between_threads(mallopt)
    # OpenCV's own threads spin while they wait, and the workers share the cores already.
    cv2.setNumThreads(1)


def _use_profile() -> None:
    """Give Fast DDS a shared-memory segment that holds a picture, see the profile."""
    chosen = any(os.environ.get(name) for name in PROFILE_VARIABLES + OTHER_CHOICES)
    if not chosen and not any(Path(name).exists() for name in PROFILE_FILES):
        os.environ[profile_variable()] = str(share_dir() / PROFILE)


def profile_variable() -> str:
    """The variable that names the profile; each release knows one and warns of the other."""
    return PROFILE_VARIABLES[os.environ.get('ROS_DISTRO') in ('humble', 'iron')]


def _keep_freed_memory(mallopt: Callable[[int, int], int]) -> None:
    """Stop glibc from giving each picture's memory back to the kernel.

    rclpy allocates a picture three times; above the default limit each is mapped anew, and its page
    faults cost more than everything else about the picture.
    """
    if not {'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'} & set(os.environ):
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def _share_memory_between_threads(mallopt: Callable[[int, int], int]) -> None:
    """Stop glibc from keeping a heap for each thread.

    Every activation starts new threads, and what the old ones have freed would lie idle.
    """
    if 'MALLOC_ARENA_MAX' not in os.environ:
        mallopt(M_ARENA_MAX, ARENAS)
