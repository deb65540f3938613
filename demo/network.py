"""A small one-stage instance segmenter with the ten heads of YOLOv8-seg and YOLO11-seg.

Strided residual backbone; feature pyramid (FPN, Lin et al. 2017) with a bottom-up path (PAN, Liu
et al. 2018); per stride a class head, a box head giving a distribution over distances (DFL, Li et
al. 2020, "Generalized Focal Loss") and a mask-coefficient head; prototypes at stride 4 (YOLACT,
Bolya et al. 2019). About 380 thousand parameters.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
REG_MAX = 16
MASK_COUNT = 32
PROTO_STRIDE = 4


class Heads(NamedTuple):
    """Raw head outputs, NCHW float; the lists hold one tensor a stride."""

    class_logits: list[Tensor]
    distance_logits: list[Tensor]
    mask_coefficients: list[Tensor]
    proto: Tensor


class ConvUnit(nn.Sequential):
    """Convolution, batch normalisation and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
            nn.SiLU())


class Residual(nn.Module):
    """Two 3x3 units through half the channels, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = ConvUnit(channels, channels // 2)
        self.expand = ConvUnit(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return x + self.expand(self.squeeze(x))


class PyramidPool(nn.Module):
    """Spatial pyramid pooling (He et al. 2014) by repeated 5x5 maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.mix = ConvUnit(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        near = self.pool(x)
        return self.mix(torch.cat([x, near, self.pool(near)], dim=1))


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode='nearest')


def _stage(inputs: int, outputs: int, residuals: int) -> nn.Sequential:
    return nn.Sequential(ConvUnit(inputs, outputs, 3, 2),
                         *(Residual(outputs) for _ in range(residuals)))


class Backbone(nn.Module):
    """Features at strides 4, 8, 16 and 32."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = ConvUnit(3, widths[0], 3, 2)
        self.stages = nn.ModuleList(
            _stage(*pair, residuals)
            for pair, residuals in zip(zip(widths, widths[1:]), (1, 2, 2, 1)))
        self.pool = PyramidPool(widths[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Take RGB (n, 3, h, w) in 0..1."""
        x, features = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features[-1] = self.pool(features[-1])
        return features


class Neck(nn.Module):
    """FPN top-down and PAN bottom-up paths at one common width."""

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvUnit(w, width, 1) for w in widths)
        self.smooth3, self.smooth4 = ConvUnit(width, width), ConvUnit(width, width)
        self.down4, self.down5 = ConvUnit(width, width, 3, 2), ConvUnit(width, width, 3, 2)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Take and give features at strides 8, 16 and 32."""
        lateral3, lateral4, top5 = (unit(x) for unit, x in zip(self.lateral, features))
        top4 = self.smooth4(lateral4 + _double(top5))
        top3 = self.smooth3(lateral3 + _double(top4))
        out4 = top4 + self.down4(top3)
        return [top3, out4, top5 + self.down5(out4)]


class Prototypes(nn.Module):
    """Mask prototypes at stride 4 from the stride 8 features and the fine backbone ones."""

    def __init__(self, width: int, fine_width: int) -> None:
        super().__init__()
        self.fine = ConvUnit(fine_width, 16, 1)
        self.coarse = ConvUnit(width, 32)
        self.merge = ConvUnit(32 + 16, 32)
        self.project = ConvUnit(32, MASK_COUNT, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Give (n, MASK_COUNT, h/4, w/4)."""
        joined = torch.cat([_double(self.coarse(coarse)), self.fine(fine)], dim=1)
        return self.project(self.merge(joined))


def _head(width: int, hidden: int, outputs: int, depth: int, bias: float) -> nn.Sequential:
    units = [ConvUnit(width if i == 0 else hidden, hidden) for i in range(depth)]
    last = nn.Conv2d(hidden, outputs, 1)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(*units, last)


class Segmenter(nn.Module):
    """The whole network; input sides must be divisible by 32."""

    def __init__(self, class_count: int = 4, widths: tuple[int, ...] = (8, 16, 32, 56, 80),
                 neck_width: int = 32, box_width: int = 32, head_width: int = 24) -> None:
        super().__init__()
        self.backbone = Backbone(widths)
        self.neck = Neck(widths[2:], neck_width)
        self.prototypes = Prototypes(neck_width, widths[1])
        shapes = {'classes': (head_width, class_count, 2, -5.0),  # few cells hold an object
                  'boxes': (box_width, 4 * REG_MAX, 1, 1.0),
                  'coefficients': (head_width, MASK_COUNT, 1, 0.0)}
        for name, shape in shapes.items():
            setattr(self, name, nn.ModuleList(_head(neck_width, *shape) for _ in STRIDES))

    def forward(self, x: Tensor) -> Heads:
        """Take RGB (n, 3, h, w) float in 0..1."""
        features = self.backbone(x)
        levels = self.neck(features[1:])
        heads = ([head(level) for head, level in zip(group, levels)]
                 for group in (self.classes, self.boxes, self.coefficients))
        return Heads(*heads, self.prototypes(levels[0], features[0]))
