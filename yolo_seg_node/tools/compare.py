"""``yolo_seg compare``, and the comparison of ``yolo_seg replay``: the regression test."""

import argparse
from pathlib import Path
from typing import Dict, List, Tuple

from .matching import KINDS, Comparison, FrameComparison, Limits, compare_results, first, histogram
from .options import fraction, percent
from .result_pictures import keyed_pictures, picture_name
from .results import Results, read_results, to_detections
from .side_by_side import side_by_side, write_picture

WORST_FRAMES = 5
# Frames that only one of the two results has; attributes of ``Comparison``.
FRAME_KINDS = ('missing', 'extra')
EXAMPLES = """examples:
  yolo_seg compare new_bag golden_bag
  yolo_seg compare new_bag golden.json --min-mask-iou 0.8 --allow-lost 0.5
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'compare', help='compare two results of a recording', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Compare the results of a recording with golden ones, frame by frame. The '
                    'exit code is 1 when they differ by more than is allowed.')
    parser.add_argument('new', type=Path, help='result bag, or summary (.json) of a replay')
    parser.add_argument('golden', type=Path, help='what it must be like: a bag or a summary')
    add_tolerance_arguments(parser)


def add_tolerance_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what counts as a difference, and how many are allowed."""
    group = parser.add_argument_group('tolerances of the comparison')
    group.add_argument('--min-box-iou', type=fraction, default=Limits().box_iou, metavar='IOU',
                       help='below it a detection counts as moved (default: %(default)s)')
    group.add_argument('--min-mask-iou', type=fraction, default=Limits().mask_iou, metavar='IOU',
                       help='below it a mask counts as changed (default: %(default)s)')
    for kind in KINDS:
        group.add_argument(f'--allow-{kind}', type=percent, default=0.0, metavar='PERCENT',
                           help=f'{kind} detections that are no failure, in percent of the golden '
                                'detections (default: %(default)s)')
    for kind in FRAME_KINDS:
        group.add_argument(f'--allow-{kind}-frames', type=percent, default=0.0, metavar='PERCENT',
                           help=f'{kind} frames that are no failure, in percent of the golden '
                                'frames (default: %(default)s)')


def run(args: argparse.Namespace) -> int:
    """Compare; 0 when the results are equal enough, else 1."""
    new = read_and_warn(args.new)
    golden = read_golden(args.golden, new)
    _, passed = compare_and_print(new, golden, args)
    return 0 if passed else 1


def read_and_warn(path: Path) -> Results:
    """Results of a bag or a summary; what could not be read is printed."""
    results, warnings = read_results(path)
    for warning in warnings:
        print(f'{path}: {warning}')
    return results


def read_golden(path: Path, new: Results) -> Results:
    """See ``read_and_warn``; a single camera may be called otherwise than in ``new``.

    A node in a namespace publishes under other names than a replay.
    """
    golden = read_and_warn(path)
    cameras, others = ({key.camera for key in results} for results in (new, golden))
    if len(cameras) == len(others) == 1:
        return {key._replace(camera=min(cameras)): frame for key, frame in golden.items()}
    return golden


def compare_and_print(new: Results, golden: Results, args: argparse.Namespace
                      ) -> Tuple[Comparison, bool]:
    """Compare under the tolerances of the arguments and print the report; True when passed."""
    comparison = compare_results(new, golden, Limits(args.min_box_iou, args.min_mask_iou))
    allowed = {kind: getattr(args, f'allow_{kind.replace("-", "_")}') for kind in KINDS}
    allowed.update({kind: getattr(args, f'allow_{kind}_frames') for kind in FRAME_KINDS})
    problems = failures(comparison, allowed)
    print('\n'.join(report(comparison)))
    print('FAILED: ' + '; '.join(problems) if problems else 'PASSED')
    return comparison, not problems


def failures(comparison: Comparison, allowed_percent: Dict[str, float]) -> List[str]:
    """What is beyond the tolerances.

    :param allowed_percent: kind -> differences of that kind in percent of the golden detections,
        and of the golden frames for missing and extra ones.
    """
    golden_frames = len(comparison.frames) + len(comparison.missing)
    problems = []
    for kind in FRAME_KINDS:
        keys = getattr(comparison, kind)
        if len(keys) > allowed_percent[kind] / 100 * golden_frames:
            problems.append(f'{len(keys)} frames are {kind}, the first is {first(keys)}')
    if not comparison.frames:
        problems.append('there is no frame to compare')
    for kind, count in comparison.differences().items():
        allowed = allowed_percent[kind] / 100 * comparison.expected
        if count > allowed:
            problems.append(f'{count} {kind}, but {allowed:g} allowed')
    return problems


def report(comparison: Comparison) -> List[str]:
    """The comparison for people."""
    counts = ', '.join(f'{count} {kind}' for kind, count in comparison.differences().items())
    lines = [f'{len(comparison.frames)} frames with {comparison.expected} golden detections: '
             f'{counts}']
    for what in ('box', 'mask'):
        values = [iou for frame in comparison.frames for iou in getattr(frame, f'{what}_iou')]
        if values:
            lines += [f'{what} IoU (least {min(values):.4f}):', *histogram(values)]
    worst = comparison.worst(WORST_FRAMES)
    return lines + (['worst frames:'] if worst else []) + [_frame_line(f) for f in worst]


def _frame_line(frame: FrameComparison) -> str:
    counts = ', '.join(f'{n} {kind}' for kind, n in frame.differences.items() if n)
    iou = min(frame.box_iou + frame.mask_iou, default=None)
    return (f'  {first([frame.key])}: {counts or "no difference beyond the limits"}'
            + ('' if iou is None else f', least IoU {iou:.4f}'))


def write_worst_pictures(comparison: Comparison, new: Results, golden: Results, bag_path: Path,
                         topics: Tuple[str, ...], names: Tuple[str, ...], folder: Path
                         ) -> List[Path]:
    """Draw the worst frames, golden left and new right.

    :param bag_path: the recording with the pictures, and ``topics`` those of the replay.
    """
    wanted = {frame.key for frame in comparison.worst(WORST_FRAMES)}
    written = []
    for key, picture in keyed_pictures(bag_path, topics):
        if key in wanted:
            bgr = picture.frame().bgr()
            image_wh = (bgr.shape[1], bgr.shape[0])
            parts = [(f'{what} {key.stamp_ns}', to_detections(results[key], image_wh, names))
                     for what, results in (('golden', golden), ('new', new))]
            written.append(folder / picture_name(key))
            write_picture(written[-1], side_by_side(bgr, parts, names))
    return written
