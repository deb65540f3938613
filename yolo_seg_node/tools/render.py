"""``yolo_seg render``: detections of a bag or of a COCO result, drawn onto their pictures."""

import argparse
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Tuple

import numpy as np

from ..drawing import draw_overlay
from .bag import Bag
from .bag_messages import LABEL_INFO, MSGTYPES, message_types
from .coco import read_records
from .compare import read_and_warn
from .errors import ToolError
from .evaluate_sources import read_picture
from .ground_truth import GroundTruth
from .options import fraction
from .progress import progress
from .result_pictures import keyed_pictures, picture_name
from .results import FrameResults, Results, results_of_records, to_detections
from .side_by_side import write_picture
from .video import VideoWriter, video_path

VIDEO_SUFFIX = '.mp4'
# A result for COCO goes down to a score of 0.001, of which a drawing would show nothing.
COCO_LEAST_SCORE = 0.25
EXAMPLES = """examples:
  yolo_seg render drive_1_results --bag drive_1 -o drive_1.mp4
  yolo_seg render summary.json --bag drive_1 -o drawn
  yolo_seg render evaluation/results.json --annotations instances_val2017.json \\
      --images val2017 -o drawn
"""


class Drawable(NamedTuple):
    """One picture with what is to be drawn.

    :ivar video: which video it belongs to, and ``time_ns`` when in it.
    """

    name: str
    video: str
    time_ns: int
    bgr: np.ndarray
    results: FrameResults


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'render', help='draw the detections of a bag or of a COCO result', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Draw detections onto the pictures in which they were found.')
    parser.add_argument('results', type=Path, metavar='RESULTS',
                        help='result bag or summary of a replay, or COCO result JSON')
    pictures = parser.add_mutually_exclusive_group(required=True)
    pictures.add_argument('--bag', type=Path, help='the recording with the pictures')
    pictures.add_argument('--images', type=Path, metavar='DIR',
                          help='with a COCO result: folder of the pictures')
    parser.add_argument('--topics', nargs='+', default=(), metavar='TOPIC',
                        help='with --bag: the picture topics, as they were given to the replay')
    parser.add_argument('--annotations', type=Path, metavar='JSON',
                        help='with --images: COCO annotations with file names and categories')
    parser.add_argument('--min-score', type=fraction, metavar='SCORE',
                        help=f'draw only from this score on (default: {COCO_LEAST_SCORE} for a '
                             'COCO result, else everything)')
    parser.add_argument('-o', '--out', type=Path, required=True,
                        help=f'a video ({VIDEO_SUFFIX}, one for each camera), or a folder for '
                             'pictures')


def run(args: argparse.Namespace) -> int:
    """Draw; 1 when there was nothing to draw on."""
    if (args.images is None) != (args.annotations is None):
        raise ToolError('--images and --annotations go together; give both, or --bag.')
    if args.images:
        names, drawables, videos = _of_data_set(args)
    else:
        names, drawables, videos = _of_bag(args)
    draw = _draw_video if args.out.suffix.lower() == VIDEO_SUFFIX else _draw_pictures
    written = draw(drawables, names, args.out, videos)
    for path, count in written.items():
        print(f'{count} pictures drawn: {path}')
    return 0 if written else 1


def _of_bag(args: argparse.Namespace) -> 'Tuple[Tuple[str, ...], Iterator[Drawable], int]':
    """Class names, drawings, and the number of cameras."""
    results = read_and_warn(args.results)
    names = () if args.results.suffix == '.json' else _class_names(args.results)
    cameras = len({key.camera for key in results})
    return names, _bag_drawables(args, results), cameras


def _bag_drawables(args: argparse.Namespace, results: Results) -> Iterator[Drawable]:
    without = 0
    for key, picture in progress(keyed_pictures(args.bag, args.topics), 'render', len(results)):
        if key in results:
            yield Drawable(picture_name(key), key.camera, picture.log_ns, picture.frame().bgr(),
                           _above(results[key], args.min_score or 0.0))
        else:
            without += 1
    if without:
        print(f'{without} pictures of {args.bag} have no result and are left out.')


def _class_names(path: Path) -> Tuple[str, ...]:
    """Names in the order of the class ids, which gives the colours, from a result bag."""
    with Bag(path) as bag:
        topics = [name for name, topic in bag.topics.items()
                  if name.endswith(LABEL_INFO) and topic.msgtype == MSGTYPES[LABEL_INFO]]
        message = next(bag.messages(topics), None)
    if message is None:
        return ()
    labels = message_types().deserialize_cdr(message.data, message.msgtype)
    return tuple(label.class_name for label in labels.class_map)


def _above(results: FrameResults, least_score: float) -> FrameResults:
    count = int((results.score >= least_score).sum())  # they are sorted by falling score
    masks = None if results.masks is None else results.masks[:count]
    return FrameResults(results.class_names[:count], results.score[:count],
                        results.xyxy_image[:count], masks)


def _of_data_set(args: argparse.Namespace) -> 'Tuple[Tuple[str, ...], Iterator[Drawable], int]':
    """Class names, drawings, and that one video is enough."""
    truth = GroundTruth(args.annotations)
    pictures, records = truth.pictures(args.images), read_records(args.results)
    least_score = COCO_LEAST_SCORE if args.min_score is None else args.min_score

    def drawables() -> Iterator[Drawable]:
        for picture in progress(pictures, 'render'):
            results = results_of_records(records[picture.image_id], truth.names)
            yield Drawable(f'{picture.path.stem}.png', '', 0, read_picture(picture).bgr(),
                           _above(results, least_score))

    return tuple(truth.names.values()), drawables(), 1


def _draw(drawable: Drawable, names: Tuple[str, ...]) -> np.ndarray:
    image_wh = (drawable.bgr.shape[1], drawable.bgr.shape[0])
    # A class that the names lack gets an id after them, see to_detections.
    known = tuple(dict.fromkeys([*names, *drawable.results.class_names]))
    return draw_overlay(drawable.bgr, to_detections(drawable.results, image_wh, known), known)


def _draw_pictures(drawables: Iterator[Drawable], names: Tuple[str, ...], folder: Path, _: Any
                   ) -> Dict[Path, int]:
    written: Counter = Counter()
    for drawable in drawables:
        write_picture(folder / drawable.name, _draw(drawable, names))
        written[folder] += 1
    return written


def _draw_video(drawables: Iterator[Drawable], names: Tuple[str, ...], path: Path, videos: int
                ) -> Dict[Path, int]:
    written: Counter = Counter()
    writers: Dict[Path, VideoWriter] = {}
    with contextlib.ExitStack() as stack:
        for drawable in drawables:
            target = video_path(path, drawable.video, videos)
            if target not in writers:
                writers[target] = stack.enter_context(VideoWriter(target))
            writers[target].write(drawable.time_ns, _draw(drawable, names))
            written[target] += 1
    return written
