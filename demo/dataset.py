"""Training arrays and a COCO-style held-out set, rendered from `scenes`.

    python demo/dataset.py train FOLDER --count 8000
    python demo/dataset.py coco FOLDER --count 500
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from scenes import box_of_mask, scene
from solids import CLASS_NAMES

MODEL_SIZE = 320
MAX_OBJECTS = 8
NO_OBJECT = 255
TRAIN_SEED = 1
HELD_OUT_SEED = 5_000_000


def _training_sample(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give picture (h, w, 3), instance map (h, w; k = k-th object, 1-based), class ids (8,)."""
    picture, instances = scene(seed, size)
    instance_map = np.zeros((size, size), np.uint8)
    class_id = np.full(MAX_OBJECTS, NO_OBJECT, np.uint8)
    for index, (kind, mask) in enumerate(instances):
        instance_map[mask > 0] = index + 1
        class_id[index] = kind
    return picture, instance_map, class_id


def _render_all(seeds: Iterable[int], size: int, workers: int) -> Iterator[tuple]:
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(partial(_training_sample, size=size), seeds, chunksize=32)


def write_training_arrays(folder: Path, count: int, size: int, workers: int) -> None:
    """Write pictures.npy, instance_maps.npy and class_ids.npy, all uint8, `count` rows each."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {'pictures': (count, size, size, 3), 'instance_maps': (count, size, size),
              'class_ids': (count, MAX_OBJECTS)}
    arrays = [np.lib.format.open_memmap(folder / f'{name}.npy', 'w+', np.uint8, shape)
              for name, shape in shapes.items()]
    seeds = range(TRAIN_SEED, TRAIN_SEED + count)
    for row, sample in enumerate(_render_all(seeds, size, workers)):
        for array, value in zip(arrays, sample):
            array[row] = value
        if (row + 1) % 1000 == 0:
            print(f'{row + 1} of {count} pictures', flush=True)


def encode_mask(mask: np.ndarray) -> dict:
    """Give a 0/1 mask (h, w) as COCO's compressed run-length encoding with text counts."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {'size': [int(v) for v in encoded['size']], 'counts': encoded['counts'].decode()}


def _annotation(image_id: int, class_id: int, mask: np.ndarray) -> dict:
    x1, y1, x2, y2 = box_of_mask(mask)
    return {'image_id': image_id, 'category_id': class_id, 'bbox': [x1, y1, x2 - x1, y2 - y1],
            'area': int(mask.sum()), 'iscrowd': 0, 'segmentation': encode_mask(mask)}


def write_coco_set(folder: Path | str, seeds: Iterable[int], size: int | tuple[int, int]) -> Path:
    """Write `images/*.png` and `instances.json` (COCO instance format); give the JSON's path.

    Category ids are the class ids 0..3; boxes are xywh in pixels; masks are RLE.
    """
    folder = Path(folder)
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for image_id, seed in enumerate(seeds, start=1):
        picture, instances = scene(seed, size)
        name = f'{seed:07d}.png'
        cv2.imwrite(str(folder / 'images' / name), picture)
        height, width = picture.shape[:2]
        images.append({'id': image_id, 'file_name': name, 'width': width, 'height': height})
        annotations += [_annotation(image_id, *instance) for instance in instances]
    for annotation_id, annotation in enumerate(annotations, start=1):
        annotation['id'] = annotation_id
    categories = [{'id': index, 'name': name} for index, name in enumerate(CLASS_NAMES)]
    path = folder / 'instances.json'
    path.write_text(json.dumps(
        {'images': images, 'annotations': annotations, 'categories': categories}))
    return path


def main() -> None:
    """Write one of the two sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('kind', choices=['train', 'coco'])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--size', type=int, default=MODEL_SIZE)
    parser.add_argument('--workers', type=int, default=1)
    options = parser.parse_args()
    if options.kind == 'train':
        write_training_arrays(options.folder, options.count, options.size, options.workers)
    else:
        seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + options.count)
        print(write_coco_set(options.folder, seeds, options.size))


if __name__ == '__main__':
    main()
