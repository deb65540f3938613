"""``yolo_seg``: the command-line tools in one command.

A tool is a module of this folder with ``add_parser(subparsers)``, which declares the subcommand of
its name, and ``run(args) -> int``, which gives the exit code. To add one, add a line to ``TOOLS``.
"""

import argparse
import os
import sys
from importlib import import_module
from typing import List, Optional

from ..errors import YoloSegError

TOOLS = {
    'benchmark': 'latency and throughput of a model, stage by stage',
    'compare': 'compare two results of a recording',
    'cut': 'cut an ONNX model before its post-processing',
    'decode': 'recorded output tensors to detections',
    'evaluate': 'average precision of a model on a COCO data set',
    'export': 'a checkpoint as a model for a board, with all that its tool chain needs',
    'inspect': 'what a model has, and how this node takes it',
    'quantize': 'an int8 model with integer heads, as on a board',
    'render': 'draw the detections of a bag or of a COCO result',
    'replay': 'run the pictures of a bag through the model, into a bag',
    'scales': 'the scales of a model_info text as a sidecar file',
}
FAILED = 2
INTERRUPTED = 130  # as shells say it
EPILOG = """examples:
  yolo_seg inspect demo_int.json
  yolo_seg replay drive_1 -o drive_1_results --config demo_float.json
  yolo_seg replay --help

`ros2 run yolo_seg_node yolo_seg ...` is the same. The exit code is 0 when all is well, 1 when a
comparison failed or there is no result, and 2 when a tool cannot go on.
"""


def main(argv: Optional[List[str]] = None) -> int:
    """Run one tool and return its exit code; 2 is an error that stderr tells in a sentence."""
    argv = sys.argv[1:] if argv is None else argv
    name = argv[0] if argv and argv[0] in TOOLS else ''
    try:
        # Only the tool that is asked for: the libraries of the others may not be installed.
        tool = import_module(f'{__package__}.{name}') if name else None
        args = _parser(name, tool).parse_args(argv)
        code = tool.run(args)
        sys.stdout.flush()
        return code
    except YoloSegError as error:
        print(f'yolo_seg {name}: {error}', file=sys.stderr)
    except ImportError as error:
        print(f'yolo_seg {name}: {error}; install it, or this package with the extra that has it, '
              'see setup.py', file=sys.stderr)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        # What is left is flushed once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


def _parser(name: str, tool: object) -> argparse.ArgumentParser:
    """The whole command line, but arguments of the tool called ``name`` alone."""
    parser = argparse.ArgumentParser(
        prog='yolo_seg', description='Tools for YOLO models on robots.', epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(required=True, metavar='TOOL', title='tools')
    for other, description in TOOLS.items():
        if other == name:
            tool.add_parser(subparsers)
        else:
            subparsers.add_parser(other, help=description)
    return parser


if __name__ == '__main__':
    sys.exit(main())
