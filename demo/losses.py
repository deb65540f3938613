"""The training loss: task-aligned targets, class, box, distance and mask terms.

* assignment: TOOD (Feng et al. 2021), alignment = score^alpha * IoU^beta, top k cells an object
* class: binary cross-entropy against the normalised alignment
* box: generalised IoU (Rezatofighi et al. 2019)
* distance: distribution focal loss (Li et al. 2020, "Generalized Focal Loss")
* mask: binary cross-entropy inside the object's box (YOLACT, Bolya et al. 2019)
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from batches import Batch
from network import PROTO_STRIDE, REG_MAX, STRIDES, Heads

_SCORE_POWER = 0.5
_IOU_POWER = 6.0
_TOP_CELLS = 10
_MAX_MASKS = 160
_WEIGHTS = {'class': 0.7, 'box': 6.0, 'distance': 1.5, 'mask': 6.0}


class Cells(NamedTuple):
    """Grid cells of all strides in one row: `centre` (c, 2) pixels, `stride` (c, 1)."""

    centre: Tensor
    stride: Tensor


class Assignment(NamedTuple):
    """The k positive cells: picture, cell and object index, and the class target in 0..1."""

    picture: Tensor
    cell: Tensor
    object: Tensor
    target: Tensor


def grid_cells(size: int) -> Cells:
    """Give the cells of a square input of `size` pixels."""
    centres, strides = [], []
    for stride in STRIDES:
        steps = (torch.arange(size // stride) + 0.5) * stride
        y, x = torch.meshgrid(steps, steps, indexing='ij')
        centres.append(torch.stack([x, y], dim=-1).view(-1, 2))
        strides.append(torch.full((len(centres[-1]), 1), float(stride)))
    return Cells(torch.cat(centres), torch.cat(strides))


def _area(xyxy: Tensor) -> Tensor:
    return (xyxy[..., 2:] - xyxy[..., :2]).clamp(min=0).prod(dim=-1)


def iou_and_giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Give IoU and generalised IoU of xyxy boxes; the leading dimensions broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    union = _area(a) + _area(b) - overlap + 1e-6
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    hull_area = hull.clamp(min=0).prod(dim=-1) + 1e-6
    iou = overlap / union
    return iou, iou - (hull_area - union) / hull_area


def _join(levels: list[Tensor]) -> Tensor:
    """Turn per-stride (n, k, h, w) into (n, cells, k) float32."""
    return torch.cat([x.flatten(2) for x in levels], dim=2).transpose(1, 2).float()


def predicted_boxes(distance_logits: Tensor, cells: Cells) -> Tensor:
    """Turn DFL logits (n, c, 4, REG_MAX) into xyxy pixels: the expected distances."""
    bins = torch.arange(REG_MAX, dtype=torch.float32)
    distance = (distance_logits.softmax(dim=-1) @ bins) * cells.stride
    return torch.cat([cells.centre - distance[..., :2], cells.centre + distance[..., 2:]], dim=-1)


def _inside(xyxy: Tensor, cells: Cells) -> Tensor:
    """Tell which cell centres lie in which boxes: (n, m, c) bool."""
    low = cells.centre - xyxy[:, :, None, :2]
    high = xyxy[:, :, None, 2:] - cells.centre
    return torch.cat([low, high], dim=-1).amin(dim=-1) > 1e-3


def _one_object_a_cell(chosen: Tensor, iou: Tensor) -> Tensor:
    """Leave a cell that several objects chose to the one it overlaps most; (n, m, c) bool."""
    best = torch.where(chosen, iou, -1.0).argmax(dim=1, keepdim=True)
    objects = torch.arange(chosen.shape[1])[None, :, None]
    return chosen & (objects == best)


@torch.no_grad()
def assign(class_logits: Tensor, boxes: Tensor, batch: Batch, cells: Cells) -> Assignment:
    """Choose the positive cells of every object and their class targets."""
    candidates = _inside(batch.xyxy, cells) & batch.valid[..., None]
    iou = iou_and_giou(batch.xyxy[:, :, None], boxes[:, None])[0] * candidates
    columns = batch.class_id[..., None].expand_as(iou)
    score = class_logits.sigmoid().transpose(1, 2).gather(1, columns)
    alignment = score ** _SCORE_POWER * iou ** _IOU_POWER
    top, index = alignment.topk(_TOP_CELLS, dim=-1)
    chosen = torch.zeros_like(candidates).scatter_(2, index, top > 1e-12)
    chosen = _one_object_a_cell(chosen, iou)
    alignment = alignment * chosen
    best_iou = (iou * chosen).amax(dim=2, keepdim=True)
    target = alignment / (alignment.amax(dim=2, keepdim=True) + 1e-9) * best_iou
    picture, row, cell = chosen.nonzero(as_tuple=True)
    return Assignment(picture, cell, row, target[picture, row, cell])


def _class_loss(logits: Tensor, classes: Tensor, found: Assignment) -> Tensor:
    targets = torch.zeros_like(logits)
    targets[found.picture, found.cell, classes] = found.target
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction='sum')


def _distance_loss(logits: Tensor, xyxy: Tensor, cells: Cells) -> Tensor:
    """Cross-entropy to the two bins around each true distance; (k,) from (k, 4, REG_MAX)."""
    distance = torch.cat([cells.centre - xyxy[:, :2], xyxy[:, 2:] - cells.centre], dim=-1)
    distance = (distance / cells.stride).clamp(0, REG_MAX - 1.01)
    lower = distance.long()
    weight = distance - lower
    log_share = logits.log_softmax(dim=-1)
    at_lower = log_share.gather(2, lower[..., None])[..., 0]
    at_upper = log_share.gather(2, lower[..., None] + 1)[..., 0]
    return -(at_lower * (1 - weight) + at_upper * weight).mean(dim=-1)


def _box_window(xyxy: Tensor, cells: int) -> Tensor:
    """Give (k, cells, cells) float: 1 for the proto cells that a box touches."""
    scaled = xyxy / PROTO_STRIDE
    low, high = scaled[:, :2].floor(), scaled[:, 2:].ceil()
    steps = torch.arange(cells) + 0.5
    columns = (steps > low[:, :1]) & (steps < high[:, :1])
    rows = (steps > low[:, 1:]) & (steps < high[:, 1:])
    return (rows[:, :, None] & columns[:, None, :]).float()


def _picture_mask_loss(proto: Tensor, coefficients: Tensor, masks: Tensor, xyxy: Tensor) -> Tensor:
    """Sum, over the k objects of one picture, of the mean cross-entropy inside their boxes."""
    cells = proto.shape[-1]
    logits = (coefficients @ proto.flatten(1)).view(-1, cells, cells)
    window = _box_window(xyxy, cells)
    loss = functional.binary_cross_entropy_with_logits(logits, masks, reduction='none')
    return ((loss * window).sum(dim=(1, 2)) / window.sum(dim=(1, 2)).clamp(min=1)).sum()


def _mask_loss(coefficients: Tensor, proto: Tensor, batch: Batch, found: Assignment) -> Tensor:
    """Mean over a random sample of the positive cells (all of them would cost too much)."""
    sample = torch.randperm(len(found.cell))[:_MAX_MASKS]
    picture, row = found.picture[sample], found.object[sample]
    chosen = coefficients[picture, found.cell[sample]]
    protos = proto.float().unbind()  # indexing one by one would clear a whole gradient each time
    total = coefficients.new_zeros(())
    for k in picture.unique().tolist():
        here = picture == k
        total = total + _picture_mask_loss(
            protos[k], chosen[here], batch.masks[k, row[here]], batch.xyxy[k, row[here]])
    return total / len(sample)


def segmentation_loss(heads: Heads, batch: Batch) -> dict[str, Tensor]:
    """Give the weighted terms 'class', 'box', 'distance' and 'mask'; their sum is the loss."""
    cells = grid_cells(batch.pictures.shape[-1])
    class_logits = _join(heads.class_logits)
    distances = _join(heads.distance_logits).unflatten(2, (4, REG_MAX))
    boxes = predicted_boxes(distances, cells)
    found = assign(class_logits.detach(), boxes.detach(), batch, cells)
    norm = found.target.sum().clamp(min=1)
    classes = batch.class_id[found.picture, found.object]
    terms = {'class': _class_loss(class_logits, classes, found) / norm}
    if len(found.cell):
        truth, at = batch.xyxy[found.picture, found.object], (found.picture, found.cell)
        here = Cells(cells.centre[found.cell], cells.stride[found.cell])
        giou = iou_and_giou(boxes[at], truth)[1]
        terms['box'] = ((1 - giou) * found.target).sum() / norm
        terms['distance'] = (_distance_loss(distances[at], truth, here) * found.target).sum() / norm
        terms['mask'] = _mask_loss(_join(heads.mask_coefficients), heads.proto, batch, found)
    return {name: _WEIGHTS[name] * term for name, term in terms.items()}
