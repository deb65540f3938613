"""What exists while the node is configured: the model, the cameras, and the workers between."""

import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Hashable, List, NamedTuple, Optional, Union

from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNode
from rclpy.validate_topic_name import validate_topic_name

from ..config import WorkConfig
from ..detections import Detections
from ..errors import ConfigError, InferenceError, YoloSegError
from ..frame import Frame
from ..pipeline import Result, StageTimes
from ..recovery import Recovery, Verdict
from ..scheduler import Counts, Scheduler, cause_of
from ..workers import open_workers
from .frames import Picture, frame_from_message
from .outputs import Addressed, Outputs
from .parameters import Parameters, class_ids
from .statistics import Statistics, Window
from .subscriptions import CameraSubscription
from .throttle import Throttle
from .topics import CameraTopics, camera_topics
from .tros_parameters import expected_type, picture_topics, reads_file
from .tros_pictures import PictureFile, read_picture, write_rendered

REFUSAL_LOG_SECS = 5.0
SILENCE_LOG_SECS = 30.0
STALL_SECS = 5.0
# With what else there is to do, the process ends within 2 s of a signal.
CLOSE_SECS = 1.0


class Camera:
    """One camera from its topic to its results."""

    def __init__(self, node: LifecycleNode, topics: CameraTopics, session: 'Session',
                 values: Dict[str, Any]) -> None:
        self.statistics = Statistics()
        self.outputs = Outputs(node, topics, session.config, session.workers.facts,
                               values['msg_pub_topic_name'])
        self.source = _source(node, topics.image, values, self.outputs,
                              partial(session.receive, topics.name))


def _source(node: LifecycleNode, topic: str, values: Dict[str, Any], outputs: Outputs,
            receive: Callable[[Picture], None]) -> Union[CameraSubscription, PictureFile]:
    if reads_file(values):
        return PictureFile(*read_picture(values), outputs.subscribers, receive)
    return CameraSubscription(node, topic, receive, expected_type(values))


class _Made(NamedTuple):
    """The messages of one picture, ready to go."""

    messages: List[Addressed]
    stamp_ns: int
    times: StageTimes


class CameraReport(NamedTuple):
    """The last second of one camera."""

    name: str
    topic: str
    counts: Counts
    window: Window
    silence: Optional[str]


class Session:
    """Opened by configure; ``start`` and ``stop`` are activate and deactivate."""

    def __init__(self, node: LifecycleNode, parameters: Parameters, config: WorkConfig) -> None:
        """Open the model and create the publishers.

        :raises YoloSegError: something that the user gave is wrong.
        """
        self._node, self._parameters, self.config = node, parameters, config
        self._scheduler: Optional[Scheduler] = None
        self._refusals, self._silences = Throttle(REFUSAL_LOG_SECS), Throttle(SILENCE_LOG_SECS)
        self._cameras: Dict[str, Camera] = {}
        parameter, topics = picture_topics(parameters.values)
        cameras = camera_topics(topics, partial(self._resolve, parameter))
        self.workers = open_workers(config, parameters.values['max_inference_secs'])
        self._recovery = self._new_recovery()
        try:
            self._create_cameras(cameras)
            parameters.bind(config, self.apply)
        except Exception:
            self.close()
            raise
        self.apply()

    def _resolve(self, parameter: str, topic: str) -> str:
        try:
            validate_topic_name(topic)
        except NameValidationException as error:
            raise ConfigError('The set of parameters', [f'{parameter}: {error}']) from None
        return self._node.resolve_topic_name(topic)

    def _create_cameras(self, topics: List[CameraTopics]) -> None:
        for camera in topics:
            self._cameras[camera.name] = Camera(
                self._node, camera, self, self._parameters.values)

    def close(self) -> None:
        """Undo everything."""
        self.stop()
        self._parameters.release()
        for camera in self._cameras.values():
            camera.outputs.close()
        self.workers.close()

    def start(self) -> None:
        """Start the workers and subscribe."""
        self._recovery = self._new_recovery()
        self._finished_secs = time.monotonic()
        workers = [self._process] * self.config.task_num
        self._scheduler = Scheduler(list(self._cameras), workers, self._publish, self._refuse)
        self._publish_labels()
        self.follow_publishers()

    def _new_recovery(self) -> Recovery:
        return Recovery(self.workers.reopen, self._parameters.values['max_failures'])

    @property
    def failure(self) -> str:
        """Why the model was given up; empty while it was not."""
        return self._recovery.reason

    def stop(self) -> None:
        """Unsubscribe, and let the workers finish what they have begun."""
        for camera in self._cameras.values():
            camera.source.close()
        if self._scheduler and not self._scheduler.close(CLOSE_SECS):
            self._node.get_logger().error(
                f'A worker is still busy after {CLOSE_SECS} s; it is left behind. '
                'Its runtime may hang.')
        self._scheduler = None

    def apply(self) -> None:
        """Take over parameters that have changed."""
        values = self._parameters.values
        self.workers.update(
            score_threshold=values['score_threshold'], nms_threshold=values['nms_threshold'],
            max_detections=values['max_detections'],
            classes=class_ids(values['class_filter'], self.config.class_names))
        if self._scheduler:
            self._publish_labels()

    def _publish_labels(self) -> None:
        for camera in self._cameras.values():
            camera.outputs.publish_labels(self._parameters.values['score_threshold'])

    def follow_publishers(self) -> None:
        """Adapt the subscriptions to the publishers; to be called regularly while active."""
        for camera in self._cameras.values():
            camera.source.follow()

    def receive(self, camera: str, message: Picture) -> None:
        """Hand over a picture to the workers."""
        if self._scheduler:
            self._scheduler.submit(camera, message)

    def _process(self, name: str, message: Picture) -> _Made:
        """Runs in a worker thread."""
        camera, values, receive = self._cameras[name], self._parameters.values, StageTimes()
        frame = receive.run('receive', frame_from_message, message)
        wanted = camera.outputs.wanted(values)
        result = self._infer(frame, wanted.masks)
        result.times.ns.update(receive.ns)
        made = result.times.run('messages', camera.outputs.make, frame, result, values,
                                wanted.outputs)
        if values['dump_render_img']:
            self._write_rendered(frame, result.detections)
        return _Made(made, frame.stamp_ns, result.times)

    def _infer(self, frame: Frame, masks: str) -> Result:
        try:
            result = self.workers.process(frame, masks)
        except InferenceError as error:
            if self._recovery.failed(error) is Verdict.REOPENED:
                self._node.get_logger().warning(
                    f'{self._recovery.limit} inferences in a row failed, so the model was '
                    f'reopened: {error}')
            raise
        self._recovery.succeeded()
        return result

    def _write_rendered(self, frame: Frame, detections: Detections) -> None:
        """A full disk costs the rendered picture, not the results."""
        try:
            write_rendered(Path.cwd(), frame, detections, self.config.class_names)
        except OSError as error:
            if self._refusals.due('dump_render_img'):
                self._node.get_logger().error(f'dump_render_img: {error}')

    def _publish(self, name: str, made: _Made) -> None:
        """Runs in a worker thread, for one camera in order."""
        camera = self._cameras[name]
        made.times.run('publish', camera.outputs.publish, made.messages)
        self._finished_secs = time.monotonic()
        age_ns = self._node.get_clock().now().nanoseconds - made.stamp_ns
        camera.statistics.add(age_ns, made.times.ns)

    def _refuse(self, name: str, error: Exception) -> None:
        """Runs in a worker thread."""
        self._finished_secs = time.monotonic()
        camera = self._cameras[name]
        camera.statistics.add_refusal(f'{error}' or type(error).__name__)
        if self._refusals.due((name, cause_of(error))):
            details = str(error) if isinstance(error, YoloSegError) else ''.join(
                traceback.format_exception(type(error), error, error.__traceback__))
            self._node.get_logger().error(f'{camera.source.full_name}: {details}')

    def describe(self) -> Dict[str, str]:
        """What runs here, for the log and for diagnostics."""
        facts = self.workers.facts
        return {
            'runtime': facts.effective,
            'model': facts.model_path.name,
            'input': '{}x{}'.format(*facts.model_wh),
            'decoder': self.config.parser,
            'classes': str(self.config.class_num),
            'workers': str(self.config.task_num),
            'worker_restarts': str(self.workers.restarts),
            'cameras': ', '.join(self._cameras),
        }

    def reports(self) -> List[CameraReport]:
        """What happened since the last call; silence is also logged."""
        if not self._scheduler:
            return []
        reports = [CameraReport(name, camera.source.full_name, self._scheduler.counts(name),
                                camera.statistics.take(), camera.source.silence())
                   for name, camera in self._cameras.items()]
        for report in reports:
            self._warn(('silence', report.name), report.silence)
        return reports

    def stall(self, reports: List[CameraReport]) -> Optional[str]:
        """A sentence when pictures wait and none has been finished for a while; also logged.

        :param reports: what ``reports`` has just given.
        """
        now_secs = time.monotonic()
        if not any(report.counts.in_flight for report in reports):
            self._finished_secs = now_secs
        if now_secs - self._finished_secs < STALL_SECS:
            return None
        sentence = (f'Pictures wait, but for {now_secs - self._finished_secs:.0f} s none has been '
                    'finished: an inference, or opening the model again, takes that long. If it '
                    'lasts, start the node again, and the device if that does not help.')
        self._warn('stall', sentence)
        return sentence

    def _warn(self, subject: Hashable, sentence: Optional[str]) -> None:
        if sentence and self._silences.due(subject):
            self._node.get_logger().warning(sentence)
