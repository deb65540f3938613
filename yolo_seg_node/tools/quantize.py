"""``yolo_seg quantize``: an int8 model for onnxruntime, with integer heads as on a board."""

import argparse
import json
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
from onnx import ModelProto

from ..config import WorkConfig, make_work_config
from ..heads import PROTO
from ..labels import read_labels
from ..pipeline import Pipeline
from .calibration import USUAL, calibration_frames, model_pictures
from .evaluate import COCO_LIMITS, Evaluation, evaluate
from .export_config import write_work_config
from .head_layouts import HEAD
from .integer_heads import OutputScale, quantize
from .onnx_graph import open_session, picture_input, save_model
from .options import positive
from .progress import progress
from .raw_model import ANCHOR_PARSERS, RawModel, read_raw_model
from .scales_sidecar import sidecar_entry, write_sidecar

KINDS = ('cls', 'box', 'mc', PROTO, HEAD)
EXAMPLES = """examples:
  yolo_seg quantize yolo11n-seg.onnx --calibration pictures
  yolo_seg quantize yolo11n-seg.onnx --calibration pictures --labels coco.list \\
      --evaluate val2017 instances_val2017.json
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'quantize', help='an int8 model with integer heads, as on a board', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Quantise an ONNX model that ends in raw heads to int8 for onnxruntime. The '
                    'chosen heads lose their last Dequantize as on the BPU: int32 sums with one '
                    'scale per channel, prototypes int16 with one scale. Scales and a work config '
                    'are written beside the model.')
    parser.add_argument('model', type=Path, metavar='MODEL.onnx')
    parser.add_argument('--calibration', type=Path, required=True, metavar='DIR',
                        help='folder of pictures like those that the robot will see')
    parser.add_argument('--count', type=positive, default=USUAL, metavar='N',
                        help='most pictures to calibrate with (default: %(default)s)')
    parser.add_argument('--integer', nargs='*', choices=KINDS, default=['box', 'mc', PROTO],
                        metavar='KIND', help='heads that leave as integers, as far as the model '
                        'has them (default: box mc proto; also: cls head)')
    parser.add_argument('--labels', type=Path, metavar='FILE', help='class names, one a line')
    parser.add_argument('--parser', choices=ANCHOR_PARSERS,
                        help='what an anchor-based model is; the others are told by their shapes')
    parser.add_argument('--evaluate', type=Path, nargs=2, metavar=('IMAGES', 'ANNOTATIONS'),
                        help='also print the AP of both models on a COCO data set')
    parser.add_argument('--out', type=Path, metavar='FILE.onnx',
                        help='file to write (default: beside the model, as _int8.onnx)')


def run(args: argparse.Namespace) -> int:
    """Quantise, write, and say how good it is."""
    labels = read_labels(args.labels) if args.labels else ()
    raw = read_raw_model(args.model, args.parser, labels)
    frames = calibration_frames(args.calibration, args.count)
    inputs = [np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
              for picture in model_pictures(frames, raw.size_wh, nv12=False)]
    model, scales = quantize(raw.model, inputs, raw.outputs_of(args.integer))
    out = args.out or args.model.with_name(f'{args.model.stem}_int8.onnx')
    config = write_integer_model(out, raw, model, scales)
    print(f'cosine similarity to the float model over {len(inputs)} pictures:')
    for name, cosine in similarities(raw.model, model, scales, inputs).items():
        print(f'  {name:8} {cosine:.6f}  {scales[name].dtype if name in scales else "float32"}')
    print(f'written: {out}, its scales and its work config {config}')
    if args.evaluate:
        print('\n'.join(_loss(args.model, config, *args.evaluate)))
    return 0


def write_integer_model(out: Path, raw: RawModel, model: ModelProto,
                        scales: Dict[str, OutputScale]) -> Path:
    """Write the model, its scales and its work config, and return the path of the last.

    :raises ToolError: a file cannot be written.
    """
    save_model(model, out)
    places = {'model_file': out.name}
    if scales:
        sidecar = out.with_suffix('.scales.json')
        write_sidecar(sidecar, {name: sidecar_entry(*scale) for name, scale in scales.items()})
        places['scales_file'] = sidecar.name
    config = out.with_suffix('.json')
    write_work_config(config, raw, places)
    return config


def similarities(model: ModelProto, integer_model: ModelProto, scales: Dict[str, OutputScale],
                 inputs: Sequence[np.ndarray]) -> Dict[str, float]:
    """Cosine of the angle between the outputs of both models, over all inputs together.

    :param inputs: each (1, 3, h, w) float32.
    """
    sessions = [open_session(model), open_session(integer_model)]
    input_name, names = picture_input(model)[0], [value.name for value in model.graph.output]
    products = {name: np.zeros(3) for name in names}
    for array in progress(inputs, 'comparing'):
        wanted, found = (session.run(names, {input_name: array}) for session in sessions)
        for name, a, b in zip(names, wanted, found):
            a, b = a.ravel().astype(np.float64), _real(b, scales.get(name)).ravel()
            products[name] += (a @ b, a @ a, b @ b)
    return {name: float(ab / np.sqrt(max(aa * bb, 1e-30)))
            for name, (ab, aa, bb) in products.items()}


def _real(stored: np.ndarray, scale: 'OutputScale | None') -> np.ndarray:
    """The real values (float64) that an output stands for."""
    if scale is None:
        return stored.astype(np.float64)
    shape = [1] * stored.ndim
    if scale.axis is not None:
        shape[scale.axis] = -1
    return stored * scale.scale.astype(np.float64).reshape(shape)


def _loss(model: Path, config: Path, images: Path, annotations: Path) -> List[str]:
    """AP of the float and the integer model, and the difference."""
    values = json.loads(config.read_text(encoding='utf-8'))
    float_values = {**values, 'model_file': str(model.resolve())}
    float_values.pop('scales_file', None)
    wanted, found = (_evaluate(make_work_config(v, config), images, annotations)
                     for v in (float_values, values))
    lines = ['AP at IoU 0.50:0.95    float    int8    lost']
    for kind in ('box', 'mask'):
        scores = [getattr(evaluation, kind) for evaluation in (wanted, found)]
        if None not in scores:
            before, after = (score.ap for score in scores)
            lines.append(f'  {kind:18} {before:7.4f} {after:7.4f} {before - after:7.4f}')
    return lines


def _evaluate(config: WorkConfig, images: Path, annotations: Path) -> Evaluation:
    pipeline = Pipeline.open(config)
    try:
        return evaluate(pipeline, images, annotations, COCO_LIMITS)
    finally:
        pipeline.close()
