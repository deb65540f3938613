"""Class names from files, and what is wrong with a file."""
import pytest

from yolo_seg_node.errors import ConfigError
from yolo_seg_node.labels import MAX_BYTES, check_labels, default_labels, label_of, read_labels


def labels_of(tmp_path, data):
    path = tmp_path / 'names.list'
    path.write_bytes(data)
    return read_labels(path)


@pytest.mark.parametrize('data', [
    b'cat\ntraffic light\n', b'cat\r\ntraffic light\r\n', b'cat\rtraffic light',
    b'cat\ntraffic light', b'cat \n\ttraffic light\n\n \r\n', b'\xef\xbb\xbfcat\ntraffic light'])
def test_line_ends_blanks_and_byte_order_marks_are_no_part_of_a_name(tmp_path, data):
    assert labels_of(tmp_path, data) == ('cat', 'traffic light')


def test_names_in_any_language(tmp_path):
    assert labels_of(tmp_path, 'größe\n汽车\n'.encode()) == ('größe', '汽车')


@pytest.mark.parametrize('data, problem', [
    (b'', 'it holds no name'),
    (b'\n\n', 'it holds no name'),
    (b'cat\n\ndog\n', r'line\(s\) 2 are blank; write one class name on each line'),
    (b'\ncat\n \ndog\n', r'line\(s\) 1, 3 are blank'),
    (b'cat\n\xff\xfe\n', 'cannot be read: .*utf-8'),
])
def test_bad_files_say_what_is_wrong(tmp_path, data, problem):
    with pytest.raises(ConfigError, match=problem):
        labels_of(tmp_path, data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match='nothing.list has 1 problem(?s:.*)cannot be read'):
        read_labels(tmp_path / 'nothing.list')


def test_a_file_that_is_no_label_file_is_not_read_whole(tmp_path):
    with pytest.raises(ConfigError, match=f'larger than {MAX_BYTES} bytes'):
        labels_of(tmp_path, b'x' * (MAX_BYTES + 1))


def test_coco_has_80_names_in_the_usual_order():
    names = default_labels(80)
    assert (len(names), len(set(names))) == (80, 80)
    assert (names[0], names[2], names[55], names[79]) == ('person', 'car', 'cake', 'toothbrush')


@pytest.mark.parametrize('class_num, names', [(1, ('0',)), (3, ('0', '1', '2'))])
def test_other_numbers_of_classes_are_named_by_number(class_num, names):
    assert default_labels(class_num) == names


@pytest.mark.parametrize('class_id, name', [(0, 'cat'), (1, 'dog'), (2, '2'), (-1, '-1')])
def test_an_id_without_a_name_is_its_number(class_id, name):
    assert label_of(('cat', 'dog'), class_id) == name


def test_the_number_of_names_must_be_class_num():
    assert check_labels(('cat', 'dog'), 2, 'a.list') is None
    assert check_labels(('cat', 'dog'), 3, 'a.list') == (
        '"cls_names_list" \'a.list\' has 2 names, but "class_num" is 3; they must be equal')
