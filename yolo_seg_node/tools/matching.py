"""Which detection of one list is which of another, and what changed between them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from .errors import ToolError, optional_module
from .results import FrameKey, FrameResults, Results, RunLengths

LOST, NEW, MOVED = 'lost', 'new', 'moved'
CLASS_CHANGED, MASK_CHANGED = 'class-changed', 'mask-changed'
KINDS = (LOST, NEW, MOVED, CLASS_CHANGED, MASK_CHANGED)
# Boxes that overlap less are different things.
SAME_THING_IOU = 0.5


class Limits(NamedTuple):
    """IoU of box and mask below which a detection counts as moved, or its mask as changed."""

    box_iou: float = 0.9
    mask_iou: float = 0.9


@dataclass
class FrameComparison:
    """One frame: the number of differences of each kind, and the IoU of all pairs."""

    key: FrameKey
    expected: int
    differences: Counter = field(default_factory=Counter)
    box_iou: List[float] = field(default_factory=list)
    mask_iou: List[float] = field(default_factory=list)

    def badness(self) -> Tuple[int, float]:
        """Larger is worse: the number of differences, then the worst IoU."""
        return sum(self.differences.values()), 1 - min(self.box_iou + self.mask_iou, default=1.0)


@dataclass(frozen=True)
class Comparison:
    """All frames that both have, and the keys of those that only one has."""

    frames: List[FrameComparison]
    missing: List[FrameKey]
    extra: List[FrameKey]

    @property
    def expected(self) -> int:
        """Detections of the golden results in the frames that both have."""
        return sum(frame.expected for frame in self.frames)

    def differences(self) -> Dict[str, int]:
        """Number of differences by kind."""
        total = sum((frame.differences for frame in self.frames), Counter())
        return {kind: total[kind] for kind in KINDS}

    def worst(self, count: int) -> List[FrameComparison]:
        """The frames that differ most, the worst first; none that are equal."""
        unequal = [frame for frame in self.frames if frame.badness() > (0, 0.0)]
        return sorted(unequal, key=FrameComparison.badness, reverse=True)[:count]


def compare_results(new: Results, golden: Results, limits: Limits = Limits()) -> Comparison:
    """Compare frame by frame.

    :raises ToolError: the masks are of different resolutions.
    """
    frames = [_compare_frames(key, new[key], frame, limits)
              for key, frame in golden.items() if key in new]
    return Comparison(frames, [key for key in golden if key not in new],
                      [key for key in new if key not in golden])


def _compare_frames(key: FrameKey, new: FrameResults, golden: FrameResults,
                    limits: Limits) -> FrameComparison:
    comparison = FrameComparison(key, len(golden))
    iou = _box_iou(new, golden)
    pairs = match(iou, new.class_names, golden.class_names)
    comparison.differences[LOST] = len(golden) - len(pairs)
    comparison.differences[NEW] = len(new) - len(pairs)
    for i, j in pairs:
        comparison.box_iou.append(float(iou[i, j]))
        comparison.differences[MOVED] += bool(iou[i, j] < limits.box_iou)
        comparison.differences[CLASS_CHANGED] += new.class_names[i] != golden.class_names[j]
        if new.masks is not None and golden.masks is not None:
            comparison.mask_iou.append(mask_iou(new.masks[i], golden.masks[j]))
            comparison.differences[MASK_CHANGED] += comparison.mask_iou[-1] < limits.mask_iou
    return comparison


def match(iou: np.ndarray, names: Sequence[str], golden_names: Sequence[str]
          ) -> List[Tuple[int, int]]:
    """Pairs of indices, each index at most once: same class first, then by falling IoU.

    :param iou: (n, m) IoU of each with each.
    """
    same = np.equal.outer(np.array(names, object), np.array(golden_names, object)).astype(bool)
    rows, columns = np.nonzero(iou >= SAME_THING_IOU)
    order = np.lexsort((-iou[rows, columns], ~same[rows, columns]))
    pairs, used, golden_used = [], set(), set()
    for i, j in zip(rows[order].tolist(), columns[order].tolist()):
        if i not in used and j not in golden_used:
            pairs.append((i, j))
            used.add(i)
            golden_used.add(j)
    return pairs


def _box_iou(new: FrameResults, golden: FrameResults) -> np.ndarray:
    """(n, m) float64."""
    if not len(new) or not len(golden):
        return np.zeros((len(new), len(golden)))
    coco_mask = optional_module('pycocotools.mask', 'evaluate')
    return coco_mask.iou(_xywh(new.xyxy_image), _xywh(golden.xyxy_image), [0] * len(golden))


def _xywh(xyxy: np.ndarray) -> np.ndarray:
    return np.hstack([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]])


def mask_iou(mask: RunLengths, golden: RunLengths) -> float:
    """IoU of two masks; 1 for two empty ones.

    :raises ToolError: they are of different resolutions.
    """
    if mask['size'] != golden['size']:
        raise ToolError(f'Masks of {_size(mask)} cannot be compared with golden ones of '
                        f'{_size(golden)} pixels; make both with the same mask resolution.')
    coco_mask = optional_module('pycocotools.mask', 'evaluate')
    if not coco_mask.area(mask) and not coco_mask.area(golden):
        return 1.0
    return float(coco_mask.iou([mask], [golden], [0])[0, 0])


def _size(mask: RunLengths) -> str:
    return '{1}x{0}'.format(*mask['size'])


def histogram(values: Sequence[float], width: int = 40) -> List[str]:
    """Lines of a bar chart of IoU values in [0, 1]; finer towards 1, where regressions show."""
    edges = [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999]
    rank = np.searchsorted(edges, values, side='right') - 1
    counts = np.bincount(rank, minlength=len(edges)) if len(values) else np.zeros(len(edges), int)
    scale = width / max(1, counts.max())
    return [f'  {low:5.3f} - {high:5.3f} {count:7d} {"#" * int(np.ceil(count * scale))}'
            for low, high, count in zip(edges, [*edges[1:], 1.0], counts.tolist())]


def first(keys: Sequence[FrameKey]) -> Optional[str]:
    """The first key in words."""
    return f'{keys[0].camera or "/"} stamp {keys[0].stamp_ns}' if keys else None
