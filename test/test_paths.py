"""Where files are looked for."""
from pathlib import Path

import pytest

from yolo_seg_node import paths
from yolo_seg_node.paths import find_file, find_model, search_dirs, share_dir, vacc_files


def write(path, text=''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_share_dir_holds_config_and_package():
    assert (share_dir() / 'config' / 'coco.list').is_file()
    assert (share_dir() / 'package.xml').is_file()


def test_share_dir_of_an_installation_is_found_above_the_module(tmp_path, monkeypatch):
    module = write(tmp_path / 'lib' / 'python3.10' / 'site-packages' / 'yolo_seg_node' / 'paths.py')
    share = tmp_path / 'share' / 'yolo_seg_node'
    share.mkdir(parents=True)
    monkeypatch.setattr(paths, '__file__', str(module))
    assert share_dir() == share.resolve()


def test_a_package_without_its_files_says_what_to_do(tmp_path, monkeypatch):
    module = write(tmp_path / 'lib' / 'yolo_seg_node' / 'paths.py')
    monkeypatch.setattr(paths, '__file__', str(module))
    with pytest.raises(FileNotFoundError, match='install the package with colcon or pip'):
        share_dir()


def test_the_folder_of_the_work_config_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    near, here = write(tmp_path / 'near' / 'a.txt'), write(tmp_path / 'a.txt')
    assert find_file('a.txt', search_dirs(near.parent)) == near.resolve()
    assert find_file('a.txt', search_dirs(None)) == here.resolve()
    assert find_file('b.txt', search_dirs(near.parent)) is None


@pytest.mark.parametrize('name', ['coco.list', 'config/coco.list'])
def test_shipped_files_are_found_from_anywhere(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shipped = (share_dir() / 'config' / 'coco.list').resolve()
    assert find_file(name, search_dirs(tmp_path)) == shipped


def test_an_absolute_path_is_taken_as_it_is(tmp_path):
    path = write(tmp_path / 'a.txt')
    assert find_file(str(path), search_dirs(None)) == path.resolve()
    assert find_file(str(tmp_path / 'b.txt'), search_dirs(tmp_path)) is None


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    path = write(tmp_path / 'a.txt')
    assert find_file('~/a.txt', search_dirs(None)) == path.resolve()


@pytest.mark.parametrize('name', ['a' * 5000, 'a\0b', '~no_such_user_here/a', '', '.', '..'])
def test_names_that_can_be_no_file_are_just_not_found(tmp_path, name):
    assert find_file(name, search_dirs(tmp_path)) is None


def test_a_folder_is_no_file_but_may_be_a_model(tmp_path):
    (tmp_path / 'recordings').mkdir()
    assert find_file('recordings', [tmp_path]) is None
    assert find_model('recordings', [tmp_path]) == (tmp_path / 'recordings').resolve()


@pytest.mark.parametrize('suffix', ['.so', '.json', '.params'])
def test_a_vacc_prefix_is_found_by_any_of_its_files(tmp_path, suffix):
    write(tmp_path / f'mod.v1{suffix}')
    assert find_model('mod.v1', [tmp_path]) == (tmp_path / 'mod.v1').resolve()
    assert find_model('mod', [tmp_path]) is None


def test_the_files_of_a_vacc_model_keep_dots_of_the_prefix():
    assert [p.name for p in vacc_files(Path('x/mod.v1'))] == ['mod.v1.so', 'mod.v1.json',
                                                              'mod.v1.params']
