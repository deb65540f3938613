"""``yolo_seg replay``: results for every picture of a bag, and whether they are still the same."""

import argparse
from pathlib import Path

from ..config import WorkConfig, find_work_config, load_work_config
from .compare import (
    add_tolerance_arguments, compare_and_print, read_and_warn, read_golden, write_worst_pictures)
from .errors import ToolError
from .options import positive, seconds
from .replay_bag import ReplayOptions, replay
from .replay_many import replay_many
from .results import Results, write_summary

EXAMPLES = """examples:
  yolo_seg replay drive_1 -o drive_1_results --config demo_float.json
  yolo_seg replay drive.bag -o results --config model.json --topics /front/image_raw \\
      --start 10 --duration 5 --video results.mp4
  yolo_seg replay drive_1 -o new --config model.json --compare golden.json --min-mask-iou 0.8
  yolo_seg replay drive_* -o results --config model.json --dask tcp://cluster:8786
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'replay', help='run the pictures of a bag through the model, into a bag', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Process every picture of a bag (mcap, sqlite3, or ROS 1) as the node would, '
                    'in order and without a loss, and write the results to a bag. The same input '
                    'gives the same bytes.')
    parser.add_argument('bags', type=Path, nargs='+', metavar='BAG', help='recording(s) to replay')
    parser.add_argument('-o', '--out', type=Path, required=True,
                        help='result bag; with several recordings the folder for result bags')
    parser.add_argument('--config', required=True, help='work config: path or name')
    parser.add_argument('--topics', nargs='+', default=(), metavar='TOPIC',
                        help='picture topics (default: every camera of the bag)')
    parser.add_argument('--start', type=seconds, default=0.0, metavar='SECS',
                        help='begin so long after the start of the bag')
    parser.add_argument('--duration', type=seconds, metavar='SECS', help='replay only so long')
    parser.add_argument('--jobs', type=positive, default=1, metavar='N',
                        help='processes, each with its own model (default: %(default)s)')
    parser.add_argument('--dask', metavar='SCHEDULER',
                        help='spread several recordings over the Dask cluster at this address')
    parser.add_argument('--video', type=Path, metavar='MP4', help='also draw a video')
    parser.add_argument('--summary', type=Path, metavar='JSON',
                        help='also write the results as JSON, to compare with later')
    parser.add_argument('--compare', type=Path, metavar='GOLDEN',
                        help='compare the results with those of this bag or summary; the exit '
                             'code is 1 when they differ by more than is allowed')
    add_tolerance_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Replay; 0 when all is well, 1 when the comparison failed or there is no result."""
    config = load_work_config(find_work_config(args.config))
    options = ReplayOptions(tuple(args.topics), args.start, args.duration, args.jobs, args.video)
    if len(args.bags) > 1 or args.dask:
        return _run_many(config, options, args)
    report = replay(config, args.bags[0], args.out, options)
    print('\n'.join([*report.lines(), f'results: {args.out}']))
    results = read_and_warn(args.out) if args.summary or args.compare else {}
    if args.summary:
        write_summary(args.summary, results)
    passed = not args.compare or _compare(results, config, args)
    return 0 if passed and report.processed else 1


def _run_many(config: WorkConfig, options: ReplayOptions, args: argparse.Namespace) -> int:
    for option in ('video', 'summary', 'compare'):
        if getattr(args, option):
            raise ToolError(f'--{option} is for one bag, but {len(args.bags)} are given with '
                            'this or --dask; leave it out.')
    failed = 0
    for outcome in replay_many(config, args.bags, args.out, options, args.dask):
        lines = outcome.report.lines() if outcome.report else [outcome.error]
        print('\n  '.join([f'{outcome.bag}:', *lines]))
        failed += not (outcome.report and outcome.report.processed)
    print(f'{len(args.bags) - failed} of {len(args.bags)} bags replayed to {args.out}')
    return 1 if failed else 0


def _compare(results: Results, config: WorkConfig, args: argparse.Namespace) -> bool:
    """Print the comparison with the golden results; True when it passed."""
    golden = read_golden(args.compare, results)
    comparison, passed = compare_and_print(results, golden, args)
    for path in write_worst_pictures(comparison, results, golden, args.bags[0],
                                     tuple(args.topics), config.class_names,
                                     args.out.with_name(f'{args.out.name}_worst')):
        print(f'picture: {path}')
    return passed
