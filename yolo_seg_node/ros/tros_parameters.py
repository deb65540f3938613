"""Parameters of ``dnn_node_example`` under their own names and integer types.

Where they say where pictures come from, they come before ``image_topics``.
"""

from typing import Any, Dict, List, NamedTuple, Optional

from ..errors import ConfigError
from .hbm_pictures import HBM_KINDS, HBM_PACKAGE, hbm_types
from .parameter_spec import CONFIGURE, LIVE, ParameterSpec
from .tros_pictures import FEEDBACK

TROS_PARAMETERS = (
    ParameterSpec(
        'feed_type', 1, CONFIGURE,
        'Where pictures come from: 0 the file that image names, 1 a topic.', limits=(0, 1)),
    ParameterSpec('image', '', CONFIGURE, 'Picture file for feed_type 0.'),
    ParameterSpec(
        'image_type', 0, CONFIGURE,
        'What image is: 0 JPEG, PNG or BMP, 1 raw NV12.', limits=(0, 1)),
    ParameterSpec(
        'image_width', 0, CONFIGURE, 'Width of a raw NV12 image.', limits=(0, 65535)),
    ParameterSpec(
        'image_height', 0, CONFIGURE, 'Height of a raw NV12 image.', limits=(0, 65535)),
    ParameterSpec(
        'dump_render_img', 0, LIVE,
        '1 writes each picture with its results as render_<frame_id>_<sec>_<nanosec>.jpeg into the '
        'working directory.', limits=(0, 1)),
    ParameterSpec(
        'is_shared_mem_sub', 0, CONFIGURE,
        '1 subscribes to sharedmem_img_topic_name, for pictures in shared memory, instead of the '
        'other topics.', limits=(0, 1)),
    ParameterSpec(
        'sharedmem_img_topic_name', '/hbmem_img', CONFIGURE,
        'Topic of hbm_img_msgs pictures: HbmMsg1080P, HbmMsg540P or HbmMsg480P.'),
    ParameterSpec(
        'ros_img_topic_name', '', CONFIGURE,
        'Camera topic; where it is given, image_topics is ignored.'),
    ParameterSpec(
        'msg_pub_topic_name', 'hobot_dnn_detection', CONFIGURE,
        'Topic of ai_msgs/PerceptionTargets, where ai_msgs is installed; _info is added for '
        'PerceptionInfo.'),
    ParameterSpec(
        'one_target_per_instance', False, LIVE,
        "Give each target of PerceptionTargets its own mask, besides the map of all classes."),
)


def reads_file(values: Dict[str, Any]) -> bool:
    """Whether the parameters ask for a picture file."""
    return values['feed_type'] == 0


class PictureTopics(NamedTuple):
    """Topics, and the parameter that names them."""

    parameter: str
    topics: List[str]


def picture_topics(values: Dict[str, Any]) -> PictureTopics:
    """Where the parameters say that pictures come from; a file goes by the name of its frame_id."""
    if reads_file(values):
        return PictureTopics('feed_type', [FEEDBACK])
    if values['is_shared_mem_sub']:
        return PictureTopics('sharedmem_img_topic_name', [values['sharedmem_img_topic_name']])
    if values['ros_img_topic_name']:
        return PictureTopics('ros_img_topic_name', [values['ros_img_topic_name']])
    return PictureTopics('image_topics', values['image_topics'])


def expected_type(values: Dict[str, Any]) -> Optional[type]:
    """Type of the pictures while no publisher shows it, or None where the topic's name does.

    :raises ConfigError: there is no such type on this machine.
    """
    if not values['is_shared_mem_sub']:
        return None
    if not hbm_types():
        raise ConfigError('The set of parameters', [
            f'is_shared_mem_sub is 1, but {HBM_PACKAGE} is not installed; source TROS '
            '(/opt/tros/humble/setup.bash), or set it to 0 and name a topic of sensor_msgs/Image'])
    return hbm_types()[f'{HBM_PACKAGE}/msg/{HBM_KINDS[0]}']
