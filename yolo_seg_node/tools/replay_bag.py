"""Every picture of a bag through the node's pipeline, results to another bag."""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from ..config import WorkConfig
from ..errors import FrameError
from ..ros.topics import CameraTopics, camera_topics
from .bag import Bag
from .bag_messages import CLASS_MASK, DETECTIONS, INSTANCE_MASK, LABEL_INFO
from .bag_pictures import BagPicture, picture_topics, pictures
from .bag_writer import BagWriter
from .errors import ToolError
from .progress import progress
from .replay_work import PictureWorker, Processed, process_in_order
from .result_pictures import output_topic
from .video import VideoWriter, video_path

SHOWN_REASONS = 5


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, and how.

    :ivar topics: picture topics; empty for all cameras.
    :ivar start_secs: seconds after the first message of the bag, and for how many.
    :ivar jobs: processes.
    :ivar video: MP4 file; with several cameras their names are added to its name.
    """

    topics: Tuple[str, ...] = ()
    start_secs: float = 0.0
    duration_secs: Optional[float] = None
    jobs: int = 1
    video: Optional[Path] = None


@dataclass
class ReplayReport:
    """What became of the pictures.

    :ivar runtime: what ran the model, which may be the fallback.
    :ivar processed: pictures with results, by topic.
    :ivar refused: pictures without, by cause, and ``reasons`` the first few sentences.
    :ivar warnings: what could not be read of the bag.
    """

    runtime: str
    processed: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    reasons: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)

    def refuse(self, cause: str, reason: str) -> None:
        """Note a picture that gave no result."""
        self.refused[cause] += 1
        if len(self.reasons) < SHOWN_REASONS:
            self.reasons.append(reason)

    def lines(self) -> List[str]:
        """The report for people."""
        lines = [f'runtime: {self.runtime}', *(
            f'{topic}: {count} pictures processed' for topic, count in self.processed.items())]
        if self.refused:
            causes = ', '.join(f'{cause} {count}' for cause, count in sorted(self.refused.items()))
            lines.append(f'{sum(self.refused.values())} pictures gave no result ({causes}), '
                         'the first of them:')
            lines += [f'  {reason}' for reason in self.reasons]
        return lines + self.warnings


def replay(config: WorkConfig, bag_path: Path, out: Path,
           options: ReplayOptions = ReplayOptions()) -> ReplayReport:
    """Write the results of all pictures of a bag, as the node would publish them, to a new bag.

    The messages have the log times of their pictures; the same input gives the same bytes.

    :raises YoloSegError: model, bag or output cannot be used; what was written stays.
    """
    with contextlib.closing(PictureWorker(config, options.video is not None)) as worker, \
            Bag(bag_path) as bag:
        report = ReplayReport(worker.pipeline.facts.effective)
        topics = picture_topics(bag, options.topics)
        cameras = dict(zip(topics, camera_topics(topics, str)))
        found = _chosen(bag, topics, options, report)
        with BagWriter(out, worker.builder.typestore) as writer, \
                _videos(options.video, cameras) as videos:
            _declare(writer, cameras.values(), worker.pipeline.decoder.has_masks)
            for picture, processed in process_in_order(worker, found, options.jobs):
                _write(picture, processed, cameras, worker, writer, videos, report)
        report.warnings = bag.warnings
    if not report.processed and not report.refused:
        raise ToolError(f'Bag {bag_path.name} has no picture on {", ".join(topics)} in the chosen '
                        'time.')
    return report


def _write(picture: BagPicture, processed: Processed, cameras: Dict[str, CameraTopics],
           worker: PictureWorker, writer: BagWriter, videos: Dict[str, VideoWriter],
           report: ReplayReport) -> None:
    """Write the results of one picture, or note why there are none."""
    if processed.cause:
        report.refuse(processed.cause, f'{picture.topic}: {processed.reason}')
        return
    if not report.processed:
        _write_labels(writer, cameras.values(), worker, picture.log_ns)
    report.processed[picture.topic] += 1
    for output, data in processed.messages:
        writer.write(output_topic(cameras[picture.topic], output), picture.log_ns, data)
    writer.flush()
    if videos:
        videos[picture.topic].write(picture.log_ns, processed.overlay)


def _chosen(bag: Bag, topics: List[str], options: ReplayOptions,
            report: ReplayReport) -> Iterator[BagPicture]:
    """The pictures to process; messages that hold none are noted in the report."""
    start_ns = bag.start_ns + int(options.start_secs * 1e9)
    stop_ns = None
    if options.duration_secs is not None:
        stop_ns = start_ns + int(options.duration_secs * 1e9)
    whole = options.start_secs == 0 and stop_ns is None
    total = sum(bag.topics[topic].count for topic in topics) if whole else None
    found = pictures(bag, topics, start_ns, stop_ns)
    for picture in progress(found, bag.path.name, total):
        if isinstance(picture, FrameError):
            report.refuse(picture.cause, str(picture))
        else:
            yield picture


def _declare(writer: BagWriter, cameras: Iterable[CameraTopics], has_masks: bool) -> None:
    outputs = [DETECTIONS, LABEL_INFO] + ([INSTANCE_MASK, CLASS_MASK] if has_masks else [])
    for camera in cameras:
        for output in outputs:
            writer.add_topic(output_topic(camera, output), output)


def _write_labels(writer: BagWriter, cameras: Iterable[CameraTopics], worker: PictureWorker,
                  log_ns: int) -> None:
    output, data = worker.builder.labels(worker.pipeline.settings.score_threshold)
    for camera in cameras:
        writer.write(output_topic(camera, output), log_ns, data)


@contextlib.contextmanager
def _videos(path: Optional[Path], cameras: Dict[str, CameraTopics]
            ) -> Iterator[Dict[str, VideoWriter]]:
    """One video per picture topic; none without a path."""
    with contextlib.ExitStack() as stack:
        yield {topic: stack.enter_context(VideoWriter(video_path(path, camera.name, len(cameras))))
               for topic, camera in (cameras.items() if path else ())}
