"""Bags of ROS 2 (mcap, sqlite3) and ROS 1, read without ROS and as far as they are whole."""

from pathlib import Path
from typing import Any, Callable, Collection, Dict, Iterator, List, NamedTuple, Optional

from .errors import ToolError, optional_module

STORAGE_SUFFIXES = ('.mcap', '.db3')
ROS1_SUFFIXES = ('.bag', '.active')


class RawMessage(NamedTuple):
    """One message as it was recorded: ``data`` is CDR, or ROS 1's own form in a ROS 1 bag."""

    topic: str
    msgtype: str
    log_ns: int
    data: bytes


class Topic(NamedTuple):
    """What a bag holds on one topic."""

    msgtype: str
    count: int


class _Storage(NamedTuple):
    """One readable source; ``read`` takes topics, first and end time (ns) or None."""

    topics: Dict[str, Topic]
    start_ns: int
    read: Callable[..., Iterator[RawMessage]]
    close: Callable[[], None]


class Bag:
    """An opened bag; use it in a ``with`` statement.

    :ivar topics: what it holds.
    :ivar start_ns: log time of the first message.
    :ivar warnings: sentences on what could not be read; more may come up while reading.
    """

    def __init__(self, path: Path) -> None:
        """Open a bag directory or a single file.

        :raises ToolError: there is no such bag, or nothing in it can be read.
        """
        self.path, self.warnings = path, []
        if not path.exists():
            raise ToolError(f'There is no bag {path}; give a bag directory, or a .mcap, .db3 or '
                            '.bag file.')
        self.is_ros1 = path.is_file() and path.suffix in ROS1_SUFFIXES
        self._storages = self._open()
        self.topics = _merged(storage.topics for storage in self._storages)
        self.start_ns = min(storage.start_ns for storage in self._storages)

    def __enter__(self) -> 'Bag':
        return self

    def __exit__(self, *_: object) -> None:
        for storage in self._storages:
            storage.close()

    def messages(self, topics: Collection[str], start_ns: Optional[int] = None,
                 stop_ns: Optional[int] = None) -> Iterator[RawMessage]:
        """Messages of some topics in order of log time, up to where the bag is damaged.

        :param start_ns: first log time, and ``stop_ns`` the one after the last.
        """
        for storage in self._storages:
            count = 0
            try:
                for message in storage.read(topics, start_ns, stop_ns):
                    yield message
                    count += 1
            # The libraries raise what broken bytes cause: own errors, those of zstd, lz4, apsw ...
            except Exception as error:
                self.warnings.append(f'Bag {self.path.name} is damaged after {count} messages '
                                     f'({_reason(error)}); the rest is lost.')

    def _open(self) -> List[_Storage]:
        module = optional_module('rosbags.rosbag1' if self.is_ros1 else 'rosbags.rosbag2', 'replay')
        try:
            return [_indexed(module.Reader(self.path))]
        except PermissionError as error:
            raise ToolError(f'Bag {self.path} may not be read: {error}') from None
        except Exception as error:
            reason = _reason(error)
        self.warnings.append(f'Bag {self.path.name} has no usable index ({reason}); it is read '
                             'from the front, as far as it goes.')
        storages = [_recovered(path) for path in _storage_files(self.path)]
        storages = [storage for storage in storages if storage.topics]
        if not storages:
            raise ToolError(f'{self.path} cannot be read as a bag: {reason}.')
        return storages


def _indexed(reader: Any) -> _Storage:
    reader.open()

    def read(topics: Collection[str], start_ns: Optional[int],
             stop_ns: Optional[int]) -> Iterator[RawMessage]:
        connections = [c for c in reader.connections if c.topic in topics]
        if connections:
            for connection, log_ns, data in reader.messages(connections, start_ns, stop_ns):
                yield RawMessage(connection.topic, connection.msgtype, log_ns, data)

    topics = _merged({c.topic: Topic(c.msgtype, c.msgcount)} for c in reader.connections)
    return _Storage(topics, reader.start_time, read, reader.close)


def _recovered(path: Path) -> _Storage:
    from .bag_recovery import READERS

    reader = READERS[path.suffix]
    topics: Dict[str, Topic] = {}
    start_ns = None
    try:
        for message in reader(path):
            known = topics.get(message.topic, Topic(message.msgtype, 0))
            topics[message.topic] = known._replace(count=known.count + 1)
            start_ns = message.log_ns if start_ns is None else min(start_ns, message.log_ns)
    except Exception:
        pass  # met again, and told, when the messages are read

    def read(wanted: Collection[str], start_ns: Optional[int],
             stop_ns: Optional[int]) -> Iterator[RawMessage]:
        for message in reader(path):
            if (message.topic in wanted and (start_ns is None or message.log_ns >= start_ns)
                    and (stop_ns is None or message.log_ns < stop_ns)):
                yield message

    return _Storage(topics, start_ns or 0, read, lambda: None)


def _storage_files(path: Path) -> List[Path]:
    if path.is_file():
        return [path] if path.suffix in STORAGE_SUFFIXES + ROS1_SUFFIXES else []
    return sorted(file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES)


def _reason(error: BaseException) -> str:
    return str(error).strip().rstrip('.') or type(error).__name__


def _merged(parts: 'Iterator[Dict[str, Topic]]') -> Dict[str, Topic]:
    merged: Dict[str, Topic] = {}
    for part in parts:
        for name, topic in part.items():
            count = merged[name].count if name in merged else 0
            merged[name] = topic._replace(count=topic.count + count)
    return merged
