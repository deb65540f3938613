"""The node's parameters: one table from which they are declared, checked and documented."""

from typing import Any, Callable, Dict, FrozenSet, List, Optional, Sequence, Tuple

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ..config import WorkConfig
from ..errors import ConfigError
from ..pipeline import PROTO_MASKS, SOURCE_MASKS
from .parameter_spec import CONFIGURE, LIVE, START, ParameterSpec
from .tros_parameters import TROS_PARAMETERS

AUTO, ALWAYS, NEVER = 'auto', 'always', 'never'
NAME, NUMBER = 'name', 'number'

PARAMETERS = (
    ParameterSpec(
        'config_file', '', CONFIGURE,
        'Work config (JSON): a path, or the name of a shipped one, such as demo_float.json.'),
    ParameterSpec(
        'image_topics', ['image_raw'], CONFIGURE,
        'Camera topics, sensor_msgs/Image or sensor_msgs/CompressedImage. With several, results '
        "appear in each camera's namespace."),
    ParameterSpec(
        'autostart', True, START,
        'Configure and activate at start, without a lifecycle manager.'),
    ParameterSpec(
        'score_threshold', -1.0, LIVE,
        'Least score of a detection. -1 takes the value of the work config.',
        limits=(0.0, 1.0), config_field='score_threshold'),
    ParameterSpec(
        'nms_threshold', -1.0, LIVE,
        'IoU above which the detection with the lower score goes. -1 takes the value of the work '
        'config.', limits=(0.0, 1.0), config_field='nms_threshold'),
    ParameterSpec(
        'max_detections', 0, LIVE,
        'Most detections of a picture, the best ones. 0 takes nms_top_k of the work config.',
        limits=(1, 65534), config_field='nms_top_k'),
    ParameterSpec(
        'class_filter', [''], LIVE,
        "Names or numbers of the classes to report; [''] reports all."),
    ParameterSpec(
        'class_id_format', NAME, LIVE,
        'What class_id of a detection holds: the name of the class, or its number from 0.',
        choices=(NAME, NUMBER)),
    ParameterSpec(
        'masks', AUTO, LIVE,
        'Compute masks: auto does while somebody subscribes to something that shows them.',
        choices=(AUTO, ALWAYS, NEVER)),
    ParameterSpec(
        'mask_resolution', SOURCE_MASKS, LIVE,
        "Size of the mask images: the source picture's, or the much smaller one of the model's "
        'prototypes.', choices=(SOURCE_MASKS, PROTO_MASKS)),
    ParameterSpec(
        'max_failures', 10, CONFIGURE,
        'Inferences in a row that may fail before the model is reopened, and as many again before '
        'the node gives it up and deactivates itself.', limits=(1, 1000)),
    ParameterSpec(
        'max_inference_secs', 10.0, CONFIGURE,
        'Seconds that an inference may take; then its picture is lost, and its worker opens the '
        'model again.', limits=(0.1, 3600.0)),
    *TROS_PARAMETERS,
)
BY_NAME = {spec.name: spec for spec in PARAMETERS}


def class_ids(entries: Sequence[str], names: Tuple[str, ...]) -> Optional[FrozenSet[int]]:
    """Class ids that a ``class_filter`` keeps; None for all.

    :raises ConfigError: an entry is neither a class name nor a class number.
    """
    found = {entry: _ids_of(entry, names) for entry in entries if entry}
    unknown = [entry for entry, ids in found.items() if not ids]
    if unknown:
        raise ConfigError('The set of parameters', [
            f'class_filter has {unknown}, but the classes of the model are: '
            f'{", ".join(names[:100])} (or 0 to {len(names) - 1})'])
    return frozenset().union(*found.values()) if found else None


def _ids_of(entry: str, names: Tuple[str, ...]) -> List[int]:
    if entry in names:
        return [i for i, name in enumerate(names) if name == entry]
    is_number = entry.isascii() and entry.isdecimal() and int(entry) < len(names)
    return [int(entry)] if is_number else []


class Parameters:
    """The declared parameters of a node.

    ``values`` holds the valid ones by name. It is replaced as a whole, never changed, so that
    other threads may read it at any time.
    """

    def __init__(self, node: Node) -> None:
        """Declare all; wrong overrides are kept for ``check_overrides``."""
        self.values: Dict[str, Any] = {}
        self._node = node
        self._overrides_refused: Dict[str, str] = {}
        self._config: Optional[WorkConfig] = None
        self._changed: Callable[[], None] = lambda: None
        self._from_config: Dict[str, Any] = {}
        if hasattr(node, 'add_post_set_parameters_callback'):
            node.add_post_set_parameters_callback(self._take)
        else:
            # Humble. Callbacks run in the reverse order, so this one after all others agreed.
            node.add_on_set_parameters_callback(self._take)
        node.add_on_set_parameters_callback(self._check)
        for spec in PARAMETERS:
            self._declare(spec)

    def _declare(self, spec: ParameterSpec) -> None:
        try:
            self._node.declare_parameter(spec.name, spec.default, spec.descriptor())
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            self._node.declare_parameter(spec.name, spec.default, spec.descriptor(),
                                         ignore_override=True)
            self._overrides_refused[spec.name] = str(error)

    def check_overrides(self) -> None:
        """Complain about values given at start until each has been set to a good one.

        :raises ConfigError: with all of them.
        """
        if self._overrides_refused:
            raise ConfigError('The set of parameters', list(self._overrides_refused.values()))

    def bind(self, config: WorkConfig, changed: Callable[[], None]) -> None:
        """Fill in what comes from the work config; from now on ``changed`` is called on changes.

        :raises ConfigError: ``class_filter`` names a class that the model does not have.
        """
        class_ids(self.values['class_filter'], config.class_names)
        self._from_config = {
            spec.name: getattr(config, spec.config_field) for spec in PARAMETERS
            if spec.config_field and self.values[spec.name] == spec.default}
        self._set(self._from_config)
        self._config, self._changed = config, changed

    def release(self) -> None:
        """Forget the work config, so that another one may give other values."""
        self._config, self._changed = None, lambda: None
        self._set({name: BY_NAME[name].default for name, value in self._from_config.items()
                   if self.values[name] == value})
        self._from_config = {}

    def _set(self, values: Dict[str, Any]) -> None:
        self._node.set_parameters([Parameter(name, value=value) for name, value in values.items()])

    def _check(self, changed: List[Parameter]) -> SetParametersResult:
        """Validate only; see ``_take``."""
        problems = [problem for parameter in changed if parameter.name in BY_NAME
                    for problem in [self._problem(parameter.name, parameter.value)] if problem]
        return SetParametersResult(successful=not problems, reason='; '.join(problems))

    def _problem(self, name: str, value: Any) -> Optional[str]:
        spec = BY_NAME[name]
        if self._config is None:
            return spec.problem(value)
        if spec.effect == CONFIGURE:
            return (f'{name} can only change while the node is unconfigured; '
                    'run `ros2 lifecycle set` with deactivate and cleanup first')
        if spec.config_field and value == spec.default:
            return (f'{name} {value} stands for the value of the work config at start; now it must '
                    f'be from {spec.limits[0]} to {spec.limits[1]}')
        try:
            if name == 'class_filter':
                class_ids(value, self._config.class_names)
        except ConfigError as error:
            return '; '.join(error.problems)
        return spec.problem(value)

    def _take(self, changed: List[Parameter]) -> SetParametersResult:
        """Apply what has been validated."""
        ours = {p.name: p.value for p in changed if p.name in BY_NAME}
        for name in ours:
            self._overrides_refused.pop(name, None)
        self.values = {**self.values, **ours}
        if ours:
            self._changed()
        return SetParametersResult(successful=True)
