"""``yolo_seg inspect``: what a model has, and how this node takes it."""

import argparse
import json
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..config import WorkConfig, find_work_config, load_work_config
from ..decoders import Decoder, make_decoder
from ..errors import ModelError, YoloSegError
from ..model_input import NCHW, NHWC, PICTURE, InputFormat
from ..paths import find_model
from ..pipeline import Pipeline
from ..runtimes import Runtime, choose_runtime, open_runtime
from ..tensors import TensorSpec
from .errors import ToolError
from .fitting import fitting_configs
from .model_text import TextModel

EXAMPLES = """examples:
  yolo_seg inspect demo_int.json
  yolo_seg inspect yolo11_seg_x5.json --model-info model_info.txt
  yolo_seg inspect model_info.txt
  yolo_seg inspect yolov8n-seg.onnx
"""
SHOWN_NAMES = 5
COLUMNS = ('', 'output', 'shape', 'dtype', 'scales', 'role', 'decided by')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'inspect', help='what a model has, and how this node takes it', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Print inputs, outputs, dtypes and scales of a model, the role that each '
                    'output is given and why, and the runtime and decoder that are chosen. For a '
                    'bare model the parsers that fit it are listed. The exit code is 2 when the '
                    'model does not fit.')
    parser.add_argument('what', metavar='MODEL_OR_CONFIG',
                        help='work config (.json, path or name of a shipped one), model file, or '
                             'saved text of `hrt_model_exec model_info` (.txt, .log)')
    parser.add_argument('--model-info', type=Path, metavar='TEXT',
                        help='take the model of the work config from this saved text, so that '
                             'neither the model nor its board is needed')


def run(args: argparse.Namespace) -> int:
    """Print what is found; an error when the model does not fit."""
    if args.what.lower().endswith('.json'):
        _inspect_config(args.what, args.model_info)
    elif args.model_info is not None:
        raise ToolError('--model-info goes with a work config (.json); to look at the text alone, '
                        f'give it in place of {args.what!r}.')
    else:
        _inspect_model(Path(args.what))
    return 0


def _inspect_config(name: str, text: Optional[Path]) -> None:
    config = load_work_config(find_work_config(name), require_model=text is None)
    print('\n'.join(_config_lines(config)))
    runtime: Runtime = TextModel(config, text) if text else open_runtime(config)
    try:
        if text:
            print(_field('runs here', _choice(config)))
        print('\n'.join(_runtime_lines(runtime)))
        _print_outputs(config, runtime)
    finally:
        runtime.close()


def _print_outputs(config: WorkConfig, runtime: Runtime) -> None:
    """The table with roles; without them, and the error after it, when the model does not fit."""
    try:
        pipeline = Pipeline(config, runtime)
    except ModelError:
        print('\n'.join(output_table(runtime.outputs)))
        raise
    print(_field('decoder', type(pipeline.decoder).__name__))
    print('\n'.join(output_table(pipeline.outputs, pipeline.decoder,
                                 config.output_order is not None)))


def _inspect_model(path: Path) -> None:
    """A model without a work config: every parser that it fits, and its roles under the first."""
    if find_model(str(path), [Path.cwd()]) is None:
        raise ToolError(f'There is no model {str(path)!r}; give a work config (.json), a model '
                        'file, or a model_info text (.txt).')
    # Which parser is named does not matter for opening.
    config = WorkConfig(str(path), 'yolov8_seg')
    if TextModel.takes(path):
        runtime: Runtime = TextModel(config, path)
    else:
        runtime = open_runtime(config)
    try:
        print('\n'.join([_field('model', str(path)), *_runtime_lines(runtime)]))
        fits = fitting_configs(runtime.outputs, runtime.input_format.size_wh, path)
        if not fits:
            print('\n'.join(output_table(runtime.outputs)))
            raise ToolError('No parser fits this model with the usual strides, reg_max 16 and 32 '
                            'mask coefficients; a work config with its real values tells more.')
        decoder = make_decoder(runtime.outputs, runtime.input_format.size_wh, fits[0])
        print('\n'.join([*(_field('fits', _keys(fit)) for fit in fits),
                         _field('decoder', type(decoder).__name__),
                         *output_table(runtime.outputs, decoder)]))
    finally:
        runtime.close()


def _keys(config: WorkConfig) -> str:
    """The keys of a work config that make it fit."""
    keys = {'dnn_Parser': config.parser, 'class_num': config.class_num,
            'strides': list(config.strides)}
    return json.dumps(keys)[1:-1]


def _field(name: str, value: str) -> str:
    return f'{name:<12} {value}'


def _config_lines(config: WorkConfig) -> List[str]:
    names = ', '.join(config.class_names[:SHOWN_NAMES])
    more = config.class_num - SHOWN_NAMES
    return [_field('work config', str(config.path)), _field('model', config.model_file),
            _field('parser', config.parser),
            _field('classes', f'{config.class_num}: {names}'
                              + (f' and {more} more' if more > 0 else '')),
            *(_field('warning', warning) for warning in config.warnings)]


def _choice(config: WorkConfig) -> str:
    """The runtime that this machine would take, or why it has none."""
    try:
        choice = choose_runtime(config)
    except YoloSegError as error:
        return f'nothing: {error}'
    fallback = f', fallback because {choice.fallback_reason}' if choice.fallback_reason else ''
    return f'{choice.runtime.name} with {choice.path}{fallback}'


def _runtime_lines(runtime: Runtime) -> List[str]:
    return [_field('runtime', runtime.effective),
            _field('input', _input_words(runtime.input_format))]


def _input_words(form: InputFormat) -> str:
    width, height = form.size_wh
    words = [f'{form.kind} {width}x{height}', form.mode]
    if form.kind in (NCHW, NHWC):
        words += [np.dtype(form.dtype).name, 'rgb' if form.rgb else 'bgr']
        if form.dtype.kind == 'f':
            words.append(f'(pixel - {_triple(form.mean)}) * {_triple(form.scale)}')
    if form.kind == PICTURE:
        return ', '.join([*words, f'{form.pixels} pixels of any size, resized by the card'])
    return ', '.join([*words, f'padding {form.pad_value}'])


def _triple(values: Sequence[float]) -> str:
    return '[' + ', '.join(f'{value:.6g}' for value in values) + ']'


def output_table(outputs: Sequence[TensorSpec], decoder: Optional[Decoder] = None,
                 ordered_by_user: bool = False) -> List[str]:
    """One line an output, in columns; without a decoder no roles.

    :param ordered_by_user: the work config has "output_order".
    """
    roles = dict(decoder.describe()) if decoder else {}
    rows = [(str(i), spec.name, 'x'.join(map(str, spec.shape)), np.dtype(spec.dtype).name,
             _scales(spec), roles.get(i, ''),
             _reason(i, outputs, ordered_by_user) if i in roles else '')
            for i, spec in enumerate(outputs)]
    return _columns([COLUMNS, *rows])


def _columns(rows: Sequence[Tuple[str, ...]]) -> List[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in rows]


def _scales(spec: TensorSpec) -> str:
    quantization = spec.quantization
    if quantization is None:
        return 'missing' if np.dtype(spec.dtype).kind in 'iu' else '-'
    low, high = quantization.scale.min(), quantization.scale.max()
    values = f'{low:.3g}' if low == high else f'{low:.3g}..{high:.3g}'
    axis = '' if quantization.axis is None else f' on axis {quantization.axis}'
    zero = '' if quantization.zero_point is None else ' with zero points'
    return f'{quantization.scale.size}{axis}: {values}{zero}'


def _reason(index: int, outputs: Sequence[TensorSpec], ordered_by_user: bool) -> str:
    """What settled the role of an output; see heads.py for the rules."""
    if ordered_by_user:
        return '"output_order"'
    alike = [i for i, spec in enumerate(outputs)
             if i != index and _grid(spec) == _grid(outputs[index])]
    if not alike:
        # The same on all axes, it could be channels first or last.
        cube = len(_grid(outputs[index])) > 1 and len(set(_grid(outputs[index]))) == 1
        return 'shape; its layout by the others' if cube else 'shape'
    same_form = all(_form(outputs[i]) == _form(outputs[index]) for i in alike)
    return ('order' if same_form else 'dtype and order') + (
        f', as {" and ".join(map(str, alike))} has the same shape')


def _grid(spec: TensorSpec) -> Tuple[int, ...]:
    return tuple(size for size in spec.shape if size != 1)


def _form(spec: TensorSpec) -> Tuple[np.dtype, bool]:
    return np.dtype(spec.dtype), spec.quantization is not None and spec.quantization.scale.size > 1
