"""The README.txt of an export folder."""

from typing import List

from .export_order import Order, Written

INDENT = '    '


def readme(order: Order, target: str, written: Written) -> str:
    """What is in the folder, and the commands that are left to run."""
    raw = order.raw
    width, height = raw.size_wh
    files = {order.onnx: f'the model, {width}x{height}, with the heads {", ".join(raw.roles)}',
             **written.files}
    if raw.labels:
        files[f'{order.stem}.list'] = 'class names'
    lines = [f'{order.stem} for {target}, fed with {order.input_type}; written by `yolo_seg '
             'export`.', '', *_table(files), '', 'Left to do:']
    for number, step in enumerate(written.steps, 1):
        lines += ['', f'{number}. {step.where}:', '', *_indented(step.command)]
        lines += ['', step.hint] if step.hint else []
    if raw.licence:
        lines += ['', f'The checkpoint says of its licence: {raw.licence}']
    return '\n'.join(lines) + '\n'


def _table(files: 'dict[str, str]') -> List[str]:
    width = max(map(len, files))
    return [f'  {name:{width}}  {what}' for name, what in files.items()]


def _indented(text: str) -> List[str]:
    return [INDENT + line for line in text.splitlines()]
