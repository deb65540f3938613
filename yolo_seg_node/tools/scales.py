"""``yolo_seg scales``: the scales in a model_info text as a sidecar file."""

import argparse
from pathlib import Path
from typing import Any, Dict

from ..model_info import ModelInfo
from .errors import ToolError
from .model_text import model_of_text
from .scales_sidecar import sidecar_entry, write_sidecar

EXAMPLES = """examples:
  hrt_model_exec model_info --model_file yolo11n_seg.bin > model_info.txt     (on the board)
  yolo_seg scales model_info.txt --out yolo11n_seg.scales.json
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'scales', help='the scales of a model_info text as a sidecar file', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Write the scales that `hrt_model_exec model_info` prints for X3, X5, Ultra '
                    'and S100 models to a file for "scales_file" of a work config.')
    parser.add_argument('text', type=Path, metavar='MODEL_INFO.txt',
                        help='what the command printed')
    parser.add_argument('--model', default='', metavar='NAME',
                        help='model inside a packed file (default: the first)')
    parser.add_argument('--out', type=Path, metavar='JSON',
                        help='file to write (default: beside the text, as .scales.json)')


def run(args: argparse.Namespace) -> int:
    """Write the sidecar and say what is in it."""
    model = model_of_text(args.text, args.model)
    entries = scale_entries(model)
    out = args.out or args.text.with_suffix('.scales.json')
    write_sidecar(out, entries)
    for spec in model.outputs:
        print(f'  {spec}')
    print(f'{len(entries)} of {len(model.outputs)} outputs have scales: {out}')
    return 0


def scale_entries(model: ModelInfo) -> Dict[str, Dict[str, Any]]:
    """Sidecar entries of the integer outputs.

    :raises ToolError: there is none.
    """
    entries = {spec.name: sidecar_entry(spec.dtype, q.scale, q.axis, q.zero_point)
               for spec in model.outputs for q in [spec.quantization] if q is not None}
    if not entries:
        dtypes = ', '.join(sorted({spec.dtype.name for spec in model.outputs}))
        raise ToolError(f'No output of {model.name!r} has scales: all are {dtypes}. A model whose '
                        'last Dequantize nodes are still there needs no scales file.')
    return entries
