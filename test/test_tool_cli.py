"""The command ``yolo_seg`` itself: help, exit codes, what is missing."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from yolo_seg_node.tools import cli

ROOT = Path(__file__).parents[1]
TOOLS = sorted(cli.TOOLS)


def run(*args, blocked=(), **options):
    """Run the command in a Python of its own, in which some libraries cannot be imported."""
    code = ('import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split()))\n'
            'from yolo_seg_node.tools.cli import main; sys.exit(main())')
    return subprocess.run([sys.executable, '-c', code, ' '.join(blocked), *map(str, args)],
                          cwd=ROOT, capture_output=True, text=True, **options)


def test_help_lists_every_tool_with_examples(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    with pytest.raises(SystemExit) as error:
        cli.main(['--help'])
    text = capsys.readouterr().out
    assert error.value.code == 0
    for name, description in cli.TOOLS.items():
        assert re.search(rf'^ +{name}\s+{re.escape(description)}$', text, re.MULTILINE), name
    examples = re.findall(r'^  yolo_seg (\w+) ', text, re.MULTILINE)
    assert examples
    assert set(examples) <= set(TOOLS)
    assert 'exit code is 0' in text


@pytest.mark.parametrize('name', TOOLS)
def test_every_tool_has_help_with_examples_of_itself(capsys, name):
    try:
        import_module(f'yolo_seg_node.tools.{name}')
    except ImportError as error:
        pytest.skip(f'{name} needs a library that is not installed: {error}')
    with pytest.raises(SystemExit) as error:
        cli.main([name, '--help'])
    text = capsys.readouterr().out
    assert error.value.code == 0
    assert text.startswith(f'usage: yolo_seg {name} ')
    assert re.search(rf'^  yolo_seg {name} ', text, re.MULTILINE)


@pytest.mark.parametrize('args', [[], ['no_such_tool'], ['decode'], ['inspect', '--no-such']])
def test_a_wrong_command_line(capsys, args):
    with pytest.raises(SystemExit) as error:
        cli.main(args)
    assert error.value.code == 2
    assert 'usage: yolo_seg' in capsys.readouterr().err


def test_an_unknown_tool_is_named_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit):
        cli.main(['no_such_tool'])
    text = capsys.readouterr().err
    for name in ('no_such_tool', *TOOLS):
        assert name in text


def test_as_a_module():
    done = subprocess.run([sys.executable, '-m', 'yolo_seg_node.tools.cli', 'inspect',
                           'demo_float.json'], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'proto stride 4 NHWC' in done.stdout


def test_an_error_is_one_sentence_on_stderr():
    done = run('inspect', 'no_such.json')
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith("yolo_seg inspect: Work config 'no_such.json' has 1 problem")
    assert 'Traceback' not in done.stderr


def test_decode_needs_no_library_of_the_extras_for_boxes(tmp_path):
    done = decode_boxes(tmp_path, blocked=('pycocotools', 'tqdm', 'mcap', 'rosbags', 'onnxruntime'))
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('0 detections in 1 picture')


def decode_boxes(tmp_path, blocked, parser='yolov8', shapes=((1, 9), (1, 9), (1, 9, 4))):
    np.savez(tmp_path / 'heads.npz', **{f'output_{i}': np.full(shape, -1, np.float32)
                                        for i, shape in enumerate(shapes)})
    (tmp_path / 'work.json').write_text(json.dumps({
        'model_file': 'm.onnx', 'dnn_Parser': parser, 'input_size': [64, 64]}))
    return run('decode', tmp_path / 'work.json', '--tensors', tmp_path / 'heads.npz',
               '--image-size', '64x64', '--out', tmp_path / 'out.json', blocked=blocked)


def test_a_missing_library_of_an_extra_is_named(tmp_path):
    shapes = ((1, 9), (1, 9), (1, 9, 4), (1, 9, 32), (1, 32, 16, 16))
    done = decode_boxes(tmp_path, ('pycocotools',), 'yolov8_seg', shapes)
    assert done.returncode == 2
    assert 'pip install pycocotools' in done.stderr
    assert 'the extra "evaluate"' in done.stderr


def test_a_missing_library_of_a_whole_tool_is_named():
    done = run('replay', 'bag', '-o', 'out', '--config', 'demo_float.json', blocked=('rosbags',))
    assert done.returncode == 2
    assert 'rosbags' in done.stderr
    assert 'Traceback' not in done.stderr


def test_help_of_all_works_without_the_extras():
    done = run('--help', blocked=('pycocotools', 'tqdm', 'mcap', 'rosbags', 'onnx', 'onnxruntime'))
    assert done.returncode == 0


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_reader_that_stops_early_is_told_nothing(unbuffered):
    """As in ``yolo_seg inspect demo_float.json | head -n 1``."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, 'w') as pipe:
        done = subprocess.run(
            [sys.executable, '-m', 'yolo_seg_node.tools.cli', 'inspect', 'demo_float.json'],
            cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True,
            env={**os.environ, 'PYTHONUNBUFFERED': unbuffered})
    assert (done.returncode, done.stderr) == (2, '')
