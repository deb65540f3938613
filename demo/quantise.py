"""Quantise the float model to int8 with integer outputs, as an accelerator gives them.

    python demo/quantise.py --model resource/demo/shapes_seg_float.onnx \
        --output resource/demo/shapes_seg_int.onnx

What `yolo_seg quantize` does, calibrated on training pictures, and with weights of seven bits,
which x86 processors of any age add up exactly. The scales go into `<output>.scales.json`.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from dataset import MODEL_SIZE, TRAIN_SEED
from scenes import scene
from yolo_seg_node.tools.integer_heads import quantize
from yolo_seg_node.tools.onnx_graph import save_model
from yolo_seg_node.tools.scales_sidecar import sidecar_entry, write_sidecar

_CALIBRATION_PICTURES = 120


def calibration_inputs(count: int) -> Iterator[np.ndarray]:
    """Give training pictures as model inputs, (1, 3, s, s) float32 RGB in 0..1."""
    for seed in range(TRAIN_SEED, TRAIN_SEED + count):
        bgr = scene(seed, MODEL_SIZE)[0]
        yield np.ascontiguousarray(bgr[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255


def main() -> None:
    """Quantise from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', type=Path, required=True)
    parser.add_argument('--output', type=Path, required=True)
    options = parser.parse_args()
    float_model = onnx.load(options.model)
    integer = [value.name for value in float_model.graph.output if not value.name.startswith('cls')]
    model, scales = quantize(float_model, list(calibration_inputs(_CALIBRATION_PICTURES)), integer,
                             seven_bit=True)
    save_model(model, options.output)
    sidecar = options.output.with_suffix('.scales.json')
    write_sidecar(sidecar, {name: sidecar_entry(*scale) for name, scale in scales.items()})
    print(f'{options.output}: {options.output.stat().st_size} bytes; {sidecar}')


if __name__ == '__main__':
    main()
