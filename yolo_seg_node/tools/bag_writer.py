"""Writes result bags that every ROS 2 from Humble on can play."""

import contextlib
import errno
from pathlib import Path
from typing import Any, Dict, Optional

import yaml

from .bag_messages import LABEL_INFO, MSGTYPES
from .errors import ToolError, optional_module

# Small, so that a replay that is killed loses little.
CHUNK_BYTES = 1 << 16
# Values of rmw_qos_policy.
_KEEP_LAST = _RELIABLE = _TRANSIENT_LOCAL = _AUTOMATIC = 1
_VOLATILE = 2


def offered_qos(output: str) -> str:
    """Quality of service that the node offers on an output, as bags of version 8 store it."""
    kept = output == LABEL_INFO

    def forever() -> Dict[str, int]:
        return {'sec': 9223372036, 'nsec': 854775807}

    return yaml.safe_dump([{
        'history': _KEEP_LAST, 'depth': 1 if kept else 5, 'reliability': _RELIABLE,
        'durability': _TRANSIENT_LOCAL if kept else _VOLATILE, 'deadline': forever(),
        'lifespan': forever(), 'liveliness': _AUTOMATIC, 'liveliness_lease_duration': forever(),
        'avoid_ros_namespace_conventions': False}], sort_keys=False).strip()


class _Channel:
    """One topic of the bag."""

    def __init__(self, channel_id: int, topic: str, output: str) -> None:
        self.id, self.topic, self.output, self.count = channel_id, topic, output, 0


class BagWriter:
    """A bag directory with one mcap file; use it in a ``with`` statement.

    The bytes depend on the messages alone. What has been written is on the disk after each
    ``flush``, and an mcap reader finds it there even if the end was never written.
    """

    def __init__(self, path: Path, typestore: Any) -> None:
        """Create the directory.

        :param typestore: knows the definitions of all ``MSGTYPES``.
        :raises ToolError: it exists already, or cannot be made.
        """
        mcap = optional_module('mcap.writer', 'replay')
        self.path, self._typestore = path, typestore
        self._channels: Dict[str, _Channel] = {}
        self._schemas: Dict[str, int] = {}
        self._first_ns: Optional[int] = None
        self._last_ns = 0
        try:
            path.mkdir(parents=True)
            self._stream = (path / f'{path.name}.mcap').open('xb')
        except FileExistsError:
            raise ToolError(f'{path} is there already; choose another name or remove it.'
                            ) from None
        except OSError as error:
            raise ToolError(f'The bag {path} cannot be created: {error}') from None
        self._writer = mcap.Writer(self._stream, chunk_size=CHUNK_BYTES)
        self._writer.start('ros2', 'yolo_seg_node')

    def __enter__(self) -> 'BagWriter':
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            self._guarded(self.close)
        except ToolError:
            if kind is None:
                raise
        finally:
            with contextlib.suppress(OSError):  # of a full disk, which has been told
                self._stream.close()

    def add_topic(self, topic: str, output: str) -> None:
        """Declare a topic that carries the messages of an output.

        :param output: key of ``MSGTYPES``.
        """
        msgtype = MSGTYPES[output]
        if msgtype not in self._schemas:
            text, _ = self._typestore.generate_msgdef(msgtype, ros_version=2)
            self._schemas[msgtype] = self._writer.register_schema(
                msgtype, 'ros2msg', text.encode())
        channel_id = self._writer.register_channel(
            topic, 'cdr', self._schemas[msgtype], {'offered_qos_profiles': offered_qos(output)})
        self._channels[topic] = _Channel(channel_id, topic, output)

    def write(self, topic: str, log_ns: int, data: bytes) -> None:
        """Append a message.

        :raises ToolError: the disk is full, or another problem of the file system.
        """
        channel = self._channels[topic]
        self._guarded(self._writer.add_message, channel.id, log_ns, data, log_ns)
        channel.count += 1
        self._first_ns = log_ns if self._first_ns is None else min(self._first_ns, log_ns)
        self._last_ns = max(self._last_ns, log_ns)

    def flush(self) -> None:
        """Hand over complete chunks to the operating system."""
        self._guarded(self._stream.flush)

    def _guarded(self, function: Any, *args: Any) -> None:
        try:
            function(*args)
        except OSError as error:
            hint = '; make room on the disk' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''
            raise ToolError(f'The bag cannot be written any further: {error}{hint}. What was '
                            f'written until then is in {self.path}.') from None

    def close(self) -> None:
        """Write the index and ``metadata.yaml``."""
        self._writer.finish()
        self._stream.close()
        metadata = {'rosbag2_bagfile_information': self._metadata()}
        (self.path / 'metadata.yaml').write_text(yaml.safe_dump(metadata, sort_keys=False),
                                                 encoding='utf-8')

    def _metadata(self) -> Dict[str, Any]:
        """What rosbag2 of version 8 (Jazzy) writes, which is also the newest that Humble reads."""
        file = f'{self.path.name}.mcap'
        return {'version': 8, 'storage_identifier': 'mcap', **self._span(),
                'topics_with_message_count': [
                    {'topic_metadata': self._topic(channel), 'message_count': channel.count}
                    for channel in self._channels.values()],
                'compression_format': '', 'compression_mode': '', 'relative_file_paths': [file],
                'files': [{'path': file, **self._span()}], 'custom_data': None,
                'ros_distro': 'unknown'}

    def _span(self) -> Dict[str, Any]:
        first_ns = self._first_ns or 0
        return {'starting_time': {'nanoseconds_since_epoch': first_ns},
                'duration': {'nanoseconds': self._last_ns - first_ns},
                'message_count': sum(channel.count for channel in self._channels.values())}

    def _topic(self, channel: _Channel) -> Dict[str, Any]:
        msgtype = MSGTYPES[channel.output]
        return {'name': channel.topic, 'type': msgtype, 'serialization_format': 'cdr',
                'offered_qos_profiles': offered_qos(channel.output),
                'type_description_hash': self._typestore.hash_rihs01(msgtype)}
