"""Recordings of every kind, whole and damaged, read without ROS."""

import os
import sqlite3
from pathlib import Path
from typing import Callable, Dict, List

import numpy as np
import pytest

pytest.importorskip('rosbags', reason='these tests need the extra "replay"')

from bags_factory import (  # noqa: E402
    FRAME_ID, IMAGE, PERIOD_NS, RECORDING_DELAY_NS, START_NS, TOPIC, Entry, compressed_entry, cut,
    png_entry, raw_entries, raw_entry, scene, write_mcap, write_rosbag1, write_rosbag2)
from mcap.writer import CompressionType  # noqa: E402
from rosbags.rosbag2 import StoragePlugin  # noqa: E402

from yolo_seg_node.errors import FrameError  # noqa: E402
from yolo_seg_node.tools.bag import Bag  # noqa: E402
from yolo_seg_node.tools.bag_pictures import picture_topics, pictures  # noqa: E402
from yolo_seg_node.tools.errors import ToolError  # noqa: E402

COUNT = 12


def _sqlite3(path: Path, entries: List[Entry]) -> Path:
    return write_rosbag2(path, entries, StoragePlugin.SQLITE3)


def _bare_sqlite3(path: Path, entries: List[Entry]) -> Path:
    return next(_sqlite3(path, entries).glob('*.db3'))


def _bare_mcap(path: Path, entries: List[Entry]) -> Path:
    return next(write_rosbag2(path, entries).glob('*.mcap'))


def _ros1(path: Path, entries: List[Entry]) -> Path:
    return write_rosbag1(path.with_suffix('.bag'), entries)


def _ros1_compressed(path: Path, entries: List[Entry]) -> Path:
    return write_rosbag1(path.with_suffix('.bag'), entries, compression=True)


def _mcap_of(compression: CompressionType) -> Callable[[Path, List[Entry]], Path]:
    return lambda path, entries: write_mcap(path.with_suffix('.mcap'), entries, compression)


WRITERS: Dict[str, Callable[[Path, List[Entry]], Path]] = {
    'rosbag2 mcap': write_rosbag2,
    'rosbag2 sqlite3': _sqlite3,
    'bare mcap': _bare_mcap,
    'bare sqlite3': _bare_sqlite3,
    'ros 1': _ros1,
    'ros 1 bz2': _ros1_compressed,
    'mcap writer': _mcap_of(CompressionType.NONE),
    'mcap writer zstd': _mcap_of(CompressionType.ZSTD),
    'mcap writer lz4': _mcap_of(CompressionType.LZ4),
}


@pytest.fixture(scope='module')
def entries() -> List[Entry]:
    """Pictures on two topics, with noise so that nothing compresses away."""
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(COUNT)]
    return [entry for i, frame in enumerate(frames)
            for entry in (raw_entry(i, frame), png_entry(i, frame, '/rear/compressed'))]


def _storage_file(path: Path) -> Path:
    if path.is_file():
        return path
    return next(file for file in path.iterdir() if file.suffix in ('.mcap', '.db3'))


@pytest.mark.parametrize('kind', WRITERS)
def test_every_container_gives_the_pictures_that_were_written(kind, entries, tmp_path):
    path = WRITERS[kind](tmp_path / 'recording', entries)
    with Bag(path) as bag:
        topics = picture_topics(bag)
        found = list(pictures(bag, topics))
        assert not bag.warnings
        assert bag.start_ns == START_NS + RECORDING_DELAY_NS
    assert set(topics) == {TOPIC, '/rear/compressed'}
    assert len(found) == len(entries)
    assert [p.log_ns for p in found] == sorted(entry.log_ns for entry in entries)
    for topic in topics:
        mine = [p for p in found if p.topic == topic]
        wanted = [entry for entry in entries if entry.topic == topic]
        for picture, entry, raw in zip(mine, wanted, entries[::2]):
            frame = picture.frame()
            assert (frame.stamp_ns, frame.frame_id) == (entry.stamp_ns, FRAME_ID)
            assert np.array_equal(frame.bgr().reshape(-1), raw.fields['data'])


@pytest.mark.parametrize('kind', WRITERS)
def test_truncated_bag_is_read_as_far_as_it_goes(kind, tmp_path):
    noise = np.random.default_rng(1)
    # Many, because SQLite writes the first page of a table only when it is full.
    frames = [noise.integers(0, 256, (100, 130, 3), np.uint8) for _ in range(5 * COUNT)]
    entries = [raw_entry(i, frame) for i, frame in enumerate(frames)]
    path = WRITERS[kind](tmp_path / 'recording', entries)
    cut(_storage_file(path), 0.6)
    with Bag(path) as bag:
        found = list(pictures(bag, [TOPIC]))
        assert bag.warnings
    # Not 60 %: chunks and pages of tables are lost as a whole.
    assert COUNT < len(found) < 4 * COUNT
    for picture, entry in zip(found, entries):
        assert picture.stamp_ns == entry.stamp_ns
        assert np.array_equal(picture.data, entry.fields['data'])


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_bag_of_a_killed_recorder_has_no_metadata(plugin, entries, tmp_path):
    path = write_rosbag2(tmp_path / 'recording', entries, plugin)
    (path / 'metadata.yaml').unlink()
    if plugin == StoragePlugin.MCAP:
        data = _storage_file(path).read_bytes()
        _storage_file(path).write_bytes(data[:-20])  # without its end the index is not found
    with Bag(path) as bag:
        assert bag.topics[TOPIC].count == COUNT
        assert len(list(bag.messages([TOPIC]))) == COUNT
    assert 'no usable index' in bag.warnings[0]


def test_damage_in_the_middle_ends_the_reading_with_a_warning(entries, tmp_path):
    path = write_mcap(tmp_path / 'recording.mcap', raw_entries(4), CompressionType.ZSTD)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 64] = bytes(64)
    path.write_bytes(data)
    with Bag(path) as bag:
        found = list(bag.messages([TOPIC]))
    assert 0 < len(found) < 4
    assert any('damaged after' in warning for warning in bag.warnings)


def test_time_window_is_half_open(entries, tmp_path):
    first_ns = START_NS + RECORDING_DELAY_NS
    for kind in ('rosbag2 mcap', 'rosbag2 sqlite3', 'ros 1'):
        with Bag(WRITERS[kind](tmp_path / kind, entries)) as bag:
            found = bag.messages([TOPIC], first_ns + 2 * PERIOD_NS, first_ns + 5 * PERIOD_NS)
            assert [(m.log_ns - first_ns) // PERIOD_NS for m in found] == [2, 3, 4], kind
    path = WRITERS['rosbag2 sqlite3'](tmp_path / 'recovered', entries)
    (path / 'metadata.yaml').unlink()
    with Bag(path) as bag:
        found = bag.messages([TOPIC], first_ns + 2 * PERIOD_NS, first_ns + 5 * PERIOD_NS)
        assert [(m.log_ns - first_ns) // PERIOD_NS for m in found] == [2, 3, 4]


@pytest.mark.parametrize('name', ['text.mcap', 'text.db3', 'text.bag', 'text.txt', 'empty.mcap'])
def test_what_is_no_bag_is_refused(name, tmp_path):
    path = tmp_path / name
    path.write_text('' if name.startswith('empty') else 'this is no recording\n' * 9)
    with pytest.raises(ToolError, match=f'{name} cannot be read as a bag'):
        Bag(path)


def test_missing_bag_is_named(tmp_path):
    with pytest.raises(ToolError, match='There is no bag .*nowhere'):
        Bag(tmp_path / 'nowhere')


def test_empty_folder_is_no_bag(tmp_path):
    with pytest.raises(ToolError, match='cannot be read as a bag'):
        Bag(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_bag_without_permission_is_refused(entries, tmp_path):
    path = write_mcap(tmp_path / 'recording.mcap', entries, CompressionType.NONE)
    path.chmod(0)
    with pytest.raises(ToolError, match='may not be read'):
        Bag(path)


def test_wanted_topics_that_hold_no_pictures_are_listed(entries, tmp_path):
    with Bag(write_rosbag2(tmp_path / 'recording', entries)) as bag:
        with pytest.raises(ToolError) as refused:
            picture_topics(bag, ['/front'])
    assert 'no pictures on /front' in str(refused.value)
    assert f'{TOPIC}  {IMAGE}  {COUNT} messages' in str(refused.value)


def test_compressed_copy_of_a_raw_topic_is_left_out(tmp_path):
    bgr = scene()[0]
    entries = [raw_entry(0, bgr), png_entry(0, bgr), png_entry(0, bgr, '/rear/compressed')]
    with Bag(write_rosbag2(tmp_path / 'recording', entries)) as bag:
        assert set(picture_topics(bag)) == {TOPIC, '/rear/compressed'}
        assert picture_topics(bag, [TOPIC + '/compressed']) == [TOPIC + '/compressed']


def test_broken_message_is_an_error_in_its_place(tmp_path):
    path = write_rosbag2(tmp_path / 'recording', raw_entries(3), StoragePlugin.SQLITE3)
    with sqlite3.connect(_storage_file(path)) as database:
        database.execute('UPDATE messages SET data = substr(data, 1, 40) WHERE id = 2')
    with Bag(path) as bag:
        found = list(pictures(bag, [TOPIC]))
    assert [type(f) is FrameError for f in found] == [False, True, False]
    assert found[1].cause == 'message'
    assert TOPIC in str(found[1])


def test_picture_that_is_no_picture_is_refused_when_it_is_decoded(tmp_path):
    entries = [compressed_entry(0, np.zeros(40, np.uint8))]
    with Bag(write_rosbag2(tmp_path / 'recording', entries)) as bag:
        picture, = pictures(bag, picture_topics(bag))
    with pytest.raises(FrameError) as refused:
        picture.frame()
    assert refused.value.cause == 'decode'
