"""A COCO instance annotation file: its pictures, and its categories for the classes of a model."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

from .errors import ToolError, optional_module
from .rows import Checks, check_row, is_box, is_integer, is_number, is_text

PARTS: Dict[str, Checks] = {
    'images': {'id': is_integer, 'file_name': is_text, 'width': is_integer, 'height': is_integer},
    'categories': {'id': is_integer, 'name': is_text},
    'annotations': {'id': is_integer, 'image_id': is_integer, 'category_id': is_integer,
                    'bbox': is_box, 'area': is_number, 'iscrowd': is_integer}}

# Ids that the 80 classes of COCO skip in its 91 categories.
COCO_GAPS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
COCO_91_IDS = tuple(i for i in range(1, 91) if i not in COCO_GAPS)


class Picture(NamedTuple):
    """One picture of the annotation file."""

    image_id: int
    path: Path
    width: int
    height: int


class GroundTruth:
    """The annotations, opened by pycocotools.

    :ivar coco: ``pycocotools.coco.COCO``.
    :ivar names: category id -> category name.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        :raises ToolError: it cannot be read or is no instance annotation file.
        """
        self.path = path
        dataset = _read_dataset(path)
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco = optional_module('pycocotools.coco', 'evaluate').COCO()
            self.coco.dataset = dataset
            self.coco.createIndex()
        self.names: Dict[int, str] = {c['id']: c['name'] for c in dataset['categories']}

    @property
    def has_masks(self) -> bool:
        """Whether every annotation has a mask."""
        return all('segmentation' in a for a in self.coco.dataset['annotations'])

    def pictures_of(self, folder: Path) -> List[Picture]:
        """All pictures, in the order of the file, whether ``folder`` has them or not."""
        return [Picture(image['id'], folder / image['file_name'], image['width'],
                        image['height']) for image in self.coco.dataset['images']]

    def pictures(self, folder: Path) -> List[Picture]:
        """All pictures, in the order of the file.

        :raises ToolError: with the missing ones, when ``folder`` lacks some.
        """
        pictures = self.pictures_of(folder)
        missing = [picture.path.name for picture in pictures if not picture.path.is_file()]
        if missing:
            raise ToolError(f'{len(missing)} of the {len(pictures)} pictures that {self.path.name} '
                            f'lists are not in {folder}: {_some(missing)}. Give their folder as '
                            '--images, or take them out of the annotations.')
        return pictures

    def category_ids(self, class_names: Sequence[str]) -> List[int]:
        """Category id of each class of a model: by name, or by COCO's table of 80 in 91.

        :raises ToolError: with the classes that have no category.
        """
        by_name = {_plain(name): category_id for category_id, name in self.names.items()}
        missing = [name for name in class_names if _plain(name) not in by_name]
        if not missing:
            return [by_name[_plain(name)] for name in class_names]
        if len(class_names) == len(COCO_91_IDS) and set(self.names) <= set(COCO_91_IDS):
            return list(COCO_91_IDS)
        raise ToolError(f'{len(missing)} of the {len(class_names)} classes are no category of '
                        f'{self.path.name}: {_some(missing)}; its categories are '
                        f'{_some(list(self.names.values()))}. Mend the names in "cls_names_list" '
                        'or in the annotations.')


def _read_dataset(path: Path) -> Dict[str, Any]:
    try:
        dataset = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise ToolError(f'The annotations cannot be read: {error} ({path})') from None
    for part, checks in PARTS.items():
        _check_part(dataset.get(part) if isinstance(dataset, dict) else None, part, checks, path)
    _check_references(dataset, path)
    # pycocotools takes the id 0 of an annotation for "matched with nothing".
    unused_id = max((a['id'] for a in dataset['annotations']), default=0) + 1
    for annotation in dataset['annotations']:
        annotation['id'] = annotation['id'] or unused_id
    return dataset


def _check_part(rows: Any, part: str, checks: Checks, path: Path) -> None:
    if not isinstance(rows, list):
        raise ToolError(f'{path} is no COCO instance annotation file: "{part}" must be a list of '
                        'objects.')
    for i, row in enumerate(rows):
        try:
            check_row(row, checks)
        except ValueError as error:
            raise ToolError(f'Entry {i} of "{part}" in {path}: {error}; a COCO instance annotation '
                            'file is needed.') from None


def _check_references(dataset: Dict[str, Any], path: Path) -> None:
    known = {'image_id': {image['id'] for image in dataset['images']},
             'category_id': {category['id'] for category in dataset['categories']}}
    for annotation in dataset['annotations']:
        for key, ids in known.items():
            if annotation[key] not in ids:
                raise ToolError(f'Annotation {annotation["id"]} of {path} has {key} '
                                f'{annotation[key]!r}, which the file does not define.')


def _plain(name: str) -> str:
    return name.strip().casefold().replace('_', ' ')


def _some(names: Sequence[str]) -> str:
    shown = ', '.join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f'{shown} and {len(names) - 5} more'
