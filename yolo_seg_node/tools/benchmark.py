"""``yolo_seg benchmark``: how long a frame takes, stage by stage, and how many go through."""

import argparse
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import cv2

from ..config import WorkConfig, find_work_config, load_work_config
from ..pipeline import NO_MASKS, SOURCE_MASKS, Pipeline, StageTimes
from ..runtimes.recorded import load_outputs
from ..workers import open_workers
from .benchmark_plot import write_plot
from .benchmark_report import machine, node_table, run_values, table
from .benchmark_run import Measured, measure
from .benchmark_sources import read_source
from .decode import open_recorded
from .errors import ToolError
from .options import positive, size_wh
from .progress import progress

EXAMPLES = """examples:
  yolo_seg benchmark --config demo_float.json --source street.jpg --workers 1,2 --plot speed.png
  yolo_seg benchmark --config model.json --source drive_1 --frames 500 --json
  yolo_seg benchmark --config model.json --tensors heads.npz --image-size 1280x720
  yolo_seg benchmark --config model.json --source nv12:1920x1080 --node --rate 30
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'benchmark', help='latency and throughput of a model, stage by stage', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Measure latency, throughput and CPU time of a work config on this machine.')
    parser.add_argument('--config', required=True, help='work config: path or name')
    parser.add_argument('--source', default='nv12:1920x1080', metavar='SOURCE',
                        help='nv12:WIDTHxHEIGHT or bgr8:WIDTHxHEIGHT (a picture without objects), '
                             'a picture file, or a bag (default: %(default)s)')
    parser.add_argument('--frames', type=positive, default=200, metavar='N',
                        help='frames to measure (default: %(default)s)')
    parser.add_argument('--warm-up', type=positive, default=10, metavar='N',
                        help='frames before that, told apart (default: %(default)s)')
    parser.add_argument('--workers', type=worker_counts, default=(1,), metavar='N,...',
                        help='numbers of workers to measure, as in 1,2,4 (default: 1)')
    parser.add_argument('--tensors', type=Path, metavar='NPZ',
                        help='measure only decoding and masks of these recorded outputs')
    parser.add_argument('--image-size', type=size_wh, metavar='WxH',
                        help='with --tensors: size of the picture that they are of')
    parser.add_argument('--node', action='store_true',
                        help='measure the node through ROS 2: from publishing to the result')
    parser.add_argument('--rate', type=positive, default=30, metavar='HZ',
                        help='with --node: pictures per second (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print JSON in place of the table')
    parser.add_argument('--plot', type=Path, metavar='PNG', help='also draw the stages')


def worker_counts(text: str) -> List[int]:
    """Whole numbers above zero with commas between, for ``type=``."""
    return [positive(part) for part in text.split(',')]


def run(args: argparse.Namespace) -> int:
    """Measure, print, and draw."""
    _check_arguments(args)
    cv2.setNumThreads(1)  # as in the node
    config = load_work_config(find_work_config(args.config), require_model=args.tensors is None)
    values = {'machine': machine(), 'config': args.config, 'frames': args.frames,
              'warm_up_frames': args.warm_up}
    if args.node:
        values.update(_measure_node(args, config))
    elif args.tensors:
        values.update(_measure_tensors(args, config))
    else:
        values.update(_measure_pipeline(args, config))
    lines = node_table(values) if args.node else table(values)
    print(json.dumps(values) if args.json else '\n'.join(lines))
    if args.plot:
        write_plot(args.plot, values)
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    """:raises ToolError: arguments that do not go together."""
    if (args.tensors is None) != (args.image_size is None):
        raise ToolError('--tensors and --image-size go together; give both or none.')
    if args.node and (args.tensors or args.plot or len(args.workers) > 1):
        raise ToolError('--node measures the node as it is: --tensors, --plot and several '
                        '--workers do not go with it; set "task_num" in the work config.')


def _measure_pipeline(args: argparse.Namespace, config: WorkConfig) -> Dict[str, Any]:
    """Whole frames, from the bytes that arrive to the detections."""
    pictures, runs = read_source(args.source), []
    for count in progress(args.workers, 'benchmark', unit='run'):
        with closing(open_workers(replace(config, task_num=count))) as workers:
            facts = workers.facts
            masks = SOURCE_MASKS if facts.has_masks else NO_MASKS

            def process(index: int) -> Measured:
                picture, receive = pictures[index % len(pictures)], StageTimes()
                frame = receive.run('receive', picture.frame)
                result = workers.process(frame, masks)
                return Measured({**receive.ns, **result.times.ns}, len(result.detections))

            runs.append(run_values(count, measure(process, count, args.frames, args.warm_up)))
    return {'runtime': facts.effective, 'source': args.source, 'runs': runs}


def _measure_tensors(args: argparse.Namespace, config: WorkConfig) -> Dict[str, Any]:
    """Decoding and masks alone."""
    if not args.tensors.is_file():
        raise ToolError(f'--tensors is {str(args.tensors)!r}, but there is no such file.')
    pipeline, letterbox_of = open_recorded(config, args.tensors)
    letterbox, outputs = letterbox_of(args.image_size), load_outputs(args.tensors)

    def process(_: int) -> Measured:
        result = pipeline.decode(outputs, letterbox, SOURCE_MASKS, pipeline.settings, StageTimes())
        return Measured(result.times.ns, len(result.detections))

    runs = [run_values(count, measure(process, count, args.frames, args.warm_up))
            for count in progress(args.workers, 'benchmark', unit='run')]
    return {'runtime': pipeline.runtime.effective, 'runs': runs,
            'source': f'{args.tensors.name} for {args.image_size[0]}x{args.image_size[1]}'}


def _measure_node(args: argparse.Namespace, config: WorkConfig) -> Dict[str, Any]:
    """From publishing a picture to receiving its detections."""
    try:
        from .benchmark_node import measure_node
    except ImportError as error:
        raise ToolError(f'--node needs ROS 2, but it cannot be imported ({error}); source its '
                        'setup.bash first.') from None
    pictures = read_source(args.source)
    Pipeline.open(config).close()  # what is wrong with the model is told here, not in a log
    node = measure_node(str(config.path), pictures, args.rate, args.frames, args.warm_up)
    return {'source': args.source, 'rate_hz': args.rate, 'node': node}
