"""Write a trained checkpoint as ONNX with the ten outputs of a cut YOLO11-seg export.

    python demo/export.py --checkpoint shapes_seg.pt --output resource/demo/shapes_seg_float.onnx

Outputs, all NHWC float32: cls_8, box_8, mc_8, cls_16, ..., mc_32, proto. Input `images`, NCHW
float32 RGB in 0..1.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from dataset import MODEL_SIZE
from network import STRIDES, ConvUnit, Segmenter

OPSET = 11  # the newest that every board tool chain reads
OUTPUT_NAMES = [f'{kind}_{stride}' for stride in STRIDES for kind in ('cls', 'box', 'mc')] + [
    'proto']


class CutHeads(nn.Module):
    """The network with its raw heads as a flat tuple, in the order of `OUTPUT_NAMES`, NHWC."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Take (1, 3, h, w)."""
        heads = self.network(images)
        levels = zip(heads.class_logits, heads.distance_logits, heads.mask_coefficients)
        tensors = [tensor for level in levels for tensor in level] + [heads.proto]
        return tuple(tensor.permute(0, 2, 3, 1) for tensor in tensors)


def fold_normalisation(network: Segmenter) -> None:
    """Fold every batch normalisation into the convolution before it, in place."""
    for unit in network.modules():
        if isinstance(unit, ConvUnit):
            unit[0] = nn.utils.fusion.fuse_conv_bn_eval(unit[0], unit[1])
            unit[1] = nn.Identity()


def load_network(checkpoint: Path) -> Segmenter:
    """Give the averaged network of a checkpoint, ready for inference."""
    network = Segmenter().eval().requires_grad_(False)
    network.load_state_dict(torch.load(checkpoint, weights_only=True)['average'])
    return network


def export(network: Segmenter, path: Path) -> None:
    """Write the ONNX file; the network's normalisation is folded on the way."""
    fold_normalisation(network)
    picture = torch.zeros(1, 3, MODEL_SIZE, MODEL_SIZE)
    # The newer exporter raises the opset and stores source paths of the exporting machine.
    torch.onnx.export(CutHeads(network), (picture,), str(path), input_names=['images'],
                      output_names=OUTPUT_NAMES, opset_version=OPSET, dynamo=False)


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--checkpoint', type=Path, required=True)
    parser.add_argument('--output', type=Path, required=True)
    options = parser.parse_args()
    export(load_network(options.checkpoint), options.output)
    print(f'{options.output}: {options.output.stat().st_size} bytes')


if __name__ == '__main__':
    main()
