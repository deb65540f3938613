"""The real node in its own process, and an observer of what it publishes."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

import yolo_seg_node

ROOT = Path(yolo_seg_node.__file__).parents[1]
TIMEOUT_SECS, ANSWER_SECS = 30, 1
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE, 'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE, 'cleanup': Transition.TRANSITION_CLEANUP,
    'active_shutdown': Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


def until(condition: Callable[[], Any], what: str, timeout_secs: float = TIMEOUT_SECS) -> Any:
    """Wait for a condition that nothing announces; gives its value."""
    end = time.monotonic() + timeout_secs
    while not (value := condition()):
        assert time.monotonic() < end, f'waited {timeout_secs} s in vain for: {what}'
        time.sleep(0.01)
    return value


class NodeProcess:
    """The node as a user runs it."""

    def __init__(self, log: Path, namespace: str, parameters: Dict[str, Any],
                 folder: Path = ROOT) -> None:
        self.namespace, self.name, self._log = namespace, f'{namespace}/yolo_seg_node', log
        arguments = ['-r', f'__ns:={namespace}']
        for key, value in parameters.items():
            arguments += ['-p', f'{key}:={json.dumps(value)}']
        with log.open('w') as output:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'yolo_seg_node.ros.node', '--ros-args', *arguments],
                cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    def topic(self, name: str) -> str:
        """Full name of one of its topics."""
        return f'{self.namespace}/{name}'

    @property
    def output(self) -> str:
        """Everything it has said."""
        return self._log.read_text()

    def wait_output(self, pattern: str) -> str:
        """Wait until it says something; gives the match."""
        def find() -> Optional[re.Match]:
            found = re.search(pattern, self.output)
            over = self.process.poll() is not None or 'ERROR' in self.output
            assert found or not over, f'{pattern!r} is not in the output:\n{self.output}'
            return found
        return until(find, f'{pattern!r} in the output of the node').group()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(TIMEOUT_SECS)


class Observer:
    """Subscribes, and calls services, in the test's own process."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node('test_observer')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._messages: Dict[str, List[Any]] = {}
        self._subscriptions: Dict[str, Any] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop observing."""
        self._executor.shutdown()
        self._thread.join(TIMEOUT_SECS)
        self.node.destroy_node()
        rclpy.try_shutdown()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the thread that spins, which stumbles over what others destroy."""
        task = self._executor.create_task(function, *args)
        until(task.done, f'the end of {function.__name__}')
        return task.result()

    def subscribe(self, topic: str, kind: type, qos: QoSProfile = QoSProfile(depth=20)) -> None:
        """Collect the messages of a topic from its next publisher on; returns when there is one."""
        def take(message: Any) -> None:
            with self._changed:
                self._messages[topic].append(message)
                self._changed.notify_all()
        self._messages[topic] = []
        subscription = self.node.create_subscription(kind, topic, take, qos)
        self._subscriptions[topic] = subscription
        until(subscription.get_publisher_count, f'a publisher of {topic}')

    def unsubscribe(self, topic: str) -> None:
        """Stop collecting; returns when the publisher is no longer asked for the topic."""
        self.run(self.node.destroy_subscription, self._subscriptions.pop(topic))
        until(lambda: not self.node.count_subscribers(topic), f'no subscriber of {topic}')

    def messages(self, topic: str) -> List[Any]:
        """What has come so far."""
        with self._changed:
            return list(self._messages[topic])

    def wait(self, topic: str, condition: Callable[[Any], bool],
             timeout_secs: float = TIMEOUT_SECS) -> Any:
        """The first message that meets a condition."""
        def find() -> Optional[Any]:
            return next(filter(condition, self._messages[topic]), None)
        with self._changed:
            found = self._changed.wait_for(find, timeout_secs)
        assert found, f'no such message on {topic}'
        return found

    def wait_stamp(self, topic: str, stamp_ns: int, timeout_secs: float = TIMEOUT_SECS) -> Any:
        """The message with this stamp."""
        return self.wait(topic, lambda m: stamp_of(m) == stamp_ns, timeout_secs)

    def call(self, kind: type, name: str, **fields: Any) -> Any:
        """Call a service."""
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(TIMEOUT_SECS), f'no service {name}'
        future = self._answered(client.call_async(kind.Request(**fields)), TIMEOUT_SECS)
        assert future, f'{name} does not answer'
        self.run(self.node.destroy_client, client)
        return future.result()

    @staticmethod
    def _answered(future: Any, timeout_secs: float) -> Any:
        """The future once it is done, or None."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        return future if done.wait(timeout_secs) else None

    def state(self, node: NodeProcess) -> str:
        """Lifecycle state.

        On a busy machine the answer to a client that the node has just discovered may get lost, so
        it is asked for again.
        """
        client = self.node.create_client(GetState, f'{node.name}/get_state')
        future = until(lambda: client.service_is_ready() and self._answered(
            client.call_async(GetState.Request()), ANSWER_SECS), f'the state of {node.name}')
        self.run(self.node.destroy_client, client)
        return future.result().current_state.label

    def wait_state(self, node: NodeProcess, label: str) -> None:
        """Wait for a lifecycle state."""
        until(lambda: self.state(node) == label, f'state {label}')

    def change_state(self, node: NodeProcess, transition: str) -> bool:
        """Ask for a transition; tells whether it succeeded."""
        request = Transition(id=TRANSITIONS[transition])
        return self.call(ChangeState, f'{node.name}/change_state', transition=request).success

    def set(self, node: NodeProcess, **values: Any) -> str:
        """Set parameters one by one; gives the reasons of refusals, empty when all were taken."""
        parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        results = self.call(SetParameters, f'{node.name}/set_parameters', parameters=parameters)
        assert all(r.successful or r.reason for r in results.results)
        return '; '.join(r.reason for r in results.results if not r.successful)

    def get(self, node: NodeProcess, name: str) -> Any:
        """Value of a parameter."""
        response = self.call(GetParameters, f'{node.name}/get_parameters', names=[name])
        return parameter_value_to_python(response.values[0])

    def describe(self, node: NodeProcess, names: List[str]) -> List[Any]:
        """Descriptors of parameters."""
        return self.call(DescribeParameters, f'{node.name}/describe_parameters',
                         names=names).descriptors

    def watch_diagnostics(self) -> None:
        """Begin to collect diagnostics."""
        if '/diagnostics' not in self._messages:
            self.subscribe('/diagnostics', DiagnosticArray, QoSProfile(depth=100))

    def wait_status(self, node: NodeProcess, part: str,
                    condition: Callable[[Any, Dict[str, str]], bool]) -> Any:
        """A coming diagnostic status whose (status, values) meet a condition."""
        name = f'{node.name.strip("/").removesuffix("_node")}: {part}'

        def find(message: Any) -> bool:
            return any(s.name == name and condition(s, values_of(s)) for s in message.status)
        with self._changed:
            self._messages['/diagnostics'].clear()
        found = self.wait('/diagnostics', find)
        return next(s for s in found.status if s.name == name and condition(s, values_of(s)))


def stamp_of(message: Any) -> int:
    """Stamp of a message in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def values_of(status: Any) -> Dict[str, str]:
    """Key values of a diagnostic status."""
    return {pair.key: pair.value for pair in status.values}


def pixels_of(message: Any) -> np.ndarray:
    """(h, w) array of a mono8 or mono16 image."""
    dtype = np.dtype({'mono8': 'u1', 'mono16': '>u2' if message.is_bigendian else '<u2'}[
        message.encoding])
    assert message.step == message.width * dtype.itemsize
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def xyxy_of(detection: Any) -> np.ndarray:
    """Box of a Detection2D as x1, y1, x2, y2."""
    centre, box = detection.bbox.center.position, detection.bbox
    half = np.array([box.size_x, box.size_y]) / 2
    return np.concatenate([(centre.x, centre.y) - half, (centre.x, centre.y) + half])


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = np.prod(np.maximum(sides, 0))
    areas = [np.prod(np.subtract(box[2:], box[:2])) for box in (a, b)]
    return common / (sum(areas) - common)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two bool masks."""
    return (a & b).sum() / (a | b).sum()


def private_domain() -> int:
    """A ROS domain that tests of this process do not share with others.

    Above 101 its ports would be among those that the system gives to any program.
    """
    return 1 + os.getpid() % 100


def found(message: Any) -> List[Any]:
    """(class text, score) of each detection of an array."""
    hypotheses = [d.results[0].hypothesis for d in message.detections]
    return [(h.class_id, h.score) for h in hypotheses]


class Rig:
    """A node, a camera that it watches, and an observer of its results."""

    def __init__(self, observer: Observer, camera: Any, node: NodeProcess) -> None:
        self.observer, self.camera, self.node = observer, camera, node
        node.wait_output('Subscribed to')
        self._stamps = itertools.count(1_700_000_000_123_456_789, 33_333_333)

    def send(self, topic: str, fields: Dict[str, Any]) -> int:
        """Publish a picture; gives its stamp."""
        stamp_ns = next(self._stamps)
        self.camera.publish(self.node.topic(topic), stamp_ns, **fields)
        return stamp_ns

    def subscribe(self, **kinds: type) -> None:
        """Collect outputs of the node by their relative topics."""
        for name, kind in kinds.items():
            self.observer.subscribe(self.node.topic(name), kind)

    def warm_up(self, topic: str, fields: Dict[str, Any], outputs: List[str]) -> None:
        """Send pictures until all outputs have come through once, so that later ones all do."""
        self.warm_up_with(lambda: self.send(topic, fields), outputs)

    def warm_up_with(self, send: Callable[[], int], outputs: List[str]) -> None:
        """The same with a way of one's own to send a picture, which gives its stamp.

        The node may learn later of its subscribers than they of it.
        """
        for _ in range(TIMEOUT_SECS):
            stamp_ns = send()
            try:
                for output in outputs:
                    self.result(output, stamp_ns, timeout_secs=1)
                return
            except AssertionError:
                continue
        raise AssertionError(f'no results:\n{self.node.output}')

    def result(self, output: str, stamp_ns: int, timeout_secs: float = TIMEOUT_SECS) -> Any:
        """The result of a picture."""
        return self.observer.wait_stamp(self.node.topic(output), stamp_ns, timeout_secs)

    def stamps(self, output: str) -> List[int]:
        """Stamps of the results that have come, in their order."""
        return [stamp_of(m) for m in self.observer.messages(self.node.topic(output))]

    def at_rest(self, camera: str) -> Dict[str, str]:
        """Values of a coming report of a camera whose pictures are all done."""
        return values_of(self.observer.wait_status(
            self.node, f'camera {camera}', lambda _, v: v['in_flight'] == '0'))

    def unseen(self, camera: str, output: str) -> int:
        """How many results of a camera at rest went out before the observer was known."""
        seen = len(self.stamps(output))
        status = self.observer.wait_status(
            self.node, f'camera {camera}',
            lambda _, v: v['in_flight'] == '0' and int(v['published']) >= seen)
        return int(values_of(status)['published']) - seen

    def report(self, camera: str, topic: str, output: str, fields: Dict[str, Any]) -> Any:
        """Send a picture after a report without any; gives the report that covers it."""
        self.observer.wait_status(self.node, f'camera {camera}', lambda _, v: 'infer_ms' not in v)
        self.result(output, self.send(topic, fields))
        return self.observer.wait_status(
            self.node, f'camera {camera}', lambda _, v: 'infer_ms' in v)
