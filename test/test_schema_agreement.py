"""The JSON Schema, the code and the README say the same about the work config."""
import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest

from yolo_seg_node.config import SCHEMA_FILE, WorkConfig, make_work_config
from yolo_seg_node.letterbox import MODES
from yolo_seg_node.parsers import PARSERS
from yolo_seg_node.runtimes import RUNTIMES

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((ROOT / 'config' / SCHEMA_FILE).read_text(encoding='utf-8'))
KEYS = SCHEMA['properties']

# keys that are read under another name, or in passing
RENAMED = {'dnn_Parser': 'parser', 'top_k': 'nms_top_k', 'cls_names_list': 'class_names'}
CHECKED_ONLY = {'model_output_count'}
WITHOUT_EFFECT = {'is_performance', 'community_qat', 'combined_output', 'dequanti_file'}
# fields that no key sets by itself
DERIVED = {'path', 'warnings'}

README = (ROOT / 'README.md').read_text(encoding='utf-8')


def readme_keys():
    """First cells of the table below "## Work config", without the marks."""
    section = README.split('\n## Work config\n')[1].split('\n## ')[0]
    rows = [line.split('|')[1].strip() for line in section.splitlines() if line.startswith('| `')]
    return {key.strip('` ') for row in rows for key in row.split(',')}


def test_the_schema_is_a_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert all(entry['description'].endswith('.') and 'type' in entry for entry in KEYS.values())


def test_every_key_is_read_and_every_field_has_a_key():
    read = {RENAMED.get(key, key) for key in set(KEYS) - CHECKED_ONLY - WITHOUT_EFFECT}
    assert read == {field.name for field in fields(WorkConfig)} - DERIVED


@pytest.mark.parametrize('key', sorted(WITHOUT_EFFECT))
def test_keys_without_effect_say_so(key):
    assert 'without effect' in KEYS[key]['description']


@pytest.mark.parametrize('key', [key for key, entry in KEYS.items() if 'default' in entry])
def test_defaults_of_the_schema_are_those_of_the_code(key):
    config = make_work_config({'model_file': 'm', 'dnn_Parser': 'yolov8_seg'}, require_model=False)
    value = getattr(config, RENAMED.get(key, key))
    expected = KEYS[key]['default']
    assert (list(value) if isinstance(value, tuple) else value) == expected


@pytest.mark.parametrize('key', [key for key, entry in KEYS.items() if 'default' in entry])
def test_defaults_are_allowed_values(key):
    jsonschema.validate(KEYS[key]['default'], KEYS[key])


def test_lists_of_names_agree():
    assert tuple(KEYS['resize_mode']['enum']) == MODES
    assert all(name in KEYS['runtime']['description'] for name in RUNTIMES)
    assert set(SCHEMA['required']) == {'model_file', 'dnn_Parser'}
    assert all(make_work_config({'model_file': 'm', 'dnn_Parser': parser}, require_model=False)
               for parser in PARSERS)


def test_the_readme_lists_every_key():
    assert readme_keys() == set(KEYS)
