"""``yolo_seg cut``: an ONNX model of any framework, cut before its post-processing."""

import argparse
import json
from pathlib import Path
from typing import Dict, List

from onnx import ModelProto

from ..heads import Role
from .cut_model import cut
from .errors import ToolError
from .find_heads import find_heads, raw_roles
from .head_layouts import HEAD_LAYOUTS, role_name
from .onnx_graph import load_model, save_model, tensor_shapes
from .raw_model import ANCHOR_PARSERS, is_anchor_based, make_raw_model

LAYOUTS = ('tros', 'vacc')
EXAMPLES = """examples:
  yolo_seg cut yolov5s.onnx --auto
  yolo_seg cut yolov5s.onnx --list
  yolo_seg cut yolov8n-seg.onnx --layout vacc --outputs /model.22/cv2.0/cv2.0.2/Conv=box_8 ...
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'cut', help='cut an ONNX model before its post-processing', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Make an ONNX model end in its raw heads, named cls_8, box_8, mc_8 ... proto, '
                    'or head_8 ... for anchor-based models such as those of mmyolo and Tianxiaomo.')
    parser.add_argument('model', type=Path, metavar='MODEL.onnx')
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument('--auto', action='store_true',
                       help='cut behind the last convolutions that give a grid')
    where.add_argument('--outputs', nargs='+', metavar='TENSOR[=NAME]',
                       help='cut behind these tensors or nodes; NAME where shapes leave it open')
    where.add_argument('--list', action='store_true', help='only show where --auto would cut')
    parser.add_argument('--layout', choices=LAYOUTS, default='tros',
                        help='order and layout of the heads: NHWC in the order of TROS, or NCHW in '
                             'that of VACC (default: %(default)s)')
    parser.add_argument('--out', type=Path, metavar='FILE.onnx',
                        help='file to write (default: beside the model, as _cut.onnx)')


def run(args: argparse.Namespace) -> int:
    """Cut, and say which heads there are."""
    model = load_model(args.model)
    if not args.outputs and raw_roles(model) is not None:
        raise ToolError(f'The model ends in raw heads already, there is nothing to cut '
                        f'({args.model}).')
    if args.list:
        heads = sorted(find_heads(model), key=lambda head: head.stride)
        print('\n'.join(f'  {head}' for head in heads))
        return 0
    small, roles = cut(model, HEAD_LAYOUTS[args.layout], args.outputs or ())
    out = args.out or args.model.with_name(f'{args.model.stem}_cut.onnx')
    save_model(small, out)
    print('\n'.join(describe(small, roles)))
    print(f'written: {out}')
    return 0


def describe(model: ModelProto, roles: List[Role]) -> List[str]:
    """The heads of a cut model, and what a work config says of them."""
    shapes = tensor_shapes(model)
    named: Dict[str, Role] = {role_name(role): role for role in roles}
    lines = [f'  {name:8} {"x".join(str(size or "n") for size in shapes[name])}' for name in named]
    if is_anchor_based(named):
        return lines + [f'anchor-based: "dnn_Parser" is one of {", ".join(ANCHOR_PARSERS)}']
    values = make_raw_model(model, named).decoder_values()
    return lines + ['in the work config: ' + json.dumps(values)[1:-1]]
