"""Pictures of a recording, each with the key of its results."""

from collections import Counter
from pathlib import Path
from typing import Iterator, Sequence, Tuple

from ..errors import FrameError
from ..ros.topics import CameraTopics, camera_topics
from .bag import Bag
from .bag_messages import DETECTIONS
from .bag_pictures import BagPicture, picture_topics, pictures
from .results import FrameKey


def output_topic(camera: CameraTopics, output: str) -> str:
    """Full topic of an output, for a node in the root namespace."""
    return '/' + camera.output(output).lstrip('/')


def keyed_pictures(bag_path: Path, wanted: Sequence[str] = ()
                   ) -> Iterator[Tuple[FrameKey, BagPicture]]:
    """The readable pictures of some topics (see ``picture_topics``) in order of log time."""
    seen: Counter = Counter()
    with Bag(bag_path) as bag:
        topics = picture_topics(bag, wanted)
        spaces = {topic: output_topic(camera, DETECTIONS).rpartition('/')[0]
                  for topic, camera in zip(topics, camera_topics(topics, str))}
        for picture in pictures(bag, topics):
            if isinstance(picture, FrameError):
                continue
            stamped = (spaces[picture.topic], picture.stamp_ns)
            yield FrameKey(*stamped, seen[stamped]), picture
            seen[stamped] += 1


def picture_name(key: FrameKey) -> str:
    """File name for a drawing of a picture."""
    camera = key.camera.strip('/').replace('/', '_') or 'camera'
    return f'{camera}_{key.stamp_ns}{f"_{key.repeat}" if key.repeat else ""}.png'
