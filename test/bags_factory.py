"""Recordings for the tests of the tools: one scene in every container that robots leave behind."""

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import cv2
import mcap.writer
import numpy as np
import rosbags.rosbag1
import rosbags.rosbag2
from mcap_ros2.writer import Writer as Ros2McapWriter
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from yolo_seg_node.paths import share_dir

SAMPLE_BAG = share_dir() / 'resource' / 'demo' / 'sample_bag'
SAMPLE_TRUTH = share_dir() / 'resource' / 'demo' / 'sample_truth.json'
START_NS, PERIOD_NS, RECORDING_DELAY_NS = 1_700_000_000_000_000_000, 100_000_000, 7_000_000
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
FRAME_ID = 'camera_optical_frame'
TOPIC = '/camera/image_raw'


class Entry(NamedTuple):
    """One picture of a recording, in words that every writer understands."""

    topic: str
    log_ns: int
    msgtype: str
    fields: Dict[str, Any]
    stamp_ns: int


def scene() -> List[np.ndarray]:
    """The bgr8 pictures of the sample bag, (360, 480, 3) each."""
    with AnyReader([SAMPLE_BAG]) as bag:
        connections = [c for c in bag.connections if c.topic == '/camera_bgr/image_raw']
        messages = [bag.deserialize(raw, c.msgtype) for c, _, raw in bag.messages(connections)]
    return [message.data.reshape(message.height, message.width, 3) for message in messages]


def raw_entry(index: int, bgr: np.ndarray, topic: str = TOPIC, **changed: Any) -> Entry:
    """A raw bgr8 picture; ``changed`` fields make it a broken one."""
    fields = {'height': bgr.shape[0], 'width': bgr.shape[1], 'encoding': 'bgr8', 'is_bigendian': 0,
              'step': bgr.shape[1] * 3, 'data': bgr.reshape(-1), **changed}
    return _entry(index, topic, IMAGE, fields)


def png_entry(index: int, bgr: np.ndarray, topic: str = TOPIC + '/compressed') -> Entry:
    """A compressed picture without loss."""
    return compressed_entry(index, cv2.imencode('.png', bgr)[1].reshape(-1), topic)


def compressed_entry(index: int, data: np.ndarray, topic: str = TOPIC + '/compressed') -> Entry:
    """A compressed picture of any bytes."""
    return _entry(index, topic, COMPRESSED, {'format': 'png', 'data': data})


def _entry(index: int, topic: str, msgtype: str, fields: Dict[str, Any]) -> Entry:
    stamp_ns = START_NS + index * PERIOD_NS
    return Entry(topic, stamp_ns + RECORDING_DELAY_NS, msgtype, fields, stamp_ns)


def raw_entries(count: int) -> List[Entry]:
    """The first pictures of the scene, over and over."""
    pictures = scene()
    return [raw_entry(i, pictures[i % len(pictures)]) for i in range(count)]


def write_rosbag2(path: Path, entries: List[Entry], plugin: StoragePlugin = StoragePlugin.MCAP
                  ) -> Path:
    """A directory by the ``rosbags`` library."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    with rosbags.rosbag2.Writer(path, version=8, storage_plugin=plugin) as writer:
        connections = {topic: writer.add_connection(topic, msgtype, typestore=types)
                       for topic, msgtype in _topics(entries)}
        for entry in entries:
            message = types.types[entry.msgtype](_header(types, entry), **entry.fields)
            data = types.serialize_cdr(message, entry.msgtype)
            writer.write(connections[entry.topic], entry.log_ns, data)
    return path


def write_rosbag1(path: Path, entries: List[Entry], compression: bool = False) -> Path:
    """A ROS 1 ``.bag`` by the ``rosbags`` library."""
    types = get_typestore(Stores.ROS1_NOETIC)
    writer = rosbags.rosbag1.Writer(path)
    if compression:
        writer.set_compression(rosbags.rosbag1.Writer.CompressionFormat.BZ2)
    with writer:
        connections = {topic: writer.add_connection(topic, msgtype, typestore=types)
                       for topic, msgtype in _topics(entries)}
        for entry in entries:
            message = types.types[entry.msgtype](_header(types, entry, 0), **entry.fields)
            data = types.serialize_ros1(message, entry.msgtype)
            writer.write(connections[entry.topic], entry.log_ns, data)
    return path


def _header(types: Any, entry: Entry, *sequence: int) -> Any:
    stamp = types.types['builtin_interfaces/msg/Time'](*divmod(entry.stamp_ns, 10**9))
    return types.types['std_msgs/msg/Header'](*sequence, stamp, FRAME_ID)


def _topics(entries: List[Entry]) -> List[Tuple[str, str]]:
    return list(dict.fromkeys((entry.topic, entry.msgtype) for entry in entries))


def write_mcap(path: Path, entries: List[Entry], compression: mcap.writer.CompressionType) -> Path:
    """A bare ``.mcap`` file by the writer of the mcap project, with chunks of 256 kB."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    with path.open('wb') as stream:
        writer = Ros2McapWriter(stream, chunk_size=1 << 18, compression=compression)
        schemas = {msgtype: writer.register_msgdef(msgtype, types.generate_msgdef(
            msgtype, ros_version=2)[0]) for _, msgtype in _topics(entries)}
        for entry in entries:
            sec, nanosec = divmod(entry.stamp_ns, 10**9)
            header = {'stamp': {'sec': sec, 'nanosec': nanosec}, 'frame_id': FRAME_ID}
            data = bytes(entry.fields['data'])
            writer.write_message(entry.topic, schemas[entry.msgtype],
                                 {'header': header, **entry.fields, 'data': data},
                                 entry.log_ns, entry.log_ns)
        writer.finish()
    return path


def cut(path: Path, fraction: float) -> Path:
    """Truncate a file, as a full disk or a lost power supply does."""
    with path.open('r+b') as stream:
        stream.truncate(int(path.stat().st_size * fraction))
    return path
