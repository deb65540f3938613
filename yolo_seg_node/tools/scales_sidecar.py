"""The sidecar file with the scales of integer outputs; ``scales.with_scales`` reads it."""

import json
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from .errors import ToolError


def sidecar_entry(dtype: np.dtype, scale: np.ndarray, axis: Optional[int],
                  zero_point: Optional[np.ndarray] = None) -> Dict[str, Any]:
    """What the file says of one output: ``real = (stored - zero_point) * scale``.

    :param scale: float32, one value or one per channel.
    :param axis: where the channels lie, None with one scale.
    :param zero_point: as ``scale``, or None for zero.
    """
    return {'dtype': np.dtype(dtype).name,
            # The shortest decimals that give the same float32 again.
            'scale': [float(str(value)) for value in np.atleast_1d(scale).astype(np.float32)],
            'axis': axis,
            'zero_point': 0 if zero_point is None else np.asarray(zero_point).tolist()}


def write_sidecar(path: Path, entries: Dict[str, Dict[str, Any]]) -> None:
    """Write the file, one output a line.

    :param entries: output name -> ``sidecar_entry``.
    :raises ToolError: it cannot be written.
    """
    lines = ',\n'.join(f'{json.dumps(name)}: {json.dumps(entry)}'
                       for name, entry in entries.items())
    try:
        path.write_text(f'{{"outputs": {{\n{lines}\n}}}}\n', encoding='utf-8')
    except OSError as error:
        raise ToolError(f'The scales file cannot be written: {error}.') from None
