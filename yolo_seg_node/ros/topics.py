"""Names of cameras and of the topics on which their results appear."""

from collections import Counter
from typing import Callable, List, NamedTuple, Sequence

from ..errors import ConfigError

COMPRESSED = '/compressed'


class CameraTopics(NamedTuple):
    """Names of one camera.

    :ivar name: for people, unique.
    :ivar image: the topic of its pictures as configured, before remapping.
    :ivar outputs: what goes before the name of an output topic: nothing, or ``/front/``.
    """

    name: str
    image: str
    outputs: str

    def output(self, name: str) -> str:
        """Topic of an output."""
        return self.outputs + name


def camera_topics(configured: Sequence[str], resolve: Callable[[str], str]) -> List[CameraTopics]:
    """Names for the cameras of ``image_topics``.

    The results of a single camera appear in the node's namespace. Those of several appear in each
    camera's namespace: ``/front/image_raw`` gives ``/front/detections``. Cameras that share a
    namespace are told apart by their full topic: ``/stereo/left`` gives
    ``/stereo/left/detections``.

    :param resolve: gives the full name of a topic after remapping.
    :raises ConfigError: there is none, or one twice.
    """
    image_topics = [topic for topic in configured if topic]
    bases = [_base(resolve(topic)) for topic in image_topics]
    twice = sorted(base for base, count in Counter(bases).items() if count > 1)
    if twice or not bases:
        problem = f'names the camera {twice[0]!r} twice' if twice else 'names no topic'
        raise ConfigError('The set of parameters', [
            f'image_topics {problem}; name each camera once, raw or compressed'])
    spaces = _namespaces(bases)
    return [CameraTopics(space.strip('/'), topic, f'{space}/' if len(bases) > 1 else '')
            for topic, space in zip(image_topics, spaces)]


def _base(topic: str) -> str:
    """The raw topic of a camera, which names it in every transport."""
    return topic[:-len(COMPRESSED)] if topic.endswith(COMPRESSED) else topic


def _namespaces(bases: Sequence[str]) -> List[str]:
    parents = [base.rpartition('/')[0] for base in bases]
    count = Counter(parents)
    return [parent if parent and count[parent] == 1 else base
            for base, parent in zip(bases, parents)]
