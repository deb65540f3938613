"""Held-out quality of the demo model, through the code that runs on the robot."""

from pathlib import Path

import pytest
from dataset import write_coco_set

from yolo_seg_node.config import find_work_config, load_work_config
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.tools.evaluate import COCO_LIMITS, evaluate

# Seeds that training never draws from; demo/README.md gives the figures of this very set.
HELD_OUT_SEEDS = range(5_000_000, 5_000_300)
SIZE = 320


@pytest.fixture(scope='module')
def mask_ap(tmp_path_factory: pytest.TempPathFactory) -> 'dict[str, float]':
    folder: Path = tmp_path_factory.mktemp('held_out')
    write_coco_set(folder, HELD_OUT_SEEDS, SIZE)
    found = {}
    for form in ('float', 'int'):
        pipeline = Pipeline.open(load_work_config(find_work_config(f'demo_{form}.json')))
        result = evaluate(pipeline, folder / 'images', folder / 'instances.json', COCO_LIMITS)
        found[form] = result.mask.ap
        print(f'{form}: mask AP50-95 {result.mask.ap:.3f}, AP50 {result.mask.ap50:.3f}, '
              f'box AP50-95 {result.box.ap:.3f}')
    return found


def test_float_model_reaches_its_quality(mask_ap: 'dict[str, float]') -> None:
    assert mask_ap['float'] >= 0.75


def test_integer_model_loses_little(mask_ap: 'dict[str, float]') -> None:
    assert mask_ap['float'] - mask_ap['int'] <= 0.01
