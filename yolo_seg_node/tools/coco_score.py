"""Average precision of COCO, by unmodified pycocotools."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Dict, Sequence, Tuple

import numpy as np

from .coco import Record
from .errors import optional_module
from .ground_truth import GroundTruth

BOX = 'bbox'
MASK = 'segm'


@dataclass(frozen=True)
class CocoScore:
    """Figures of one kind of IoU.

    :ivar kind: ``bbox`` or ``segm``.
    :ivar stats: the twelve figures of COCO in its own order; -1 where nothing can be said.
    :ivar lines: the same as the text that pycocotools prints.
    :ivar class_ap: category id -> AP at IoU 0.50:0.95; -1 for a category without annotations.
    :ivar image_found: image id -> annotations that were found, summed over the ten IoU limits.
    """

    kind: str
    stats: Tuple[float, ...]
    lines: str
    class_ap: Dict[int, float]
    image_found: Dict[int, int]

    @property
    def ap(self) -> float:
        """AP at IoU 0.50:0.95 over all areas and at most 100 detections."""
        return self.stats[0]

    @property
    def ap50(self) -> float:
        """AP at IoU 0.50."""
        return self.stats[1]


def score(truth: GroundTruth, records: Sequence[Record], kind: str) -> CocoScore:
    """Compare result records with the annotations, over all pictures of the annotations.

    As pycocotools does for records with a box, small, medium and large mean the area of the box of
    a detection for masks too.

    :param kind: ``bbox`` or ``segm``; ``segm`` needs records with a segmentation.
    """
    cocoeval = optional_module('pycocotools.cocoeval', 'evaluate')
    text = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = cocoeval.COCOeval(truth.coco, _results(truth, records), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        with contextlib.redirect_stdout(text):
            evaluation.summarize()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    class_ap = {category_id: _mean(precision[:, :, k])
                for k, category_id in enumerate(evaluation.params.catIds)}
    return CocoScore(kind, tuple(float(s) for s in evaluation.stats), text.getvalue(), class_ap,
                     _image_found(evaluation))


def _results(truth: GroundTruth, records: Sequence[Record]) -> Any:
    if records:
        # loadRes writes into the records.
        return truth.coco.loadRes([dict(record) for record in records])
    empty = optional_module('pycocotools.coco', 'evaluate').COCO()
    empty.dataset = {**truth.coco.dataset, 'annotations': []}
    empty.createIndex()
    return empty


def _image_found(evaluation: Any) -> Dict[int, int]:
    all_areas = evaluation.params.areaRng[0]
    found = dict.fromkeys(evaluation.params.imgIds, 0)
    for match in evaluation.evalImgs:
        if match is not None and match['aRng'] == all_areas:
            counted = (match['gtMatches'] > 0) & (match['gtIgnore'] == 0)
            found[match['image_id']] += int(counted.sum())
    return found


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0
