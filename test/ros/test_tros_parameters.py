"""The parameters of TROS: their names, types and defaults, and which of them wins."""

import re
from pathlib import Path

import pytest

from yolo_seg_node.errors import ConfigError
from yolo_seg_node.ros import tros_parameters
from yolo_seg_node.ros.parameters import PARAMETERS
from yolo_seg_node.ros.tros_parameters import (
    TROS_PARAMETERS, expected_type, picture_topics, reads_file)

DEFAULTS = {spec.name: spec.default for spec in PARAMETERS}
# name -> type and default of dnn_node_example; None where ours differs on purpose
CONTRACT = {
    'feed_type': (int, None), 'image': (str, None), 'image_type': (int, 0),
    'image_width': (int, 0), 'image_height': (int, 0), 'dump_render_img': (int, 0),
    'is_shared_mem_sub': (int, 0), 'config_file': (str, None),
    'msg_pub_topic_name': (str, 'hobot_dnn_detection'), 'ros_img_topic_name': (str, None),
    'sharedmem_img_topic_name': (str, '/hbmem_img')}


@pytest.mark.parametrize('name', CONTRACT)
def test_names_types_and_defaults_are_those_of_the_contract(name):
    kind, default = CONTRACT[name]
    assert type(DEFAULTS[name]) is kind
    assert default is None or DEFAULTS[name] == default


@pytest.mark.parametrize('name, value', [
    ('feed_type', 2), ('image_type', 2), ('image_width', -1), ('dump_render_img', 3),
    ('is_shared_mem_sub', -1)])
def test_a_wrong_number_is_refused_with_its_limits(name, value):
    spec = next(spec for spec in TROS_PARAMETERS if spec.name == name)
    low, high = spec.limits
    assert spec.problem(value) == f'{name} is {value}, but must be from {low} to {high}'
    assert spec.problem(low) is spec.problem(high) is None


@pytest.mark.parametrize('values, parameter, topics', [
    ({}, 'image_topics', ['image_raw']),
    ({'image_topics': ['/a', '/b']}, 'image_topics', ['/a', '/b']),
    ({'image_topics': ['/a'], 'ros_img_topic_name': '/b'}, 'ros_img_topic_name', ['/b']),
    ({'ros_img_topic_name': '/b', 'is_shared_mem_sub': 1}, 'sharedmem_img_topic_name',
     ['/hbmem_img']),
    ({'is_shared_mem_sub': 1, 'sharedmem_img_topic_name': '/left'}, 'sharedmem_img_topic_name',
     ['/left']),
    ({'feed_type': 0, 'is_shared_mem_sub': 1, 'ros_img_topic_name': '/b'}, 'feed_type',
     ['feedback']),
])
def test_which_pictures_are_taken(values, parameter, topics):
    values = {**DEFAULTS, **values}
    assert picture_topics(values).topics == topics
    assert picture_topics(values).parameter == parameter
    assert reads_file(values) == (topics == ['feedback'])


def test_the_document_for_tros_users_names_every_parameter():
    text = (Path(__file__).parents[2] / 'docs/tros.md').read_text(encoding='utf-8')
    table = text.split('## Parameters')[1].split('## Topics')[0]
    named = set(re.findall('`([a-z_]+)`', table))
    assert {spec.name for spec in TROS_PARAMETERS} | {'config_file'} <= named


def test_expected_type():
    hbm = pytest.importorskip('hbm_img_msgs.msg')
    assert expected_type(DEFAULTS) is None
    assert expected_type({**DEFAULTS, 'is_shared_mem_sub': 1}) is hbm.HbmMsg1080P


def test_shared_memory_without_its_messages_is_refused(monkeypatch):
    """As on a machine without TROS."""
    monkeypatch.setattr(tros_parameters, 'hbm_types', dict)
    assert expected_type(DEFAULTS) is None
    with pytest.raises(ConfigError, match='hbm_img_msgs is not installed; source TROS'):
        expected_type({**DEFAULTS, 'is_shared_mem_sub': 1})
