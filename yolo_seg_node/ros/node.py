"""The managed node ``yolo_seg_node``."""

import signal
import threading
import traceback
from typing import Callable, List, Optional

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from ..config import find_work_config, load_work_config
from ..errors import YoloSegError
from .diagnostics import ERROR, OK, WARN, Diagnostics, Verdict
from .executor import spin
from .parameters import Parameters
from .session import Session
from .transport import prepare_process

NODE_NAME = 'yolo_seg_node'
# Short, since best effort loses large pictures until a reliable publisher is followed.
FOLLOW_SECS = 0.1
DIAGNOSTICS_SECS = 1.0

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class YoloSegNode(LifecycleNode):
    """Configure opens the model, activate subscribes; their opposites undo it all."""

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        self._session: Optional[Session] = None
        self._active = self._finalized = False
        self._verdict: Verdict = (WARN, 'The node is not configured.')
        self._settings = Parameters(self)
        self._diagnostics = Diagnostics(self)
        # Steady, so that a simulation that stands still does not silence the warnings.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(FOLLOW_SECS, self._follow_publishers, clock=steady)
        self.create_timer(DIAGNOSTICS_SECS, self._report, clock=steady)

    def autostart(self) -> None:
        """Configure and activate, if the parameter says so."""
        if self._settings.values['autostart'] and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Shut down, if nobody has done it."""
        if not self._finalized:
            self.trigger_shutdown()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the work config, open the model and create the publishers."""
        return self._attempt(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the workers and subscribe."""
        # It enables the publishers, which the labels need.
        super().on_activate(state)
        return self._attempt(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish what has begun."""
        self._deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model and the publishers."""
        return self._attempt(self._release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state: stop and let go."""
        self._finalized = True
        return self._attempt(self._release)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unexpected error: back to unconfigured, with diagnostics that still tell it."""
        verdict = self._verdict
        self._release()
        self._verdict = verdict
        return SUCCESS

    def _attempt(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        """Do a step; rclpy would hide what it raises."""
        try:
            step()
        except YoloSegError as error:
            self._verdict = (ERROR, str(error))
            self.get_logger().error(
                f'{error}\nMend this, then start the node again, or run `ros2 lifecycle set '
                f'{self.get_fully_qualified_name()}` with configure and activate.')
            return FAILURE
        except Exception as error:
            self._verdict = (ERROR, f'Unexpected {type(error).__name__}: {error}')
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        return SUCCESS

    def _configure(self) -> None:
        self._settings.check_overrides()
        config = load_work_config(find_work_config(self._settings.values['config_file']))
        for warning in config.warnings:
            self.get_logger().warning(warning)
        # It may take long, and some devices hang over it.
        self.get_logger().info(f'Opening {config.model_file}')
        self._session = Session(self, self._settings, config)
        self._verdict = (WARN, 'The node is configured but not active.')
        self.get_logger().info('Configured: ' + ', '.join(
            f'{key} {value}' for key, value in self._session.describe().items()))

    def _activate(self) -> None:
        self._session.start()
        self._active = True
        self._verdict = (OK, f'Running on {self._session.workers.facts.effective}')

    def _deactivate(self) -> None:
        self._active = False
        self._session.stop()
        self._verdict = (WARN, 'The node is configured but not active.')

    def _release(self) -> None:
        self._active = False
        if self._session:
            self._session.close()
        self._session = None
        self._verdict = (WARN, 'The node is not configured.')

    def _follow_publishers(self) -> None:
        if self._active:
            self._session.follow_publishers()
            self._check_runtime()

    def _check_runtime(self) -> None:
        """Deactivate when the model was given up."""
        failure = self._session.failure
        if failure:
            self.get_logger().error(
                f'{failure}\nThe node deactivates itself. Mend this, then run: '
                f'ros2 lifecycle set {self.get_fully_qualified_name()} activate')
            self.trigger_deactivate()
            self._verdict = (ERROR, failure)

    def _report(self) -> None:
        self._diagnostics.publish(self._session, self._verdict)


def main(args: Optional[List[str]] = None) -> None:
    """Run the node until SIGINT or SIGTERM."""
    prepare_process()
    # rclpy's own handlers would take the context away from workers that still publish.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node = YoloSegNode()
    try:
        node.autostart()
        spin(node, stop)
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
