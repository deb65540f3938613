"""``yolo_seg evaluate``: COCO box and mask AP of a work config, through the node's own Pipeline."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from ..config import WorkConfig, find_work_config, load_work_config
from ..pipeline import Pipeline
from .coco import Record
from .coco_score import BOX, MASK, CocoScore, score
from .errors import ToolError
from .evaluate_journal import Journal
from .evaluate_report import class_table, markdown_row, write_regressions
from .evaluate_sources import ModelSource, Source, TensorSource, TextSource, files_stamp
from .ground_truth import GroundTruth
from .progress import progress

# The settings of the figures that D-Robotics publishes, and those usual for COCO.
SEED_LIMITS: Dict[str, Any] = {'score_threshold': 0.25, 'nms_threshold': 0.7,
                               'max_detections': 300}
COCO_LIMITS: Dict[str, Any] = {'score_threshold': 0.001, 'nms_threshold': 0.65,
                               'max_detections': 300, 'max_candidates': 30000}
EXAMPLES = """examples:
  yolo_seg evaluate --config model.json --annotations instances_val2017.json --images val2017
  yolo_seg evaluate --config int8.json --baseline float.json --coco -o int8_against_float \\
      --annotations instances_val2017.json --images val2017
  yolo_seg evaluate --config yolov8_seg_vacc.json --annotations instances_val2017.json \\
      --tensors npz_output --datalist npz_datalist.txt
  yolo_seg evaluate --texts runstream_output --annotations instances_val2017.json

An evaluation that was interrupted goes on where it stopped when the same command is given again.
"""


@dataclass(frozen=True)
class Evaluation:
    """What a data set says about a model.

    :ivar records: COCO result records of all pictures.
    :ivar mask: None where model or annotations have no masks.
    """

    records: List[Record]
    box: CocoScore
    mask: Optional[CocoScore]

    @property
    def scores(self) -> List[CocoScore]:
        """Of boxes, and of masks where there are any."""
        return [self.box] if self.mask is None else [self.box, self.mask]


def evaluate(pipeline: Pipeline, images: Path, annotations: Path,
             limits: Mapping[str, Any] = SEED_LIMITS) -> Evaluation:
    """Run a model over the pictures of an annotation file and compare.

    :param images: folder of the pictures.
    :param annotations: COCO instance annotations.
    :param limits: fields of ``DecodeSettings`` that are set on the pipeline.
    :raises ToolError: annotations or pictures that cannot be used.
    :raises InferenceError: the model failed.
    """
    truth = GroundTruth(Path(annotations))
    source = ModelSource(pipeline, truth, limits)
    pictures = truth.pictures(Path(images))
    records = [record for _, found in source.run(pictures) for record in found]
    return compare(truth, records, source.has_masks)


def compare(truth: GroundTruth, records: List[Record], with_masks: bool) -> Evaluation:
    """Box scores of result records, and mask scores where they and the annotations have masks."""
    return Evaluation(records, score(truth, records, BOX),
                      score(truth, records, MASK) if with_masks and truth.has_masks else None)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        'evaluate', help='average precision of a model on a COCO data set', epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='COCO average precision of boxes and masks, by pycocotools, of a model, of '
                    'recorded outputs, or of text files with detections.')
    parser.add_argument('--config', help='work config: path or name')
    parser.add_argument('--annotations', type=Path, required=True, metavar='JSON',
                        help='COCO instance annotations')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--images', type=Path, metavar='DIR', help='folder of the pictures')
    source.add_argument('--tensors', type=Path, metavar='DIR',
                        help='folder of recorded outputs (.npz) in place of a model')
    source.add_argument('--texts', type=Path, metavar='DIR',
                        help='folder with a text file for each picture, of lines '
                             '"label score x1 y1 x2 y2" in pixels')
    parser.add_argument('--datalist', type=Path, metavar='LIST',
                        help='with --tensors: the picture of each recording, one a line')
    parser.add_argument('--coco', action='store_true',
                        help='score 0.001, NMS 0.65, as is usual for COCO (default: 0.25, 0.7)')
    parser.add_argument('--baseline', metavar='CONFIG',
                        help='run this work config too, print what of its AP is retained, and draw '
                             'the pictures that lost most')
    parser.add_argument('-o', '--out', type=Path, default=Path('evaluation'), metavar='DIR',
                        help='folder for the results (default: %(default)s)')


def run(args: argparse.Namespace) -> int:
    """Evaluate, print and write the results; 1 when nothing at all was detected."""
    _check_arguments(args)
    truth = GroundTruth(args.annotations)
    limits = COCO_LIMITS if args.coco else SEED_LIMITS
    found = _evaluation(args, args.config, 'results', truth, limits)
    baseline = None
    if args.baseline:
        baseline = _evaluation(args, args.baseline, 'baseline', truth, limits)
    print('\n'.join(markdown_row(_name(args, args.config), found.scores,
                                 baseline.scores if baseline else [])))
    if baseline:
        print('\n'.join(class_table(truth, found.scores, baseline.scores)))
        for path in write_regressions(truth, args.images, found, baseline,
                                      args.out / 'regressions'):
            print(f'picture: {path}')
    for name in ('results', 'baseline'):  # done; a later run must not take them over
        _journal_path(args, name).unlink(missing_ok=True)
    return 0 if found.records else 1


def _check_arguments(args: argparse.Namespace) -> None:
    """:raises ToolError: arguments that do not go together."""
    if not args.config and not args.texts:
        raise ToolError('--config is missing; only --texts can do without a work config.')
    if bool(args.tensors) != bool(args.datalist):
        raise ToolError('--tensors and --datalist go together; give both, or --images.')
    if args.baseline and not args.images:
        raise ToolError('--baseline needs --images, on which it runs.')


def _evaluation(args: argparse.Namespace, config_name: Optional[str], name: str,
                truth: GroundTruth, limits: Mapping[str, Any]) -> Evaluation:
    """Fetch the detections of all pictures, write them, and print the twelve figures."""
    config = None
    if config_name:
        found = find_work_config(config_name)
        config = load_work_config(found, require_model=bool(args.images))
    records, has_masks = _records(args, config, _journal_path(args, name), truth, limits)
    path = args.out / f'{name}.json'
    _write(path, records)
    evaluation = compare(truth, records, has_masks)
    print(f'{_name(args, config_name)}: {len(records)} detections in {path}')
    if has_masks and not evaluation.mask:
        print('The annotations have no masks, so that only boxes are compared.')
    for found_score in evaluation.scores:
        print(f'{found_score.kind}:\n{found_score.lines.rstrip()}')
    return evaluation


def _journal_path(args: argparse.Namespace, name: str) -> Path:
    return args.out / f'{name}.jsonl'


def _records(args: argparse.Namespace, config: Optional[WorkConfig], journal_path: Path,
             truth: GroundTruth, limits: Mapping[str, Any]) -> 'tuple[List[Record], bool]':
    """Result records of all pictures, and whether they have masks."""
    source = _source(args, config, truth, limits)
    pictures = truth.pictures(args.images) if args.images else truth.pictures_of(Path())
    identity = {**source.identity, 'limits': dict(limits),
                'annotations': files_stamp([args.annotations])}
    if args.images:
        identity['images'] = files_stamp(picture.path for picture in pictures)
    try:
        with Journal(journal_path, identity) as journal:
            left = [picture for picture in pictures if picture.image_id not in journal.done]
            if journal.done:
                print(f'{len(journal.done)} of {len(pictures)} pictures were done before.')
            for picture, records in progress(source.run(left), journal_path.stem, len(left)):
                journal.add(picture.image_id, records)
            return [r for p in pictures for r in journal.done[p.image_id]], source.has_masks
    finally:
        source.close()


def _write(path: Path, records: List[Record]) -> None:
    """Write result records in the form that COCO's servers take.

    :raises ToolError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(records), encoding='utf-8')
    except OSError as error:
        raise ToolError(f'The result cannot be written: {error}.') from None


def _source(args: argparse.Namespace, config: Optional[WorkConfig], truth: GroundTruth,
            limits: Mapping[str, Any]) -> Source:
    if args.texts:
        return TextSource(args.texts, truth, config.class_names if config else None)
    if args.tensors:
        return TensorSource(config, args.tensors, args.datalist, truth, limits)
    pipeline = Pipeline.open(config)
    print(f'{config.path.stem} runs on {pipeline.facts.effective}')
    return ModelSource(pipeline, truth, limits)


def _name(args: argparse.Namespace, config_name: Optional[str]) -> str:
    """What is evaluated, in a word."""
    return Path(config_name).stem if config_name else args.texts.name
