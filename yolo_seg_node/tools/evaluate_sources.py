"""Where the detections of an evaluation come from: a model, recorded outputs, or text files."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple

from ..config import WorkConfig
from ..errors import FrameError
from ..frame import Frame, frame_from_compressed
from ..parsers import PARSERS
from ..pipeline import NO_MASKS, SOURCE_MASKS, Pipeline
from ..runtimes.recorded import paired_recordings
from .coco import Record, result_records
from .decode import Recording, decoded
from .errors import ToolError
from .ground_truth import GroundTruth, Picture

Found = Iterator[Tuple[Picture, List[Record]]]


class Source(Protocol):
    """Gives the result records of pictures.

    :ivar has_masks: whether the records have segmentations.
    :ivar identity: JSON values that change whenever the records may.
    """

    has_masks: bool
    identity: Dict[str, Any]

    def run(self, pictures: Sequence[Picture]) -> Found:
        """Each picture with its records, in their order.

        :raises YoloSegError: a picture cannot be used.
        """

    def close(self) -> None:
        """Let go of what is open."""


class ModelSource:
    """Runs a model."""

    def __init__(self, pipeline: Pipeline, truth: GroundTruth, limits: Mapping[str, Any]) -> None:
        """Set the limits on the pipeline.

        :raises ToolError: a class of the model is no category of the annotations.
        """
        self._pipeline = pipeline
        pipeline.update(**limits)
        self._category_ids = truth.category_ids(pipeline.config.class_names)
        self.has_masks = pipeline.decoder.has_masks
        self._masks = SOURCE_MASKS if self.has_masks else NO_MASKS
        self.identity = _identity(pipeline.config, pipeline.facts.model_path)

    def run(self, pictures: Sequence[Picture]) -> Found:
        """See ``Source``."""
        for picture in pictures:
            result = self._pipeline.process(read_picture(picture), self._masks)
            yield picture, result_records(result.detections, picture.image_id, self._category_ids)

    def close(self) -> None:
        """See ``Source``."""
        self._pipeline.close()


def _identity(config: WorkConfig, model_path: Path) -> Dict[str, Any]:
    named = [config.find(name) for name in (config.scales_file, config.vdsp_params) if name]
    return {'config': repr(config), 'files': files_stamp([model_path, *named])}


def files_stamp(paths: Iterable[Path]) -> str:
    """A text that changes with the names, sizes and times of the last change of some files."""
    digest = hashlib.sha256()
    for path in paths:
        # A VACC model is named by a prefix, which is no file.
        stat = path.stat() if path.exists() else None
        change = stat and (stat.st_size, stat.st_mtime_ns)
        digest.update(f'{path.resolve()} {change}\n'.encode())
    return digest.hexdigest()


def read_picture(picture: Picture) -> Frame:
    """The frame of one picture.

    :raises ToolError: it is no picture, or not of the size that the annotations give.
    """
    try:
        frame = frame_from_compressed(picture.path.read_bytes())
    except (FrameError, OSError) as error:
        raise ToolError(f'Picture {picture.path} cannot be read: {error}') from None
    if frame.size_wh != (picture.width, picture.height):
        raise ToolError(f'Picture {picture.path} is {frame.width}x{frame.height}, but the '
                        f'annotations say {picture.width}x{picture.height}; they are of another '
                        'version of the data set.')
    return frame


class TensorSource:
    """Decodes what a model has put out on an accelerator; the pictures are not needed."""

    def __init__(self, config: WorkConfig, folder: Path, data_list: Path, truth: GroundTruth,
                 limits: Mapping[str, Any]) -> None:
        """Pair recordings and pictures by the data list.

        :raises ToolError: a class of the model is no category of the annotations.
        :raises ModelError: list and folder do not belong together.
        """
        names = {'max_detections': 'nms_top_k'}
        self._config = replace(config, **{names.get(k, k): v for k, v in limits.items()})
        self._folder = folder
        self._recordings = {Path(listed).stem: path
                            for listed, path in paired_recordings(folder, data_list)}
        self._category_ids = truth.category_ids(config.class_names)
        self.has_masks = PARSERS[config.parser].has_masks
        self.identity = {'config': repr(config), 'tensors': files_stamp(self._recordings.values()),
                         'datalist': files_stamp([data_list])}

    def run(self, pictures: Sequence[Picture]) -> Found:
        """See ``Source``."""
        missing = [p.path.name for p in pictures if p.path.stem not in self._recordings]
        if missing:
            raise ToolError(f'{len(missing)} pictures of the annotations are not in the data list, '
                            f'the first is {missing[0]}; record them too, or take them out of the '
                            'annotations.')
        recordings = [Recording(p.path.stem, self._recordings[p.path.stem], (p.width, p.height))
                      for p in pictures]
        found = decoded(self._config, self._folder, recordings) if recordings else ()
        for picture, (_, detections) in zip(pictures, found):
            yield picture, result_records(detections, picture.image_id, self._category_ids)

    def close(self) -> None:
        """See ``Source``; nothing is open."""


class TextSource:
    """Reads ``label score x1 y1 x2 y2`` lines, as VastAI's samples write them for each picture."""

    has_masks = False

    def __init__(self, folder: Path, truth: GroundTruth,
                 class_names: Optional[Sequence[str]] = None) -> None:
        """Look at the folder; labels may have spaces in them.

        :param class_names: labels in the order of COCO's classes, where they differ from the
            category names of the annotations.
        :raises ToolError: there is no text file in the folder.
        """
        self._files = {path.stem: path for path in sorted(folder.glob('*.txt'))}
        if not self._files:
            raise ToolError(f'There is no .txt file in {folder}; --texts is the folder with one '
                            'for each picture.')
        names = list(class_names or truth.names.values())
        self._category_ids = dict(zip(names, truth.category_ids(names)))
        self.identity = {'texts': files_stamp(self._files.values()), 'labels': names}

    def run(self, pictures: Sequence[Picture]) -> Found:
        """See ``Source``; a picture without a file has no detections."""
        missing = sum(picture.path.stem not in self._files for picture in pictures)
        if missing:
            print(f'{missing} of {len(pictures)} pictures have no text file: no detections there.')
        for picture in pictures:
            path = self._files.get(picture.path.stem)
            yield picture, self._records(path, picture.image_id) if path else []

    def _records(self, path: Path, image_id: int) -> List[Record]:
        try:
            lines = path.read_text(encoding='utf-8').splitlines()
            return [self._record(line, image_id) for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise ToolError(f'{path} cannot be used: {error}.') from None

    def _record(self, line: str, image_id: int) -> Record:
        label, *texts = line.strip().rsplit(None, 5)
        values = [float(text) for text in texts]
        if len(values) != 5 or not all(map(math.isfinite, values)):
            raise ValueError(f'{line!r} is not "label score x1 y1 x2 y2"')
        if label not in self._category_ids:
            raise ValueError(f'label {label!r} is no category of the annotations; a work config as '
                             '--config may give the labels in order')
        score, x1, y1, x2, y2 = values
        return {'image_id': image_id, 'category_id': self._category_ids[label],
                'bbox': [x1, y1, x2 - x1, y2 - y1], 'score': score}

    def close(self) -> None:
        """See ``Source``; nothing is open."""
