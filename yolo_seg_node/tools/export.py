"""``yolo_seg export``: from a checkpoint to all that the tool chain of a board needs."""

import argparse
from pathlib import Path
from typing import Optional

from ..labels import read_labels
from ..letterbox import SizeWH
from .calibration import USUAL, calibration_frames
from .errors import ToolError
from .export_config import write_text
from .export_model import model_from_checkpoint, model_from_onnx
from .export_onnx import write_onnx
from .export_order import Order, Written
from .export_rdk import write_rdk
from .export_readme import readme
from .export_targets import TARGETS
from .export_vacc import write_vacc
from .head_layouts import HEAD_LAYOUTS
from .onnx_graph import save_model
from .options import positive, size_wh
from .raw_model import ANCHOR_PARSERS, RawModel
from .rdk_files import BOARDS

EXAMPLES = """examples:
  yolo_seg export --weights yolo11n-seg.pt --target rdk-x5 --calibration pictures
  yolo_seg export --weights yolov8s-seg.pt --target vacc --imgsz 640x480
  yolo_seg export --weights yolov5s.onnx --target vacc --parser yolov5 --labels coco.list
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'export', help='a checkpoint as a model for a board, with all that its tool chain needs',
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Write an ONNX model with raw heads, and beside it the configuration and '
                    'calibration set for the tool chain of the target, a work config, and a '
                    'README.txt with the commands that are left to run. Checkpoints need torch and '
                    'ultralytics, which are yours to install.')
    parser.add_argument('--weights', required=True, metavar='FILE',
                        help='ultralytics checkpoint (.pt), model with random weights (.yaml), or '
                             'an .onnx file of any framework')
    parser.add_argument('--target', required=True, choices=TARGETS)
    parser.add_argument('--imgsz', type=picture_size, metavar='N|WxH',
                        help='size of the model input (default: that of the training)')
    parser.add_argument('--input', choices=('nv12', 'rgb'),
                        help='how the model is fed (default: nv12 for rdk, else rgb)')
    parser.add_argument('--calibration', type=Path, metavar='DIR',
                        help='folder of pictures like those that the robot will see')
    parser.add_argument('--count', type=positive, default=USUAL, metavar='N',
                        help='most pictures to calibrate with (default: %(default)s)')
    parser.add_argument('--layout', choices=HEAD_LAYOUTS,
                        help='order and names of the heads; rdk-yolo11 and rdk-yolov8 are those of '
                             'the documents of D-Robotics (default: tros, for vacc vacc)')
    parser.add_argument('--labels', type=Path, metavar='FILE',
                        help='class names, one a line (default: those of the checkpoint)')
    parser.add_argument('--parser', choices=ANCHOR_PARSERS,
                        help='what an anchor-based .onnx model is')
    parser.add_argument('--modifier-log', type=Path, metavar='LOG',
                        help='hb_model_modifier.log to take the names of Dequantize nodes from')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='folder to write (default: FILE_TARGET)')


def picture_size(text: str) -> SizeWH:
    """Width and height from 640 or 640x480, for ``type=``."""
    return size_wh(text if 'x' in text.lower() else f'{text}x{text}')


def run(args: argparse.Namespace) -> int:
    """Export, and say where to read on."""
    # What is quick to refuse comes before what is slow to make.
    stem = Path(args.weights).stem
    folder = args.out or Path(f'{stem}_{args.target}')
    if (folder / f'{stem}.onnx').resolve() == Path(args.weights).resolve():
        raise ToolError(f'The model would overwrite {args.weights!r}; choose another --out.')
    input_type = _input_type(args.target, args.input)
    log = _read_log(args.modifier_log) if args.modifier_log else ''
    frames = calibration_frames(args.calibration, args.count) if args.calibration else []
    raw = _model(args)
    layout = HEAD_LAYOUTS[args.layout or TARGETS[args.target].layout]
    order = Order(folder, stem, raw, input_type, frames, layout.integer, log)
    written = _write(order, args.target)
    save_model(raw.model, folder / order.onnx)
    write_text(folder / 'README.txt', readme(order, args.target, written))
    print(f'written: {folder}; {folder / "README.txt"} says what is left to do')
    return 0


def _input_type(target: str, wanted: Optional[str]) -> str:
    allowed = TARGETS[target].inputs
    if wanted not in (None, *allowed):
        raise ToolError(f'--input is {wanted!r}, but a model for {target} can only be fed with '
                        f'{" or ".join(allowed)}.')
    return wanted or allowed[0]


def _read_log(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError as error:
        raise ToolError(f'The hb_model_modifier log cannot be read: {error}.') from None


def _model(args: argparse.Namespace) -> RawModel:
    target = TARGETS[args.target]
    layout = HEAD_LAYOUTS[args.layout or target.layout]
    labels = read_labels(args.labels) if args.labels else ()
    if not args.weights.lower().endswith('.onnx'):
        return model_from_checkpoint(args.weights, layout, target, args.imgsz, labels)
    if args.imgsz:
        raise ToolError('--imgsz is for checkpoints, but an ONNX model has its size already; leave '
                        'it out, or export the ONNX model again with another size.')
    return model_from_onnx(Path(args.weights), layout, args.parser, labels)


def _write(order: Order, target: str) -> Written:
    if target in BOARDS:
        return write_rdk(order, BOARDS[target])
    return write_vacc(order) if target == 'vacc' else write_onnx(order)
