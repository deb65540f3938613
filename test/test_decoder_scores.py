"""The threshold in the raw domain keeps exactly the cells that the formula keeps."""
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_seg_node.decoders.scores import ClassScan
from yolo_seg_node.heads import NCHW, NHWC
from yolo_seg_node.tensors import TensorSpec

ODD_VALUES = [0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, 6e-8, -6e-8, 1.0, -1.0, 65504.0]


@pytest.mark.parametrize('layout', [NHWC, NCHW])
@pytest.mark.parametrize('dtype', [np.float16, np.float32])
@given(values=st.lists(st.sampled_from(ODD_VALUES) | st.floats(-8, 8), min_size=12, max_size=12),
       limit=st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 6e-8, 1.0]) | st.floats(-8, 8))
def test_float_heads(layout, dtype, values, limit):
    head = np.array(values, dtype).reshape((1, 2, 2, 3) if layout == NHWC else (1, 3, 2, 2))
    scan = ClassScan(TensorSpec('cls', head.shape, head.dtype), 3, layout)
    cells, class_id, best = scan.hits(head, limit)
    table = head.reshape(4, 3) if layout == NHWC else head.reshape(3, 4).T
    wanted = []
    for cell, row in enumerate(table.astype(np.float32)):
        finite = [(v, -k) for k, v in enumerate(row) if math.isfinite(v)]
        if finite and np.float32(max(finite)[0]) >= np.float32(limit):
            value, k = max(finite)
            wanted.append((cell, -k, value))
    assert [(c, k, v) for c, k, v in zip(cells, class_id, best)] == wanted
