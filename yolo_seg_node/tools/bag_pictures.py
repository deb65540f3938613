"""The pictures of a bag, as values that can travel to another process."""

from dataclasses import dataclass
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from ..errors import FrameError
from ..frame import Frame, frame_from_buffer, frame_from_compressed, frame_stamp_ns
from .bag import Bag, RawMessage, Topic
from .errors import ToolError, optional_module

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
PICTURE_TYPES = (IMAGE, COMPRESSED)


class RawFormat(NamedTuple):
    """How the bytes of a ``sensor_msgs/Image`` are laid out, as its fields say."""

    encoding: str
    width: int
    height: int
    step: int


@dataclass(frozen=True)
class BagPicture:
    """One recorded picture, not yet decoded.

    :ivar log_ns: when it was recorded, and ``stamp_ns`` when it was taken.
    :ivar data: (n,) uint8; JPEG or PNG where ``raw`` is None.
    """

    topic: str
    log_ns: int
    stamp_ns: int
    frame_id: str
    data: np.ndarray
    raw: Optional[RawFormat]

    def frame(self) -> Frame:
        """The picture for the pipeline.

        :raises FrameError: it is broken or of an unknown encoding.
        """
        if self.raw is None:
            return frame_from_compressed(self.data, self.stamp_ns, self.frame_id)
        return frame_from_buffer(self.data, self.raw.encoding, self.raw.width, self.raw.height,
                                 self.raw.step, self.stamp_ns, self.frame_id)


class PictureReader:
    """Turns recorded messages into pictures."""

    def __init__(self, ros1: bool) -> None:
        typesys = optional_module('rosbags.typesys', 'replay')
        # These two types are the same in all releases, so the bag's own definitions are not used.
        store = typesys.Stores.ROS1_NOETIC if ros1 else typesys.Stores.ROS2_HUMBLE
        types = typesys.get_typestore(store)
        self._deserialize = types.deserialize_ros1 if ros1 else types.deserialize_cdr

    def picture(self, message: RawMessage) -> BagPicture:
        """The picture in a message of one of ``PICTURE_TYPES``.

        :raises FrameError: the message is cut short or otherwise broken.
        """
        try:
            fields = self._deserialize(message.data, message.msgtype)
        # rosbags raises its own error, struct.error, ValueError or UnicodeDecodeError.
        except Exception as error:
            raise FrameError('message', f'A message on {message.topic} cannot be read as '
                                        f'{message.msgtype}: {error}') from None
        stamp = fields.header.stamp
        raw = None
        if message.msgtype == IMAGE:
            raw = RawFormat(fields.encoding, fields.width, fields.height, fields.step)
        return BagPicture(message.topic, message.log_ns, frame_stamp_ns(stamp.sec, stamp.nanosec),
                          fields.header.frame_id, fields.data, raw)


def picture_topics(bag: Bag, wanted: Sequence[str] = ()) -> List[str]:
    """Topics with pictures, in the order of the bag.

    Without a wish these are all cameras; a compressed copy of a recorded raw topic is left out.

    :raises ToolError: a wanted topic is not there or holds no pictures, or none is there at all.
    """
    found = [name for name, topic in bag.topics.items() if topic.msgtype in PICTURE_TYPES]
    missing = [name for name in wanted if name not in found]
    if missing or not found:
        problem = f'has no pictures on {", ".join(missing)}' if missing else 'has no pictures'
        raise ToolError(f'Bag {bag.path.name} {problem}. Its topics are:\n{_table(bag.topics)}')
    if wanted:
        return list(dict.fromkeys(wanted))
    return [name for name in found if name.rpartition('/')[0] not in found]


def pictures(bag: Bag, topics: Sequence[str], start_ns: Optional[int] = None,
             stop_ns: Optional[int] = None) -> 'Iterator[BagPicture | FrameError]':
    """Pictures in order of log time; a FrameError in place of a message that is broken."""
    reader = PictureReader(bag.is_ros1)
    for message in bag.messages(topics, start_ns, stop_ns):
        try:
            yield reader.picture(message)
        except FrameError as error:
            yield error


def _table(topics: Dict[str, Topic]) -> str:
    return '\n'.join(f'  {name}  {topic.msgtype}  {topic.count} messages'
                     for name, topic in topics.items()) or '  (none)'
