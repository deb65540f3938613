"""Detections as COCO result records: one dict per detection, masks run-length encoded."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Dict, List, Sequence, Union

import numpy as np

from ..detections import Detections
from ..letterbox import SizeWH
from .errors import ToolError
from .rows import check_row, is_box, is_integer, is_number

Record = Dict[str, Any]
RECORD = {'image_id': is_integer, 'category_id': is_integer, 'bbox': is_box, 'score': is_number}


def result_records(detections: Detections, image_id: Union[int, str],
                   category_ids: Sequence[int]) -> List[Record]:
    """One COCO result record per detection, by falling score.

    ``bbox`` is x, y, width, height in source-image pixels; ``segmentation`` (only with masks) is a
    compressed run-length encoding with text counts, on the grid of the masks.

    :param category_ids: category id of each class id of the model.
    """
    xyxy = detections.xyxy_image.astype(float)
    xywh = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1).tolist()
    records = [{'image_id': image_id, 'category_id': int(category_ids[class_id]), 'bbox': box,
                'score': score}
               for class_id, box, score in zip(detections.class_id.tolist(), xywh,
                                               detections.score.astype(float).tolist())]
    masks = detections.masks
    if masks is not None:
        for record, crop, origin_xy in zip(records, masks.crops, masks.origin_xy.tolist()):
            record['segmentation'] = encode_crop(crop, origin_xy, masks.size_wh)
    return records


def encode_crop(crop: np.ndarray, origin_xy: Sequence[int], size_wh: SizeWH) -> Dict[str, Any]:
    """COCO's compressed run lengths of an (h, w) bool crop at ``origin_xy`` of a mask."""
    from pycocotools import mask as coco_mask

    width, height = size_wh
    x, y = origin_xy
    # Runs go down the columns, so only the columns of the crop are ever looked at.
    columns = np.zeros((crop.shape[1], height), bool)
    columns[:, y:y + crop.shape[0]] = crop.T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + x * height
    runs = np.diff(edges[edges < width * height], prepend=0, append=width * height)
    encoded = coco_mask.frPyObjects({'size': [height, width], 'counts': runs.tolist()},
                                    height, width)
    return {'size': [height, width], 'counts': encoded['counts'].decode()}


def read_records(path: Path) -> Dict[int, List[Record]]:
    """COCO result records by image id.

    :raises ToolError: the file is no COCO result.
    """
    found: Dict[int, List[Record]] = defaultdict(list)
    try:
        for record in json.loads(path.read_text(encoding='utf-8')):
            check_row(record, RECORD)
            found[record['image_id']].append(record)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ToolError(f'{path} is no COCO result: {error}') from None
    return found
