"""Bytes from outside that mean harm or nothing: only our own errors come out.

The corpus of ``test_fuzz`` as it is, changed copies of it, and any bytes at all, through the same
functions that ``make fuzz`` runs under a coverage-guided fuzzer.
"""
import ast
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_fuzz.targets import CORPUS, TARGETS, run
from yolo_seg_node.config import load_work_config
from yolo_seg_node.errors import FrameError, YoloSegError
from yolo_seg_node.frame import frame_stamp_ns
from yolo_seg_node.paths import share_dir
from yolo_seg_node.pipeline import Pipeline

SEEDS = {name: sorted((CORPUS / name).iterdir()) for name in TARGETS}
PACKAGE = Path(__file__).parents[1] / 'yolo_seg_node'
# What hurts a reader most: limits of integers, values that are no numbers, half characters, nesting
FRAGMENTS = [
    b'', b'\0', b'\xff', b'\xff' * 4, b'\x7f\xff\xff\xff', b'\xff\xff\xff\x7f', b'-1', b'0',
    b'1e999', b'9' * 400, b'NaN', b'null', b'[]', b'{}', b'""', b'"\\ud800"', b'[' * 2000, b',',
    b'(,)', b':', b'\n', b'\r', b'\xe2\x80\xa8', b'\xff\xd8\xff', b'\xff\xd9', b'PK']


@st.composite
def changed(draw, seed):
    """A seed with a few places overwritten, cut out, repeated or filled with a fragment."""
    data = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.sampled_from([0, 1, 2, 4, 9, 40, len(data)])), len(data))
        piece = draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=8)
                     | st.just(data[start:end] * 2))
        data = data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize('name, path', [(name, path) for name in TARGETS for path in SEEDS[name]],
                         ids=lambda value: getattr(value, 'name', value))
def test_the_corpus(name, path):
    run(name, path.read_bytes())


@pytest.mark.parametrize('name', TARGETS)
def test_every_target_reads_a_seed_to_its_end(name):
    """Otherwise the changed copies would only show that nothing is ever read."""
    def is_read(path):
        try:
            TARGETS[name](path.read_bytes())
        except YoloSegError:
            return False
        return True

    assert any(map(is_read, SEEDS[name]))


@pytest.mark.parametrize('name', TARGETS)
@settings(max_examples=300)
@given(data=st.data())
def test_changed_files(name, data):
    seed = data.draw(st.sampled_from(SEEDS[name]))
    run(name, data.draw(changed(seed.read_bytes())))


@pytest.mark.parametrize('name', TARGETS)
@settings(max_examples=50)
@given(data=st.binary(max_size=300))
def test_any_bytes(name, data):
    run(name, data)


def test_paths_of_a_work_config_lead_to_no_writes(tmp_path, monkeypatch):
    """Every key that is a path names a file that exists, then one that does not."""
    schema = json.loads((share_dir() / 'config' / 'work_config.schema.json').read_text())
    texts = [key for key, value in schema['properties'].items() if value['type'] == 'string']
    keys = [key for key in texts if key.endswith(('_file', '_list', '_params'))]
    assert {'model_file', 'cls_names_list', 'scales_file', 'vdsp_params'} <= set(keys)
    monkeypatch.chdir(tmp_path)
    for name in ('victim.onnx', 'victim.npz', 'victim'):
        Path(name).write_text('precious')
    before = _state(tmp_path)
    for key in keys:
        for name in ('victim.onnx', 'victim.npz', 'victim', 'new.onnx', 'new/model', '../new.npz'):
            values = {'model_file': 'victim.onnx', 'dnn_Parser': 'yolov8', key: name}
            (tmp_path / 'config.json').write_text(json.dumps(values))
            with pytest.raises(YoloSegError):
                Pipeline.open(load_work_config(tmp_path / 'config.json', require_model=False))
            (tmp_path / 'config.json').unlink()
            assert _state(tmp_path) == before, (key, name)


def _state(folder):
    files = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    return files, sorted(folder.parent.iterdir())


CODE_FROM_DATA = {'pickle', 'marshal', 'shelve', 'eval', 'exec', 'yaml.load', 'yaml.unsafe_load',
                  'yaml.full_load', 'numpy.load', 'np.load'}


@pytest.mark.parametrize('path', sorted(PACKAGE.rglob('*.py')), ids=lambda path: path.stem)
def test_no_module_runs_what_a_file_says(path):
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call):
            used.add(ast.unparse(node.func))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            used |= {alias.name for alias in node.names} | {getattr(node, 'module', '')}
    assert not used & CODE_FROM_DATA


@pytest.mark.parametrize('nanosec', [10**9, 2**32 - 1])
def test_stamps_that_no_header_may_have_are_refused(nanosec):
    """The results could not be published under the same stamp."""
    with pytest.raises(FrameError, match=f'{nanosec} nanoseconds') as error:
        frame_stamp_ns(2**31 - 1, nanosec)
    assert error.value.cause == 'stamp'
    assert frame_stamp_ns(-2**31, 10**9 - 1) == -2**31 * 10**9 + 10**9 - 1
