"""The part of a model before its heads, quantised to int8 by onnxruntime."""

import importlib
import logging
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Dict, Iterator, Optional, Sequence

import numpy as np
import onnx
from onnx import ModelProto

from ..runtimes.onnxruntime import OnnxRuntime
from .onnx_graph import picture_input


class _Inputs:
    """The calibration inputs in the form that onnxruntime asks for."""

    def __init__(self, input_name: str, inputs: Sequence[np.ndarray]) -> None:
        self._rest: Iterator[Dict[str, np.ndarray]] = ({input_name: x} for x in inputs)

    def get_next(self) -> Optional[Dict[str, np.ndarray]]:
        return next(self._rest, None)


def quantize_trunk(trunk: ModelProto, inputs: Sequence[np.ndarray], seven_bit: bool) -> ModelProto:
    """Quantise with scales from the extremes seen, weights per channel.

    :return: a model in which a DequantizeLinear makes each output under its old name.
    """
    tools = _quantization()
    reader = _Inputs(picture_input(trunk)[0], inputs)
    # Activations are uint8: int8 ones run three times slower on x86. Their zero point costs
    # nothing, the integer products take it in. Products of uint8 and int8 may overflow 16 bits on
    # x86 without VNNI, so 8-bit weights are uint8 too, and int8 ones have seven bits.
    weights = ({'weight_type': tools.QuantType.QInt8, 'reduce_range': True} if seven_bit else
               {'weight_type': tools.QuantType.QUInt8,
                'extra_options': {'WeightSymmetric': True}})
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, 'float.onnx'), Path(folder, 'int8.onnx')
        onnx.save(trunk, str(source))
        tools.quantize_static(str(source), str(target), reader, per_channel=True,
                              quant_format=tools.QuantFormat.QDQ,
                              activation_type=tools.QuantType.QUInt8, **weights)
        return onnx.load(str(target))


def _quantization() -> ModuleType:
    OnnxRuntime.find_sdk()  # its way of importing, with the reason where it is missing
    return importlib.import_module('onnxruntime.quantization')


class _quiet:
    """Holds back the advice that onnxruntime.quantization gives on the root logger."""

    def __enter__(self) -> None:
        self._level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        logging.getLogger().setLevel(self._level)
