"""Scales of integer outputs from a file beside the model."""

from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from .errors import ModelError
from .model_info import MAX_BYTES, read_model_info
from .tensors import Quantization, TensorSpec, make_quantization
from .text_files import read_json


def with_scales(outputs: Sequence[TensorSpec], path: Path) -> Tuple[TensorSpec, ...]:
    """Outputs with the scales of a file.

    :param path: a sidecar ``{"outputs": {NAME: {"scale": [...], "axis": 3, "zero_point": 0}}}``,
        or the text that ``hrt_model_exec model_info`` prints. Outputs are matched by name. For
        recorded outputs, which are called output_0, output_1 ..., a text is matched by position,
        and the entries of a sidecar belong to the integer outputs in turn.
    :raises ModelError: the file cannot be read, or its scales do not fit the outputs.
    """
    if path.suffix.lower() == '.json':
        return _from_sidecar(outputs, path)
    return _from_model_info(outputs, path)


def _from_sidecar(outputs: Sequence[TensorSpec], path: Path) -> Tuple[TensorSpec, ...]:
    entries = _by_output(outputs, _read_sidecar(path), path)
    return tuple(_with(spec, _entry_quantization(spec, entries[spec.name]))
                 if spec.name in entries else spec for spec in outputs)


def _by_output(outputs: Sequence[TensorSpec], entries: Dict[str, Any],
               path: Path) -> Dict[str, Any]:
    """The entries under the names of the outputs."""
    unknown = sorted(set(entries) - {spec.name for spec in outputs})
    integers = [spec.name for spec in outputs if np.dtype(spec.dtype).kind in 'iu']
    recorded = all(spec.name == f'output_{i}' for i, spec in enumerate(outputs))
    if recorded and len(unknown) == len(entries) == len(integers):
        return dict(zip(integers, entries.values()))
    if unknown:
        raise ModelError(f'Scales file {path.name} names output(s) {", ".join(unknown)}, but the '
                         f'model has {", ".join(spec.name for spec in outputs)}.')
    return entries


def _read_sidecar(path: Path) -> Dict[str, Any]:
    try:
        entries = read_json(path, MAX_BYTES)['outputs']
        if not all(isinstance(entry, dict) for entry in entries.values()):
            raise TypeError('an entry of "outputs" is no object')
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f'Scales file {path} cannot be read ({error!r}); it must be JSON of the '
                         'form {"outputs": {NAME: {"scale": [...], "axis": 3}}}.') from None
    return entries


def _entry_quantization(spec: TensorSpec, entry: Dict[str, Any]) -> Quantization:
    try:
        scale = np.array(entry['scale'], np.float64)
        zero_point = np.array(entry.get('zero_point') or 0, np.float64)
        axis = None if entry.get('axis') is None else int(entry['axis'])
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(f'The scales file entry of output {spec.name!r} cannot be read: '
                         f'{error!r}.') from None
    return make_quantization(spec, scale, zero_point, axis)


def _from_model_info(outputs: Sequence[TensorSpec], path: Path) -> Tuple[TensorSpec, ...]:
    for model in read_model_info(path):
        by_name = {spec.name: spec for spec in model.outputs}
        if all(spec.name in by_name for spec in outputs):
            return tuple(_take_from(spec, by_name[spec.name]) for spec in outputs)
        if [spec.shape for spec in outputs] == [spec.shape for spec in model.outputs]:
            return tuple(map(_take_from, outputs, model.outputs))
    raise ModelError(f'Scales file {path.name}: no model in it has the outputs '
                     f'{", ".join(map(str, outputs))}.')


def _take_from(spec: TensorSpec, other: TensorSpec) -> TensorSpec:
    if (spec.shape, np.dtype(spec.dtype)) != (other.shape, np.dtype(other.dtype)):
        raise ModelError(f'Output {spec.name!r} is {spec}, but the scales are for {other}.')
    return _with(spec, other.quantization) if other.quantization else spec


def _with(spec: TensorSpec, quantization: Quantization) -> TensorSpec:
    return TensorSpec(spec.name, spec.shape, spec.dtype, quantization)


def unscaled_integers(outputs: Sequence[TensorSpec]) -> List[TensorSpec]:
    """Integer outputs without scales, whose real values nobody can know."""
    return [spec for spec in outputs
            if np.dtype(spec.dtype).kind in 'iu' and spec.quantization is None]
