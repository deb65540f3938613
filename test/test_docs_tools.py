"""The commands of docs/tools.md, run in their order: they work, and print what is shown there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple

import pytest

pytest.importorskip('rosbags', reason='these tests need the extra "replay"')
pytest.importorskip('pycocotools', reason='these tests need the extra "evaluate"')

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / 'docs' / 'tools.md'
FAILED = '[exit code 1]'
REST = '...'


class Example(NamedTuple):
    """A command and what the document shows of its output."""

    command: str
    shown: List[str]


def examples() -> List[Example]:
    found = []
    for block in re.findall('```console\n(.*?)```', DOCUMENT.read_text(), re.DOTALL):
        for part in re.split(r'^\$ ', block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            found.append(Example(command, shown))
    return found


def words(line: str) -> str:
    """A line without what differs between machines: figures, bars and the width of columns."""
    return ' '.join(re.sub(r'[\d.]*\d', 'N', line).replace('#', '').split())


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    name, *arguments = command.split()
    start = {'yolo_seg': ['-m', 'yolo_seg_node.tools.cli'], 'python': []}[name]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run([sys.executable, *start, *arguments], cwd=folder, env=environment,
                          capture_output=True, text=True)


def test_commands_run_and_print_what_is_shown(tmp_path):
    for name in ('demo', 'resource'):
        (tmp_path / name).symlink_to(ROOT / name)
    ran = 0
    for command, shown in examples():
        if '--node' in command.split():  # has a test of its own, see test_tool_benchmark.py
            continue
        done = run(command, tmp_path)
        assert done.returncode == (FAILED in shown), f'{command}\n{done.stderr}'
        printed = set(map(words, done.stdout.splitlines()))
        # The first line of a benchmark is the machine.
        wanted = [line for line in shown if line not in (REST, FAILED) and ' CPUs, ' not in line]
        missing = [line for line in wanted if words(line) not in printed]
        assert not missing, f'{command} does not print {missing}, but:\n{done.stdout}'
        ran += 1
    assert ran >= 8


def test_every_tool_of_the_table_has_its_chapter():
    text = DOCUMENT.read_text()
    tools = re.findall(r'^\| \[`(\w+)`\]\(#(\w+)\)', text, re.MULTILINE)
    assert tools and all(name == anchor and f'\n## {name}\n' in text for name, anchor in tools)
