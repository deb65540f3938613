"""Bag files without an end or an index, read from the front.

A recorder that was killed leaves such files. Each reader yields what is whole and then raises
whatever its library raises where the file breaks off.
"""

import contextlib
import io
import sqlite3
from pathlib import Path
from typing import BinaryIO, Callable, Dict, Iterator, Tuple

from .bag import RawMessage
from .errors import optional_module


def read_mcap(path: Path) -> Iterator[RawMessage]:
    """Messages of an mcap file in the order of the file."""
    records = optional_module('mcap.records', 'replay')
    stream_reader = optional_module('mcap.stream_reader', 'replay')
    msgtypes: Dict[int, str] = {}
    channels: Dict[int, Tuple[str, str]] = {}
    with path.open('rb') as stream:
        for record in stream_reader.StreamReader(stream, validate_crcs=True).records:
            if isinstance(record, records.Schema):
                msgtypes[record.id] = record.name
            elif isinstance(record, records.Channel):
                channels[record.id] = (record.topic, msgtypes[record.schema_id])
            elif isinstance(record, records.Message):
                yield RawMessage(*channels[record.channel_id], record.log_time, record.data)


def read_sqlite3(path: Path) -> Iterator[RawMessage]:
    """Messages of an sqlite3 file in the order in which they were written."""
    with contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as database:
        # Otherwise SQLite refuses a file that is shorter than its header says.
        database.execute('PRAGMA writable_schema = ON')
        topics = {row[0]: row[1:] for row in
                  database.execute('SELECT id, name, type FROM topics')}
        rows = database.execute('SELECT topic_id, timestamp, data FROM messages ORDER BY id')
        for topic_id, log_ns, data in rows:
            yield RawMessage(*topics[topic_id], log_ns, data)


def read_ros1(path: Path) -> Iterator[RawMessage]:
    """Messages of a ROS 1 bag of version 2.0 in the order of the file."""
    connections: Dict[int, Tuple[str, str]] = {}
    with path.open('rb') as stream:
        if stream.readline() != b'#ROSBAG V2.0\n':
            raise ValueError('it does not begin like a ROS 1 bag')
        yield from _ros1_records(stream, connections)


def _ros1_records(stream: BinaryIO, connections: Dict[int, Tuple[str, str]]
                  ) -> Iterator[RawMessage]:
    rosbag1 = optional_module('rosbags.rosbag1.reader', 'replay')
    kinds = rosbag1.RecordType
    while stream.read(1):
        stream.seek(-1, io.SEEK_CUR)
        header = rosbag1.Header.read(stream)
        data = rosbag1.read_bytes(stream, rosbag1.read_uint32(stream))
        kind = header.get_uint8('op')
        if kind == kinds.CHUNK:
            chunk = rosbag1.decompressors[header.get_string('compression')](data)
            yield from _ros1_records(io.BytesIO(chunk), connections)
        elif kind == kinds.CONNECTION:
            msgtype = rosbag1.normalize_msgtype(_ros1_type(rosbag1, data))
            connections[header.get_uint32('conn')] = (header.get_string('topic'), msgtype)
        elif kind == kinds.MSGDATA:
            topic, msgtype = connections[header.get_uint32('conn')]
            yield RawMessage(topic, msgtype, header.get_time('time'), data)


def _ros1_type(rosbag1, data: bytes) -> str:
    # The data of a connection record is a header of its own, without the length before it.
    return rosbag1.Header.read(io.BytesIO(len(data).to_bytes(4, 'little') + data)
                               ).get_string('type')


READERS: Dict[str, Callable[[Path], Iterator[RawMessage]]] = {
    '.mcap': read_mcap, '.db3': read_sqlite3, '.bag': read_ros1, '.active': read_ros1}
