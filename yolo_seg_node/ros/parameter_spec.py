"""One row of the table of the node's parameters."""

from dataclasses import dataclass
from typing import Any, Optional, Tuple

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

# When a change takes effect.
LIVE = 'at once'
CONFIGURE = 'when the node is configured'
START = 'when the process starts'


@dataclass(frozen=True)
class ParameterSpec:
    """One row of the table.

    :ivar config_field: field of ``WorkConfig`` that gives the value while this is at its default.
    :ivar limits: least and greatest value, without the default that stands for ``config_field``.
    """

    name: str
    default: Any
    effect: str
    description: str
    limits: Optional[Tuple[float, float]] = None
    choices: Tuple[str, ...] = ()
    config_field: Optional[str] = None

    def descriptor(self) -> ParameterDescriptor:
        """What ``ros2 param describe`` shows."""
        descriptor = ParameterDescriptor(
            description=f'{self.description} A change takes effect {self.effect}.',
            read_only=self.effect == START)
        if self.choices:
            descriptor.additional_constraints = f'one of: {", ".join(self.choices)}'
        if self.limits:
            low, high = min(self.limits[0], self.default), self.limits[1]
            if isinstance(self.default, float):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=low, to_value=high)]
            else:
                descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        return descriptor

    def problem(self, value: Any) -> Optional[str]:
        """Why a value of the right type is wrong, or None."""
        if self.choices and value not in self.choices:
            return f'{self.name} is {value!r}, but must be one of: {", ".join(self.choices)}'
        if self.limits and not self.limits[0] <= value <= self.limits[1] and value != self.default:
            default = f', or {self.default} for the value of the work config'
            return (f'{self.name} is {value}, but must be from {self.limits[0]} to '
                    f'{self.limits[1]}{default if self.config_field else ""}')
        return None
