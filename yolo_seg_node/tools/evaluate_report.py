"""An evaluation for people: a table row, what is retained of a baseline, and what got worse."""

from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Sequence

from .coco import Record
from .coco_score import CocoScore
from .evaluate_sources import read_picture
from .ground_truth import GroundTruth
from .results import FrameResults, results_of_records, to_detections
from .side_by_side import side_by_side, write_picture

if TYPE_CHECKING:
    from .evaluate import Evaluation

WORST_PICTURES = 5
# A drawing of everything above a score of 0.001 would show nothing.
LEAST_SCORE_DRAWN = 0.25


def markdown_row(name: str, found: Sequence[CocoScore], baseline: Sequence[CocoScore]
                 ) -> List[str]:
    """A table with one row: AP 0.50:0.95 of boxes and masks, and percent of the baseline."""
    kinds = ' / '.join(('BBox', 'Mask')[:len(found)])
    columns = {'model': name}
    if baseline:
        columns[f'baseline {kinds}'] = ' / '.join(f'{old.ap:.3f}' for old in baseline)
        columns[kinds] = ' / '.join(f'{new.ap:.3f}({retention(new.ap, old.ap)})'
                                    for new, old in zip(found, baseline))
    else:
        columns[kinds] = ' / '.join(f'{new.ap:.3f}' for new in found)
    return [f'| {" | ".join(cells)} |'
            for cells in (columns, ['---'] * len(columns), columns.values())]


def retention(ap: float, baseline: float) -> str:
    """Percent of the baseline, or a dash where that is zero or not known."""
    return f'{100 * ap / baseline:.2f}%' if ap >= 0 and baseline > 0 else '-'


def class_table(truth: GroundTruth, found: Sequence[CocoScore], baseline: Sequence[CocoScore]
                ) -> List[str]:
    """AP of each class with the baseline's, the one that lost most first."""
    lines = []
    for new, old in zip(found, baseline):
        lines.append(f'{new.kind} AP by class: baseline, this, retained')
        known = [c for c in truth.names if old.class_ap[c] >= 0]
        for category in sorted(known, key=lambda c: new.class_ap[c] - old.class_ap[c]):
            ap, was = new.class_ap[category], old.class_ap[category]
            lines.append(f'  {truth.names[category]:20s} {was:.3f}  {ap:.3f}  {retention(ap, was)}')
    return lines


def write_regressions(truth: GroundTruth, images: Path, found: 'Evaluation',
                      baseline: 'Evaluation', folder: Path) -> List[Path]:
    """Draw the pictures in which most annotations were lost, baseline left and this right.

    :raises ToolError: a picture cannot be read or written.
    """
    loss = {image_id: sum(old.image_found[image_id] - new.image_found[image_id]
                          for new, old in zip(found.scores, baseline.scores))
            for image_id in found.box.image_found}
    worst = [i for i in sorted(loss, key=loss.get, reverse=True) if loss[i] > 0][:WORST_PICTURES]
    pictures = {picture.image_id: picture for picture in truth.pictures_of(images)}
    names, written = tuple(truth.names.values()), []
    for image_id in worst:
        bgr = read_picture(pictures[image_id]).bgr()
        image_wh = (bgr.shape[1], bgr.shape[0])
        parts = [(caption, to_detections(_drawn(records, image_id, truth.names), image_wh, names))
                 for caption, records in (('baseline', baseline.records), ('this', found.records))]
        written.append(folder / f'{pictures[image_id].path.stem}.png')
        write_picture(written[-1], side_by_side(bgr, parts, names))
    return written


def _drawn(records: Sequence[Record], image_id: int, names: Dict[int, str]) -> FrameResults:
    return results_of_records([r for r in records if r['image_id'] == image_id
                               and r['score'] >= LEAST_SCORE_DRAWN], names)
