"""The launch file and the parameter file agree with the node; launched where `launch` exists."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from yolo_seg_node.paths import share_dir

LAUNCH_FILE = share_dir() / 'launch' / 'yolo_seg.launch.py'
PARAMETER_FILE = share_dir() / 'config' / 'yolo_seg_node.yaml'
# what launch and rclpy themselves take, and what stands for a parameter of another name
NOT_PARAMETERS = {'params_file', 'namespace', 'use_sim_time', 'log_level'}
STANDS_FOR = {'image_topic': 'image_topics'}


def specs():
    """The table from which the node declares its parameters."""
    return pytest.importorskip('yolo_seg_node.ros.parameters').PARAMETERS


def declared():
    """Keyword arguments of each launch argument by its name, read without `launch`."""
    (assignment,) = [node for node in ast.parse(LAUNCH_FILE.read_text()).body
                     if isinstance(node, ast.Assign) and node.targets[0].id == 'ARGUMENTS']
    return {call.args[0].value: {k.arg: ast.literal_eval(k.value) for k in call.keywords}
            for call in assignment.value.elts}


def function_of_launch_file(name):
    """A function of the launch file that needs nothing of `launch`."""
    (function,) = [node for node in ast.parse(LAUNCH_FILE.read_text()).body
                   if isinstance(node, ast.FunctionDef) and node.name == name]
    space = {}
    exec(compile(ast.Module([function], []), str(LAUNCH_FILE), 'exec'), space)
    return space[name]


def launch_module():
    pytest.importorskip('launch_ros', reason='launch files run where ROS 2 is installed')
    spec = importlib.util.spec_from_file_location('yolo_seg_launch', LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_argument_has_a_default_and_a_description():
    for name, options in declared().items():
        assert set(options) >= {'default_value', 'description'}, name
        assert options['description'].endswith('.') and len(options['description']) > 20
        assert options['default_value'] in options.get('choices', [options['default_value']])


def test_arguments_are_parameters_of_the_node():
    names = {STANDS_FOR.get(name, name) for name in declared()} - NOT_PARAMETERS
    assert names <= {spec.name for spec in specs()}


def test_arguments_that_are_empty_do_not_override_the_parameter_file():
    parameters = function_of_launch_file('parameters')
    defaults = {name: options['default_value'] for name, options in declared().items()}
    assert parameters(defaults) == {}


@pytest.mark.parametrize('given, expected', [
    ({'config_file': 'demo_int.json'}, {'config_file': 'demo_int.json'}),
    ({'image_topic': '/a'}, {'image_topics': ['/a']}),
    ({'image_topic': '/a, /b/image_raw/compressed,'},
     {'image_topics': ['/a', '/b/image_raw/compressed']}),
    ({'autostart': 'false'}, {'autostart': False}),
    ({'autostart': 'true', 'use_sim_time': 'true'}, {'autostart': True, 'use_sim_time': True}),
])
def test_arguments_become_parameters(given, expected):
    defaults = {name: options['default_value'] for name, options in declared().items()}
    assert function_of_launch_file('parameters')({**defaults, **given}) == expected


def test_parameter_file_holds_every_parameter_with_its_default():
    (parameters,) = yaml.safe_load(PARAMETER_FILE.read_text()).values()
    assert parameters == {'ros__parameters': {spec.name: spec.default for spec in specs()}}


def test_parameter_file_says_of_every_parameter_what_the_node_says():
    comments, text = {}, ''
    for line in PARAMETER_FILE.read_text().partition('ros__parameters:')[2].splitlines():
        if key := re.match(r'    (\w+):', line):
            comments[key[1]], text = text.strip(), ''
        else:
            text += ' ' + line.strip(' #')
    for spec in specs():
        choices = f' One of: {", ".join(spec.choices)}.' if spec.choices else ''
        assert comments[spec.name] == spec.description + choices


def test_launch_description_can_be_built():
    built = launch_module().generate_launch_description().get_launch_arguments()
    assert {argument.name for argument in built} == set(declared())
    # launch adds the choices
    assert all(argument.description.startswith(declared()[argument.name]['description'])
               for argument in built)


def test_launch_file_starts_the_node_and_ends_it(tmp_path):
    """With a parameter file, over which the launch argument goes."""
    launch_module()
    parameter_file = tmp_path / 'parameters.yaml'
    parameter_file.write_text(
        '/**: {ros__parameters: {config_file: demo_float.json, score_threshold: 0.75}}')
    script = Path(__file__).with_name('launch_and_stop.py')
    output = subprocess.run(
        [sys.executable, script, LAUNCH_FILE, 'Subscribed to /front/image_raw',
         'config_file:=demo_int.json', f'params_file:={parameter_file}', 'namespace:=robot',
         'image_topic:=/front/image_raw'],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120).stdout
    assert 'robot.yolo_seg_node' in output and 'model shapes_seg_int.onnx' in output
    assert 'finished cleanly' in output, output
