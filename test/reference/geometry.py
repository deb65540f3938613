"""Where a picture lies in the model input, and boxes between the two."""
from __future__ import annotations

from typing import NamedTuple


class Placement(NamedTuple):
    """Content of ``content`` pixels starts at pixel ``pad``; both are (x, y)."""

    image: tuple[int, int]
    model: tuple[int, int]
    content: tuple[int, int]
    pad: tuple[int, int]


def place(image, model, mode='letterbox', align=1) -> Placement:
    if mode == 'stretch':
        return Placement(image, model, model, (0, 0))
    gain = min(model[0] / image[0], model[1] / image[1])
    content = []
    pad = []
    for size, limit in zip(image, model):
        length = min(max(round(size * gain / align) * align, align), limit)
        content.append(length)
        pad.append((limit - length) // (2 * align) * align if mode == 'letterbox' else 0)
    return Placement(image, model, tuple(content), tuple(pad))


def box_in_image(placement: Placement, box) -> list[float]:
    """Model pixels to picture pixels, cut at the picture's border."""
    corners = []
    for i, value in enumerate(box):
        axis = i % 2
        size, content = placement.image[axis], placement.content[axis]
        position = (value - placement.pad[axis]) * size / content
        corners.append(min(max(position, 0.0), float(size)))
    return corners


def area(box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def iou(a, b) -> float:
    overlap = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = area(a) + area(b) - overlap
    return overlap / union if union else 0.0
