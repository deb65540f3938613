"""The text that ``hrt_model_exec model_info`` prints, read without a board.

Sections of ``key: value`` lines; keys and their order differ between X3, X5 and S100, so a section
is read by key and unknown keys are skipped.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

from .errors import ModelError
from .tensors import TensorSpec, make_quantization
from .text_files import read_bytes

MAX_BYTES = 16 << 20
# Characters of a message; a line of the text may have millions.
MAX_REASON = 300
BLANKS = ' \t\r'
_SECTION = re.compile(r'(input|output)\[(\d+)\]\s*:\s*$')
_MODEL = re.compile(r'\[model name\]\s*:\s*(.*)$')
_DTYPES = {'S8': np.int8, 'U8': np.uint8, 'S16': np.int16, 'U16': np.uint16, 'S32': np.int32,
           'U32': np.uint32, 'S64': np.int64, 'U64': np.uint64, 'F16': np.float16,
           'F32': np.float32, 'F64': np.float64, 'BOOL8': np.bool_}

Section = Dict[str, str]


@dataclass(frozen=True)
class ModelInfo:
    """One model of the text.

    :ivar inputs: image inputs have dtype uint8.
    :ivar nv12: the first input is a packed NV12 picture.
    """

    name: str
    inputs: Tuple[TensorSpec, ...]
    outputs: Tuple[TensorSpec, ...]
    nv12: bool


def read_model_info(path: Path) -> List[ModelInfo]:
    """All models of a saved text; bytes that are no UTF-8 are skipped.

    :raises ModelError: the file cannot be read or holds no such section.
    """
    try:
        data = read_bytes(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(f'The model_info text cannot be read: {error} ({path})') from None
    return parse_model_info(data.replace(b'\0', b'').decode('utf-8', 'replace'), str(path))


def parse_model_info(text: str, source: str = 'The text') -> List[ModelInfo]:
    """All models of a model_info text.

    :raises ModelError: no model with an output in it, or a value that cannot be read.
    """
    models: List[Tuple[str, Dict[str, List[Section]]]] = []
    section: Optional[Section] = None
    for line in text.split('\n'):  # raw bytes may look like other line ends
        line = line.strip(BLANKS)
        model, head = _MODEL.match(line), _SECTION.match(line)
        if model:
            models.append((model.group(1).strip(), {'input': [], 'output': []}))
            section = None
        elif head and models:
            section = {}
            models[-1][1][head.group(1)].append(section)
        elif section is not None and ':' in line:
            key, value = line.split(':', 1)
            section.setdefault(key.strip(BLANKS), value.strip(BLANKS))
        elif section is not None and line.startswith(','):
            section['zero_point data'] = '\n'  # a 10 as a raw byte, which cannot be read either
    found = [_model(name, parts) for name, parts in models if parts['output']]
    if not found:
        raise ModelError(f'{source} holds no model with outputs; save what '
                         '`hrt_model_exec model_info --model_file MODEL` prints.')
    return found


def _model(name: str, parts: 'dict[str, list[Section]]') -> ModelInfo:
    first_input = parts['input'][0].get('tensor type', '') if parts['input'] else ''
    return ModelInfo(name, tuple(map(_spec, parts['input'])), tuple(map(_spec, parts['output'])),
                     nv12=first_input.endswith('IMG_TYPE_NV12'))


def _spec(section: Section) -> TensorSpec:
    try:
        name, shape = section['name'], tuple(int(v) for v in _items(section['valid shape']))
        kind = section['tensor type']
        dtype = np.dtype(np.uint8 if '_IMG_TYPE_' in kind else _DTYPES[kind.rsplit('_', 1)[-1]])
        spec = TensorSpec(name, shape, dtype)
        scale = [float(v) for v in _items(section.get('scale data', ''))]
        zero_point = np.array(_zero_point(section.get('zero_point data', '')), np.float64)
        axis = int(section['quantizeAxis']) if 'quantizeAxis' in section else None
    except (KeyError, ValueError, OverflowError) as error:
        reason = f'{error!r} in {dict(list(section.items())[:3])}'
        raise ModelError('A section of the model_info text cannot be read: '
                         f'{reason[:MAX_REASON]}.') from None
    if section.get('quanti type') != 'SCALE' or not scale or dtype.kind == 'f':
        return spec
    quantization = make_quantization(spec, np.array(scale), zero_point, axis)
    return TensorSpec(name, shape, dtype, quantization)


def _items(value: str) -> List[str]:
    """Comma-separated items in brackets or not; one comma may trail."""
    items = [item.strip(BLANKS) for item in value.strip(BLANKS + '()').split(',')]
    return items if items[-1] else items[:-1]


def _zero_point(value: str) -> List[int]:
    """S100 prints zero points as raw bytes: of a 0 nothing is left, and others cannot be read."""
    items = _items(value)
    return [int(item) for item in items] if any(items) else []
