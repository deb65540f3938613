"""The lists that a VACC model with suppression built in gives; rows of -1 are unused."""

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np


class Row(NamedTuple):
    """One used row: model pixels."""

    class_id: int
    score: float
    xyxy: Tuple[float, float, float, float]
    coefficients: Tuple[float, ...]


def outputs_of(rows: Sequence[Row], slots: int, proto_chw: np.ndarray,
               last_axis: bool = True) -> List[np.ndarray]:
    """Class id, score, box, coefficients and proto in float16, as the card writes them."""
    channels = len(proto_chw)
    lists = [np.full((1, slots, n), -1, np.float16) for n in (1, 1, 4, channels)]
    for i, row in enumerate(rows):
        for array, value in zip(lists, row):
            array[0, i] = value
    if not last_axis:
        lists[0], lists[1] = lists[0][..., 0], lists[1][..., 0]
    return [*lists, proto_chw.astype(np.float16)[None]]
