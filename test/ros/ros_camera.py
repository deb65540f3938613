"""A camera in a process of its own: publishes the pictures that a test hands it."""

import array
import itertools
import multiprocessing
import threading
import time
from typing import Any, Dict, List

import numpy as np

TIMEOUT_SECS = 30
# What a subscriber may ask of any publisher; it gets the rest only from one that offers it.
EASY = ('BEST_EFFORT', 'VOLATILE')


class CameraProcess:
    """Publishes from another process; every call returns when it is done there."""

    def __init__(self) -> None:
        context = multiprocessing.get_context('spawn')
        self._connection, remote = context.Pipe()
        self._process = context.Process(target=_serve, args=(remote,), daemon=True)
        self._process.start()
        remote.close()
        self._wait()

    def open(self, topic: str, kind: str = 'Image', reliability: str = 'reliable',
             durability: str = 'volatile', wait: bool = True) -> None:
        """Create a publisher; wait until a subscriber asks for exactly this quality of service.

        An older subscription may still be there: the node keeps it until a picture has come.
        """
        self._call('open', topic=topic, kind=kind, reliability=reliability, durability=durability,
                   wait=wait)

    def publish(self, topic: str, stamp_ns: int, **fields: Any) -> None:
        """Publish a message with these fields; ``data`` is bytes or an array."""
        self._call('publish', topic=topic, stamp_ns=stamp_ns, fields=fields)

    def start_stream(self, topic: str, period_secs: float, pictures: List[Dict[str, Any]]) -> None:
        """Publish messages with these fields in turn, as regularly as a camera, stamped now."""
        self._call('start_stream', topic=topic, period_secs=period_secs, pictures=pictures)

    def stop_stream(self, topic: str) -> List[int]:
        """End a stream; gives the stamps (ns) of all that it has published."""
        return self._call('stop_stream', topic=topic)

    def stop(self, topic: str) -> None:
        """Destroy a publisher."""
        self._call('stop', topic=topic)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(TIMEOUT_SECS)

    def _call(self, name: str, **arguments: Any) -> Any:
        self._connection.send((name, arguments))
        return self._wait()

    def _wait(self) -> Any:
        assert self._connection.poll(TIMEOUT_SECS), 'the camera process does not answer'
        error, value = self._connection.recv()
        assert error is None, error
        return value


class _Server:
    """What runs in the camera's process."""

    def __init__(self) -> None:
        import rclpy
        rclpy.init()
        self.node = rclpy.create_node('test_camera')
        self.publishers: Dict[str, Any] = {}
        self.streams: Dict[str, Any] = {}

    def open(self, topic: str, kind: str, reliability: str, durability: str, wait: bool) -> None:
        import sensor_msgs.msg
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy[reliability.upper()],
                         durability=DurabilityPolicy[durability.upper()])
        kind = getattr(sensor_msgs.msg, kind)
        self.publishers[topic] = self.node.create_publisher(kind, topic, qos)
        if wait:
            _until(lambda: self._matched(topic, qos))

    def _matched(self, topic: str, offer: Any) -> bool:
        offered = (offer.reliability.name, offer.durability.name)
        profiles = [s.qos_profile for s in self.node.get_subscriptions_info_by_topic(topic)]
        asked = [(p.reliability.name, p.durability.name) for p in profiles]
        fitting = [a for a in asked if all(
            word in EASY or word == offer_word for word, offer_word in zip(a, offered))]
        return (offered in asked
                and self.publishers[topic].get_subscription_count() == len(fitting))

    def publish(self, topic: str, stamp_ns: int, fields: Dict[str, Any]) -> None:
        self.publishers[topic].publish(stamped(self._message(topic, fields), stamp_ns))

    def _message(self, topic: str, fields: Dict[str, Any]) -> Any:
        message, fields = self.publishers[topic].msg_type(), dict(fields)
        message.header.frame_id = fields.pop('frame_id')
        data = array.array('B')
        data.frombytes(np.ascontiguousarray(fields.pop('data')).tobytes())
        message.data = data
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    def start_stream(self, topic: str, period_secs: float, pictures: List[Dict[str, Any]]) -> None:
        messages = [self._message(topic, fields) for fields in pictures]
        self.streams[topic] = _Stream(self.publishers[topic], period_secs, messages)

    def stop_stream(self, topic: str) -> List[int]:
        return self.streams.pop(topic).end()

    def stop(self, topic: str) -> None:
        self.node.destroy_publisher(self.publishers.pop(topic))


def stamped(message: Any, stamp_ns: int) -> Any:
    """A message with a header, after its stamp was set."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


class _Stream:
    """Publishes from a thread of its own."""

    def __init__(self, publisher: Any, period_secs: float, messages: List[Any]) -> None:
        self._publisher, self._period_secs, self._messages = publisher, period_secs, messages
        self._stamps: List[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        for message in itertools.cycle(self._messages):
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._stamps.append(time.time_ns())
            self._publisher.publish(stamped(message, self._stamps[-1]))
            # A camera that was held up does not catch up.
            due = max(due + self._period_secs, time.monotonic())

    def end(self) -> List[int]:
        self._stop.set()
        self._thread.join()
        return self._stamps


def _until(condition: Any) -> None:
    end = time.monotonic() + TIMEOUT_SECS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError('nobody subscribes as expected')
        time.sleep(0.01)


def _serve(connection: Any) -> None:
    server = _Server()
    connection.send((None, None))
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((None, getattr(server, name)(**arguments)))
        except Exception as error:
            connection.send((f'{type(error).__name__}: {error}', None))
