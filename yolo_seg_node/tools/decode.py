"""``yolo_seg decode``: recorded output tensors to detections in COCO result form."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from ..config import WorkConfig, find_work_config, load_work_config
from ..detections import Detections
from ..errors import FrameError
from ..frame import frame_from_compressed
from ..letterbox import Letterbox, SizeWH, make_letterbox
from ..npz import npz_shape
from ..pipeline import SOURCE_MASKS, Pipeline, StageTimes
from ..runtimes import RUNTIMES
from ..runtimes.recorded import load_outputs, paired_recordings
from ..runtimes.vdsp_params import read_vdsp_params
from .coco import result_records
from .errors import ToolError, optional_module
from .ground_truth import GroundTruth
from .model_text import input_size_wh, model_of_text
from .options import size_wh
from .progress import progress

EXAMPLES = """examples:
  yolo_seg decode model.json --tensors heads.npz --image-size 1280x720 --out detections.json
  yolo_seg decode yolov8_seg_vacc.json --tensors npz_output --datalist npz_datalist.txt \\
      --annotations instances_val2017.json --out predictions.json
  yolo_seg decode yolo11_seg_x5.json --tensors heads.npz --image-size 1920x1080 \\
      --scales model_info.txt --out detections.json
"""
# Their models take NV12, in which a picture starts and ends at even pixels.
NV12_RUNTIMES = ('hbm_runtime', 'hobot_dnn')


class Recording(NamedTuple):
    """The output tensors of one picture.

    :ivar picture: name of the picture without folder and suffix.
    """

    picture: str
    tensors: Path
    image_wh: SizeWH


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'decode', help='recorded output tensors to detections', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Decode recorded output tensors to COCO result records: boxes in pixels of '
                    'the picture, scores, category ids, and masks as run lengths.')
    parser.add_argument('config', metavar='CONFIG', help='work config: path or name')
    parser.add_argument('--tensors', type=Path, required=True, metavar='NPZ',
                        help='.npz with output_0, output_1 ...; with --datalist a folder of them')
    sizes = parser.add_mutually_exclusive_group(required=True)
    sizes.add_argument('--image-size', type=size_wh, metavar='WxH',
                       help='width and height of the picture in pixels')
    sizes.add_argument('--datalist', type=Path, metavar='LIST',
                       help='text file with one picture, or .npz with input_0 (3, h, w), a line; '
                            'line i belongs to file i of the folder in order of name')
    parser.add_argument('--scales', type=Path, metavar='FILE',
                        help='scales of integer outputs in place of "scales_file": a sidecar .json '
                             'or a model_info text')
    parser.add_argument('--annotations', type=Path, metavar='JSON',
                        help='COCO annotations to take category ids by name, and image ids by file '
                             'name, from; otherwise class ids, and numbers in file names')
    parser.add_argument('--out', type=Path, required=True, metavar='JSON', help='file to write')


def run(args: argparse.Namespace) -> int:
    """Decode, write the records, and say how many there are."""
    config = load_work_config(find_work_config(args.config), require_model=False)
    recordings = _recordings(args)
    ids = _Ids(config, args.annotations)
    records: List[dict] = []
    found = decoded(config, args.tensors, recordings, args.scales)
    for recording, detections in progress(found, 'decode', len(recordings)):
        if detections.masks is not None:
            optional_module('pycocotools.mask', 'evaluate')
        records += result_records(detections, ids.image(recording.picture), ids.categories)
    _write(args.out, records)
    print(f'{len(records)} detections in {len(recordings)} picture(s): {args.out}')
    return 0


def decoded(config: WorkConfig, tensors: Path, recordings: List[Recording],
            scales: Optional[Path] = None) -> Iterator[Tuple[Recording, Detections]]:
    """Detections of each recording.

    :param tensors: a recording, or the folder of them.
    :param scales: in place of the "scales_file" of the work config.
    :raises ModelError: the tensors do not fit the work config.
    :raises ToolError: a recording differs from the first; and see ``open_recorded``.
    """
    pipeline, letterbox_of = open_recorded(config, tensors, scales)
    for recording in recordings:
        outputs = load_outputs(recording.tensors)
        _check_outputs(pipeline, outputs, recording.tensors)
        yield recording, pipeline.decode(outputs, letterbox_of(recording.image_wh), SOURCE_MASKS,
                                         pipeline.settings, StageTimes()).detections


def open_recorded(config: WorkConfig, tensors: Path, scales: Optional[Path] = None
                  ) -> Tuple[Pipeline, Callable[[SizeWH], Letterbox]]:
    """A pipeline that decodes recordings, and the placement of a picture of some size.

    :raises ModelError: the tensors do not fit the work config.
    :raises ToolError: the size of the model is not known, or there is no file ``scales``.
    """
    mode, align = placement(config)
    if scales is not None:
        if not scales.is_file():
            raise ToolError(f'--scales is {str(scales)!r}, but there is no such file.')
        config = replace(config, scales_file=str(scales.resolve()))
    config = replace(config, model_file=str(tensors.resolve()), runtime='recorded',
                     input_size=model_size_wh(config))
    return Pipeline.open(config), lambda image_wh: make_letterbox(
        image_wh, config.input_size, mode, align)


def placement(config: WorkConfig) -> Tuple[str, int]:
    """Resize mode and alignment (see ``make_letterbox``) by which the model got its pictures.

    :raises ModelError: "vdsp_params" cannot be read.
    """
    if config.vdsp_params:
        return read_vdsp_params(config.find(config.vdsp_params)).mode, 1
    takers = [name for name in NV12_RUNTIMES if RUNTIMES[name].takes(Path(config.model_file))]
    nv12 = takers if config.runtime == 'auto' else config.runtime in NV12_RUNTIMES
    return config.resize_mode, 2 if nv12 else 1


def model_size_wh(config: WorkConfig) -> SizeWH:
    """Width and height of the model input: "input_size", or what one of the other files says.

    :raises ModelError: "vdsp_params" or the model_info text cannot be read.
    :raises ToolError: nothing tells it.
    """
    if config.input_size:
        return config.input_size
    if config.vdsp_params:
        size_wh = read_vdsp_params(config.find(config.vdsp_params)).size_wh
        if size_wh:
            return size_wh
    if config.scales_file and Path(config.scales_file).suffix.lower() != '.json':
        return input_size_wh(model_of_text(config.find(config.scales_file), config.model_name))
    raise ToolError('Recorded tensors do not tell the size of the model input; set "input_size" '
                    '[width, height] in the work config, or give a model_info text as --scales.')


def _check_outputs(pipeline: Pipeline, outputs: List[np.ndarray], path: Path) -> None:
    expected = [(spec.shape, spec.dtype) for spec in pipeline.outputs]
    found = [(array.shape, array.dtype) for array in outputs]
    if found != expected:
        raise ToolError(f'{path} has outputs {_shapes(found)}, but the first recording has '
                        f'{_shapes(expected)}; all must be of the same model.')


def _shapes(outputs: List[Tuple[Tuple[int, ...], np.dtype]]) -> str:
    return ', '.join(f'{"x".join(map(str, shape))} {np.dtype(dtype)}' for shape, dtype in outputs)


def _recordings(args: argparse.Namespace) -> List[Recording]:
    if not args.tensors.exists():
        raise ToolError(f'--tensors is {str(args.tensors)!r}, but there is no such file or folder.')
    if args.datalist is None:
        if args.tensors.is_dir():
            raise ToolError(f'--tensors is the folder {str(args.tensors)!r}; give --datalist with '
                            'it, so that each file has its picture.')
        return [Recording(args.tensors.stem, args.tensors, args.image_size)]
    return [Recording(listed.stem, tensors, _listed_size_wh(listed, args.datalist))
            for listed, tensors in paired_recordings(args.tensors, args.datalist)]


def _listed_size_wh(listed: Path, data_list: Path) -> SizeWH:
    """Size of a picture of a data list; lists move, so it is looked for beside the list too."""
    places = [listed, data_list.parent / listed, data_list.parent / listed.name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ToolError(f'The data list names {str(listed)!r}, which does not exist, nor is it '
                        f'beside {data_list}; without it the size of the picture is not known.')
    shape = _npz_shape(path) if path.suffix.lower() == '.npz' else _picture_shape(path)
    return shape[1], shape[0]


def _npz_shape(path: Path) -> Tuple[int, ...]:
    """Height and width of ``input_0`` (3, h, w)."""
    try:
        shape = npz_shape(path, 'input_0')
    except (OSError, ValueError) as error:
        raise ToolError(f'The size of a picture cannot be read: {error} ({path})') from None
    if len(shape) != 3 or shape[0] != 3:
        raise ToolError(f'"input_0" has shape {shape}, but a picture has (3, h, w) ({path})')
    return shape[1:]


def _picture_shape(path: Path) -> Tuple[int, ...]:
    try:
        return frame_from_compressed(path.read_bytes()).bgr().shape[:2]
    except (OSError, FrameError) as error:
        raise ToolError(f'{path} of the data list is no picture that can be decoded: {error}'
                        ) from None


class _Ids:
    """Category and image ids for the records."""

    def __init__(self, config: WorkConfig, annotations: Optional[Path]) -> None:
        self.categories: List[int] = list(range(config.class_num))
        self._images = None
        if annotations is not None:
            truth = GroundTruth(annotations)
            self.categories = truth.category_ids(config.class_names)
            self._images = {Path(image['file_name']).stem: image['id']
                            for image in truth.coco.dataset['images']}

    def image(self, stem: str) -> Union[int, str]:
        """Id of a picture by its name without suffix."""
        if self._images is not None:
            if stem not in self._images:
                raise ToolError(f'Picture {stem!r} is not in the annotations.')
            return self._images[stem]
        return int(stem) if stem.isdecimal() else stem


def _write(path: Path, records: List[dict]) -> None:
    try:
        path.write_text(json.dumps(records), encoding='utf-8')
    except OSError as error:
        raise ToolError(f'The result cannot be written: {error}.') from None
