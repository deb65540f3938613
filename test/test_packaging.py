"""package.xml, setup.py and what an installation of the package holds."""
import ast
from email import message_from_string
from importlib.metadata import entry_points
import os
from pathlib import Path
import re
import subprocess
import sys
import sysconfig
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = 'yolo_seg_node'
IN_ENVIRONMENT = Path(sys.prefix).resolve() == ROOT / '.venv'
COMMANDS = ('yolo_seg_node', 'yolo_seg')

# rosdep keys of modules that go by another name
ROSDEP_KEYS = {
    'cv2': 'python3-opencv', 'jsonschema': 'python3-jsonschema', 'numpy': 'python3-numpy',
    'onnxruntime': 'python3-onnxruntime-pip', 'yaml': 'python3-yaml',
}
# modules of extras_require, for tools that a robot does without
EXTRAS = {
    'mcap': 'mcap', 'mcap_ros2': 'mcap-ros2-support', 'onnx': 'onnx',
    'pycocotools': 'pycocotools', 'rosbags': 'rosbags', 'tqdm': 'tqdm',
}
# come with a vendor's system or not at all, and have no rosdep keys
VENDOR_MODULES = {'ai_msgs', 'hbm_img_msgs', 'hbm_runtime', 'hobot_dnn', 'vaststreamx'}
# needed though no module imports them: launch_ros of an installation does
INDIRECT_DEPENDENCIES = {'lifecycle_msgs'}


@pytest.fixture(scope='module')
def manifest():
    return ElementTree.parse(ROOT / 'package.xml').getroot()


@pytest.fixture(scope='module')
def installation(tmp_path_factory):
    """Install the checkout with pip, as a user would, into a folder of its own."""
    if not IN_ENVIRONMENT:
        pytest.skip('in a ROS 2 workspace colcon installs the package')
    prefix = tmp_path_factory.mktemp('prefix')
    subprocess.run(
        [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check', 'install',
         '--no-deps', '--no-build-isolation', '--ignore-installed', '--prefix', prefix,
         copy_of_sources(tmp_path_factory.mktemp('sources'))], check=True)
    return prefix


def copy_of_sources(folder):
    """Link to what is installed, since setuptools leaves its build folder beside setup.py."""
    for name in ('package.xml', 'setup.py', 'setup.cfg', 'pyproject.toml', 'LICENSE',
                 NAME, 'config', 'environment', 'launch', 'resource'):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope='module')
def metadata(installation):
    return message_from_string(next(installation.rglob('METADATA')).read_text())


def site_packages(prefix):
    return Path(sysconfig.get_path('purelib', vars={'base': str(prefix)}))


def imported_modules():
    """Return the top-level modules outside Python itself that package and launch files import."""
    files = [*(ROOT / NAME).rglob('*.py'), *(ROOT / 'launch').glob('*.py')]
    found = {name for path in files for name in imports_of(ast.parse(path.read_text()))}
    return found - set(sys.stdlib_module_names) - {NAME}


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split('.')[0]


def exec_depends(manifest):
    return {node.text for node in manifest.findall('exec_depend')}


def test_manifest_is_format_3_of_an_ament_python_package(manifest):
    assert manifest.get('format') == '3'
    assert manifest.findtext('export/build_type') == 'ament_python'
    assert manifest.findtext('license') == 'Apache-2.0'
    assert (ROOT / manifest.find('license').get('file')).read_text().count('Apache License')
    assert re.fullmatch(r'\S+@\S+\.\w+', manifest.find('maintainer').get('email'))


def test_manifest_and_setup_agree(manifest, metadata):
    for key in ('name', 'version', 'license'):
        assert manifest.findtext(key) == metadata[key]
    assert manifest.findtext('maintainer') == metadata['maintainer']


def test_every_import_is_an_exec_depend(manifest):
    modules = imported_modules() - VENDOR_MODULES - set(EXTRAS)
    needed = {ROSDEP_KEYS.get(module, module) for module in modules}
    assert needed - exec_depends(manifest) == set()


def test_every_exec_depend_is_imported(manifest):
    used = {ROSDEP_KEYS.get(module, module) for module in imported_modules()}
    assert exec_depends(manifest) - used - INDIRECT_DEPENDENCIES == set()


def test_no_dependency_is_named_twice(manifest):
    depends = [(node.tag, node.text) for node in manifest if node.tag.endswith('depend')]
    assert len(depends) == len(set(depends))


def test_imports_of_tools_are_in_an_extra(metadata):
    extras = {re.match(r'[\w-]+', line)[0] for line in metadata.get_all('Requires-Dist')}
    assert {EXTRAS[module] for module in imported_modules() & set(EXTRAS)} - extras == set()


@pytest.mark.parametrize('command', COMMANDS)
def test_command_leads_to_a_function(command):
    found = {entry.value: entry for entry in entry_points(group='console_scripts', name=command)}
    (entry,) = found.values()
    assert entry.value.startswith(f'{NAME}.')
    assert callable(entry.load())


@pytest.mark.skipif(not IN_ENVIRONMENT, reason='colcon puts commands into lib/ only')
@pytest.mark.parametrize('command', COMMANDS)
def test_command_stands_on_the_path_and_where_ros2_run_looks(command):
    prefix = Path(sys.prefix)
    assert os.access(prefix / 'bin' / command, os.X_OK)
    assert (prefix / 'lib' / NAME / command).resolve() == (prefix / 'bin' / command).resolve()


@pytest.mark.parametrize('command', COMMANDS)
def test_pip_installs_the_command(installation, command):
    assert os.access(installation / 'bin' / command, os.X_OK)


def test_pip_installs_every_module(installation):
    modules = {path.relative_to(ROOT) for path in (ROOT / NAME).rglob('*.py')}
    installed = {path.relative_to(site_packages(installation))
                 for path in site_packages(installation).rglob('*.py')}
    assert modules == installed


def test_pip_installs_every_shared_file(installation):
    folders = (ROOT / 'config', ROOT / 'launch', ROOT / 'resource/demo',
               ROOT / 'environment/msg/vision_msgs/msg')
    shared = {path.relative_to(ROOT) for folder in folders for path in folder.rglob('*')
              if path.is_file() and '__pycache__' not in path.parts}
    share = installation / 'share' / NAME
    installed = {path.relative_to(share) for path in share.rglob('*')
                 if path.is_file() and '__pycache__' not in path.parts}
    assert installed == shared | {Path('package.xml')}


def test_ament_finds_an_installation(installation, monkeypatch):
    from ament_index_python import get_package_share_directory
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(installation))
    assert Path(get_package_share_directory(NAME)) == installation / 'share' / NAME


def test_an_installation_finds_its_own_share_folder(installation):
    code = 'from yolo_seg_node.paths import share_dir; print(share_dir())'
    found = subprocess.run(
        [sys.executable, '-c', code], cwd=installation, text=True, check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(site_packages(installation))}).stdout
    assert Path(found.strip()) == installation / 'share' / NAME
