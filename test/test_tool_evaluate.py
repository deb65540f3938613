"""Average precision through the node's own pipeline, against pycocotools called directly."""

import contextlib
import io
import json
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import cv2
import numpy as np
import pytest

pytest.importorskip('pycocotools', reason='these tests need the extra "evaluate"')

from dataset import write_coco_set  # noqa: E402
from fake_sdks import MODELS  # noqa: E402
from pycocotools import mask as coco_mask  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402

from yolo_seg_node.config import find_work_config, load_work_config  # noqa: E402
from yolo_seg_node.frame import frame_from_compressed  # noqa: E402
from yolo_seg_node.labels import default_labels  # noqa: E402
from yolo_seg_node.model_input import Preprocessor  # noqa: E402
from yolo_seg_node.pipeline import Pipeline  # noqa: E402
from yolo_seg_node.tools.cli import main  # noqa: E402
from yolo_seg_node.tools.coco_score import BOX, MASK, score  # noqa: E402
from yolo_seg_node.tools.errors import ToolError  # noqa: E402
from yolo_seg_node.tools.evaluate_report import retention  # noqa: E402
from yolo_seg_node.tools.ground_truth import COCO_91_IDS, GroundTruth  # noqa: E402

COUNT = 12
CONFIG = 'demo_float.json'
ROOT = Path(__file__).parents[1]


def direct(annotations: Path, records: List[Dict[str, Any]], kind: str) -> COCOeval:
    """The evaluation as pycocotools' own example does it."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes([dict(r) for r in records]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def lines_of(evaluation: COCOeval) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        evaluation.summarize()
    return text.getvalue().rstrip()


@pytest.fixture(scope='module')
def dataset(tmp_path_factory) -> Path:
    """Pictures with exact annotations."""
    folder = tmp_path_factory.mktemp('dataset')
    write_coco_set(folder, range(6_000_000, 6_000_000 + COUNT), (320, 240))
    return folder


def evaluate(dataset: Path, out: Path, *arguments: Any, config: Any = CONFIG,
             images: Any = 'images') -> int:
    return main(['evaluate', '--config', str(config), '-o', str(out), '--annotations',
                 str(dataset / 'instances.json'), *(['--images', str(dataset / images)]
                                                    if images else []), *map(str, arguments)])


@pytest.fixture(scope='module')
def done(dataset, tmp_path_factory) -> Path:
    """Results of the shipped model."""
    out = tmp_path_factory.mktemp('done')
    assert evaluate(dataset, out) == 0
    return out


def records_of(out: Path, name: str = 'results.json') -> List[Dict[str, Any]]:
    return json.loads((out / name).read_text())


def altered_config(path: Path, **values: Any) -> Path:
    """The shipped work config with other values."""
    shipped = find_work_config(CONFIG)
    config = json.loads(shipped.read_text())
    config['model_file'] = str((shipped.parent / config['model_file']).resolve())
    path.write_text(json.dumps({**config, **values}))
    return path


def test_a_missing_model_with_a_fallback_is_evaluated_with_that(dataset, done, tmp_path, capsys):
    config = altered_config(tmp_path / 'board.json', model_file='/nowhere/model.bin',
                            fallback_model_file=str(MODELS['float']))
    assert evaluate(dataset, tmp_path / 'out', config=config) == 0
    assert records_of(tmp_path / 'out') == records_of(done)
    assert re.match(r'board runs on onnxruntime CPUExecutionProvider, fallback shapes_seg_\w+.onnx',
                    capsys.readouterr().out)


def test_figures_are_those_of_a_direct_call(dataset, done):
    records = records_of(done)
    truth = GroundTruth(dataset / 'instances.json')
    for kind in (BOX, MASK):
        wanted = direct(dataset / 'instances.json', records, kind)
        found = score(truth, records, kind)
        assert np.abs(np.array(found.stats) - wanted.stats).max() < 1e-6
        assert found.lines.rstrip() == lines_of(wanted)
        assert found.ap > 0.5
        precision = wanted.eval['precision'][:, :, :, 0, -1]
        for k, category in enumerate(wanted.params.catIds):
            assert abs(found.class_ap[category] - precision[:, :, k].mean()) < 1e-6


def test_twelve_lines_for_boxes_and_for_masks_and_a_table_row(dataset, tmp_path, capsys):
    assert evaluate(dataset, tmp_path) == 0
    output = capsys.readouterr().out
    kinds = {kind: direct(dataset / 'instances.json', records_of(tmp_path), kind)
             for kind in ('bbox', 'segm')}
    for kind, evaluation in kinds.items():
        assert f'{kind}:\n{lines_of(evaluation)}' in output
        assert lines_of(evaluation).count('\n') == 11
    box, mask = (evaluation.stats[0] for evaluation in kinds.values())
    assert output.rstrip().endswith(
        f'| model | BBox / Mask |\n| --- | --- |\n| demo_float | {box:.3f} / {mask:.3f} |')


def test_records_have_run_lengths_and_ids_of_the_annotations(dataset, done):
    annotations = json.loads((dataset / 'instances.json').read_text())
    images = {image['id'] for image in annotations['images']}
    for record in records_of(done):
        assert record['image_id'] in images and record['category_id'] in range(4)
        assert record['segmentation']['size'] == [240, 320]
        mask = coco_mask.decode(record['segmentation'])
        x, y, width, height = record['bbox']
        rows, columns = np.nonzero(mask)
        assert columns.min() >= int(x) and columns.max() <= x + width + 1
        assert rows.min() >= int(y) and rows.max() <= y + height + 1


def test_found_by_hand(tmp_path):
    """One of two objects found: precision 1 up to a recall of 0.5, so 51 of 101 points."""
    annotations = [{'id': i, 'image_id': 7, 'category_id': 3, 'iscrowd': 0, 'area': 400,
                    'bbox': [10 + 50 * i, 10, 20, 20]} for i in range(2)]
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps({
        'images': [{'id': 7, 'file_name': '7.png', 'width': 200, 'height': 100}],
        'annotations': annotations, 'categories': [{'id': 3, 'name': 'cone'}]}))
    truth = GroundTruth(path)
    record = {'image_id': 7, 'category_id': 3, 'bbox': [10, 10, 20, 20], 'score': 0.9}
    found = score(truth, [record], BOX)
    assert found.ap == pytest.approx(51 / 101) and found.class_ap == {3: pytest.approx(51 / 101)}
    assert found.image_found == {7: 10}
    assert score(truth, [], BOX).ap == 0.0
    assert not truth.has_masks


def test_settings_of_the_published_figures_and_of_coco(dataset, done, tmp_path):
    assert min(record['score'] for record in records_of(done)) >= 0.25
    assert evaluate(dataset, tmp_path, '--coco') == 0
    low = [record['score'] for record in records_of(tmp_path)]
    assert min(low) < 0.05 and len(low) > len(records_of(done))


def test_the_80_classes_are_91_categories(tmp_path):
    names = list(default_labels(80))
    path = tmp_path / 'instances.json'

    def ids(category_names: List[str]) -> List[int]:
        path.write_text(json.dumps({'images': [], 'annotations': [], 'categories': [
            {'id': i, 'name': n} for i, n in zip(COCO_91_IDS, category_names)]}))
        return GroundTruth(path).category_ids(names)

    older = ['sofa' if name == 'couch' else name for name in names]
    for found in (ids(names), ids(older)):
        by_name = dict(zip(names, found))
        assert (by_name['person'], by_name['stop sign'], by_name['cake'], by_name['tv'],
                by_name['toothbrush']) == (1, 13, 61, 72, 90)
        assert len(set(found)) == 80


def test_baseline_gives_the_retained_percent_and_the_worst_pictures(dataset, tmp_path, capsys):
    dark = altered_config(tmp_path / 'dark.json', input_scale=[1 / 1500] * 3)
    assert evaluate(dataset, tmp_path / 'out', '--baseline', CONFIG, config=dark) == 0
    output = capsys.readouterr().out
    row = output[output.index('| dark'):].splitlines()[0]
    found, old = ([direct(dataset / 'instances.json', records_of(tmp_path / 'out', name), kind)
                   for kind in ('bbox', 'segm')] for name in ('results.json', 'baseline.json'))
    cells = [f'{new.stats[0]:.3f}({100 * new.stats[0] / was.stats[0]:.2f}%)'
             for new, was in zip(found, old)]
    assert row == (f'| dark | {old[0].stats[0]:.3f} / {old[1].stats[0]:.3f} | '
                   f'{" / ".join(cells)} |')
    for kind, new, was in zip(('bbox', 'segm'), found, old):
        table = output[output.index(f'{kind} AP by class'):].splitlines()[1:5]
        for line in table:
            name, first, second, percent = line.split()
            k = ['box', 'ball', 'cone', 'cylinder'].index(name)
            ap, before = (e.eval['precision'][:, :, k, 0, -1].mean() for e in (new, was))
            assert (first, second) == (f'{before:.3f}', f'{ap:.3f}')
            assert percent == f'{100 * ap / before:.2f}%'
    pictures = [Path(p) for p in re.findall('picture: (.*)', output)]
    assert 0 < len(pictures) <= 5
    for path in pictures:
        drawn = cv2.imread(str(path))
        assert drawn.shape[1] == 2 * 320 and drawn.shape[0] > 240
        assert (dataset / 'images' / path.name).is_file()


def test_equal_baseline_retains_everything(dataset, tmp_path, capsys):
    assert evaluate(dataset, tmp_path, '--baseline', CONFIG) == 0
    output = capsys.readouterr().out
    assert output.count('(100.00%)') == 2 and 'picture:' not in output


def test_retention_of_nothing_is_unknown():
    assert [retention(0.5, 0.0), retention(-1.0, 0.5), retention(0.0, 0.5)] == ['-', '-', '0.00%']


@pytest.fixture
def recorded(dataset, tmp_path) -> Path:
    """Outputs of the model in vamp's form, named and listed in an order of their own."""
    pipeline = Pipeline.open(load_work_config(find_work_config(CONFIG)))
    tensors, listed = tmp_path / 'tensors', []
    tensors.mkdir()
    for i, path in enumerate(reversed(sorted((dataset / 'images').glob('*.png')))):
        frame = frame_from_compressed(path.read_bytes())
        arrays, _ = Preprocessor(pipeline.runtime.input_format).prepare(frame)
        outputs = pipeline.runtime.infer(arrays)
        np.savez(tensors / f'output_{i:06d}.npz',
                 **{f'output_{k}': array for k, array in enumerate(outputs)})
        listed.append(f'/elsewhere/{path.stem}.npz')
    (tmp_path / 'datalist.txt').write_text('\n'.join(listed) + '\n')
    return tmp_path


def test_recorded_outputs_give_the_records_of_the_model(dataset, done, recorded):
    config = altered_config(recorded / 'recorded.json', input_size=[320, 320],
                            model_file='absent.onnx')
    assert evaluate(dataset, recorded / 'out', '--tensors', recorded / 'tensors', '--datalist',
                    recorded / 'datalist.txt', config=config, images=None) == 0
    assert records_of(recorded / 'out') == records_of(done)


def test_picture_without_a_recording_is_named(dataset, recorded, capsys):
    config = altered_config(recorded / 'recorded.json', input_size=[320, 320])
    lines = (recorded / 'datalist.txt').read_text().splitlines()
    (recorded / 'datalist.txt').write_text('\n'.join(['/elsewhere/other.npz', *lines[1:]]))
    assert evaluate(dataset, recorded / 'out', '--tensors', recorded / 'tensors', '--datalist',
                    recorded / 'datalist.txt', config=config, images=None) == 2
    assert f'{Path(lines[0]).stem}.png' in capsys.readouterr().err


def write_texts(dataset: Path, records: List[Dict[str, Any]], folder: Path) -> Path:
    """Result records in the form of VastAI's samples."""
    dataset = json.loads((dataset / 'instances.json').read_text())
    names = {c['id']: c['name'] for c in dataset['categories']}
    folder.mkdir()
    for image in dataset['images']:
        lines = []
        for record in records:
            if record['image_id'] == image['id']:
                x, y, width, height = record['bbox']
                lines.append(f'{names[record["category_id"]]} {record["score"]!r} {x!r} {y!r} '
                             f'{x + width!r} {y + height!r}\n')
        (folder / Path(image['file_name']).with_suffix('.txt')).write_text(''.join(lines))
    return folder


def evaluate_texts(dataset: Path, texts: Path, out: Path, *arguments: str) -> int:
    return main(['evaluate', '--texts', str(texts), '-o', str(out), '--annotations',
                 str(dataset / 'instances.json'), *arguments])


def test_text_files_give_the_box_figures_of_their_boxes(dataset, done, tmp_path, capsys):
    texts = write_texts(dataset, records_of(done), tmp_path / 'texts')
    assert evaluate_texts(dataset, texts, tmp_path / 'out') == 0
    output = capsys.readouterr().out
    boxes = [{k: v for k, v in r.items() if k != 'segmentation'} for r in records_of(done)]
    wanted = direct(dataset / 'instances.json', boxes, 'bbox')
    found = direct(dataset / 'instances.json', records_of(tmp_path / 'out'), 'bbox')
    assert np.abs(wanted.stats - found.stats).max() < 1e-6
    assert lines_of(wanted) in output and 'segm:' not in output
    assert f'| texts | {wanted.stats[0]:.3f} |' in output


def test_labels_with_spaces_and_labels_of_a_work_config(tmp_path):
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps({
        'images': [{'id': 7, 'file_name': '7.png', 'width': 200, 'height': 100}],
        'annotations': [{'id': 1, 'image_id': 7, 'category_id': 10, 'iscrowd': 0, 'area': 400,
                         'bbox': [10, 20, 20, 20]}],
        'categories': [{'id': i, 'name': f'kind {i}'} for i in COCO_91_IDS]}))
    (tmp_path / 'texts').mkdir()
    for label, arguments in (('kind 10', ()), ('traffic light', ('--config', 'coco.json'))):
        (tmp_path / 'texts' / '7.txt').write_text(f'{label} 0.5 10 20 30 40\n\n')
        if arguments:
            arguments = ('--config', str(altered_config(
                tmp_path / 'coco.json', class_num=80, cls_names_list='config/coco.list')))
        assert evaluate_texts(tmp_path, tmp_path / 'texts', tmp_path / 'out', *arguments) == 0
        assert records_of(tmp_path / 'out') == [
            {'image_id': 7, 'category_id': 10, 'bbox': [10.0, 20.0, 20.0, 20.0], 'score': 0.5}]


@pytest.mark.parametrize(('line', 'sentence'), [
    ('box 0.5 1 2 3', 'is not "label score x1 y1 x2 y2"'),
    ('box 0.5 1 2 3 nan', 'is not "label score x1 y1 x2 y2"'),
    ('box 0.5 1 2 3 four', 'could not convert'),
    ('cake 0.5 1 2 3 4', "label 'cake' is no category"),
])
def test_bad_line_is_told_with_its_file(line, sentence, dataset, tmp_path, capsys):
    texts = write_texts(dataset, [], tmp_path / 'texts')
    bad = sorted(texts.iterdir())[3]
    bad.write_text(line + '\n')
    assert evaluate_texts(dataset, texts, tmp_path / 'out') == 2
    error = capsys.readouterr().err
    assert sentence in error and str(bad) in error


def test_folders_without_texts_and_with_too_few(dataset, tmp_path, capsys):
    assert evaluate_texts(dataset, tmp_path, tmp_path / 'out') == 2
    assert 'There is no .txt file' in capsys.readouterr().err
    (tmp_path / 'other.txt').write_text('')
    # Nothing found is no success.
    assert evaluate_texts(dataset, tmp_path, tmp_path / 'out') == 1
    assert f'{COUNT} of {COUNT} pictures have no text file' in capsys.readouterr().out


def journal_lines(out: Path) -> List[bytes]:
    path = out / 'results.jsonl'
    return path.read_bytes().split(b'\n') if path.exists() else []


def test_killed_evaluation_goes_on_where_it_stopped(tmp_path, capsys):
    write_coco_set(tmp_path, range(6_100_000, 6_100_060), (160, 120))
    assert evaluate(tmp_path, tmp_path / 'whole') == 0
    process = subprocess.Popen(
        [sys.executable, '-m', 'yolo_seg_node.tools.cli', 'evaluate', '--config', CONFIG, '-o',
         str(tmp_path / 'out'), '--annotations', str(tmp_path / 'instances.json'), '--images',
         str(tmp_path / 'images')], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(journal_lines(tmp_path / 'out')) < 10:
        assert process.poll() is None, 'it ended before it could be killed'
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # The settings and seven pictures, of which the last line broke off.
    kept = journal_lines(tmp_path / 'out')[:8]
    (tmp_path / 'out' / 'results.jsonl').write_bytes(b'\n'.join(kept)[:-3])
    capsys.readouterr()
    assert evaluate(tmp_path, tmp_path / 'out') == 0
    assert '6 of 60 pictures were done before.' in capsys.readouterr().out
    assert records_of(tmp_path / 'out') == records_of(tmp_path / 'whole')
    assert not (tmp_path / 'out' / 'results.jsonl').exists()


def interrupted(dataset: Path, tmp_path: Path) -> Path:
    """A data set of which the last picture is broken, and the journal of its evaluation."""
    folder = tmp_path / 'broken'
    write_coco_set(folder, range(6_000_000, 6_000_000 + 4), (320, 240))
    last = sorted((folder / 'images').iterdir())[-1]
    last.write_bytes(last.read_bytes()[:100])
    assert evaluate(folder, tmp_path / 'out') == 2
    return folder


def test_unreadable_picture_keeps_and_names_what_was_done(dataset, tmp_path, capsys):
    folder = interrupted(dataset, tmp_path)
    error = capsys.readouterr().err
    last = sorted((folder / 'images').iterdir())[-1]
    assert str(last) in error and 'cannot be decoded' in error
    assert f'What was found in 3 pictures until then is in {tmp_path}/out/results.jsonl' in error
    assert len(journal_lines(tmp_path / 'out')) == 5  # settings, 3 pictures, and the end


@pytest.mark.parametrize('change', ['limits', 'config', 'images'])
def test_journal_of_another_evaluation_is_refused(change, dataset, tmp_path, capsys):
    folder = interrupted(dataset, tmp_path)
    arguments, config = [], CONFIG
    if change == 'limits':
        arguments = ['--coco']
    elif change == 'config':
        config = altered_config(tmp_path / 'other.json', pad_value=0)
    else:
        first = sorted((folder / 'images').iterdir())[0]
        cv2.imwrite(str(first), np.zeros((240, 320, 3), np.uint8))
    assert evaluate(folder, tmp_path / 'out', *arguments, config=config) == 2
    error = capsys.readouterr().err
    assert f'is of another evaluation ({change}' in error and 'results.jsonl' in error


def test_file_that_is_no_journal_is_refused(dataset, tmp_path, capsys):
    (tmp_path / 'results.jsonl').write_text('[]\nsomething else\n')
    assert evaluate(dataset, tmp_path) == 2
    assert 'does not begin like a journal' in capsys.readouterr().err


def test_full_disk_is_told(dataset, tmp_path):
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    done = subprocess.run(
        [sys.executable, '-B', '-m', 'yolo_seg_node.tools.cli', 'evaluate', '--config', CONFIG,
         '-o', str(tmp_path), '--annotations', str(dataset / 'instances.json'), '--images',
         str(dataset / 'images')], cwd=ROOT, capture_output=True, text=True,
        preexec_fn=small_disk)
    assert done.returncode == 2
    assert 'The journal cannot be written' in done.stderr and 'Traceback' not in done.stderr
    assert f'until then is in {tmp_path}/results.jsonl' in done.stderr


def test_folder_that_cannot_be_made_is_named(dataset, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert evaluate(dataset, tmp_path / 'file' / 'out') == 2
    assert f'{tmp_path}/file/out/results.jsonl cannot be used' in capsys.readouterr().err


def test_missing_pictures_are_listed(dataset, tmp_path, capsys):
    assert evaluate(dataset, tmp_path, images='.') == 2
    error = capsys.readouterr().err
    assert f'{COUNT} of the {COUNT} pictures' in error and '6000000.png' in error


def changed_set(dataset: Path, tmp_path: Path, change) -> Path:
    """The annotations after a change, beside the same pictures."""
    annotations = json.loads((dataset / 'instances.json').read_text())
    change(annotations)
    (tmp_path / 'instances.json').write_text(json.dumps(annotations))
    (tmp_path / 'images').symlink_to(dataset / 'images')
    return tmp_path


def test_picture_of_another_size_is_refused(dataset, tmp_path, capsys):
    def change(annotations):
        annotations['images'][0]['width'] = 640
    assert evaluate(changed_set(dataset, tmp_path, change), tmp_path / 'out') == 2
    assert 'is 320x240, but the annotations say 640x240' in capsys.readouterr().err


def test_class_without_a_category_is_named(dataset, tmp_path, capsys):
    def change(annotations):
        annotations['categories'][2]['name'] = 'pyramid'
    assert evaluate(changed_set(dataset, tmp_path, change), tmp_path / 'out') == 2
    error = capsys.readouterr().err
    assert "1 of the 4 classes are no category" in error and "'cone'" in error
    assert "'pyramid'" in error


def test_annotations_without_masks_compare_boxes_alone(dataset, tmp_path, capsys):
    def change(annotations):
        for annotation in annotations['annotations']:
            del annotation['segmentation']
    assert evaluate(changed_set(dataset, tmp_path, change), tmp_path / 'out') == 0
    output = capsys.readouterr().out
    assert 'only boxes are compared' in output and 'segm:' not in output


@pytest.mark.parametrize(('text', 'sentence'), [
    ('', 'cannot be read'),
    ('{}', '"images" must be a list'),
    ('{"images": [{"id": 1}], "categories": [], "annotations": []}', 'lacks file_name'),
    ('{"images": [], "categories": [], "annotations": [{"id": 1, "image_id": 5, "category_id": 1, '
     '"bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 0}]}', "has image_id 5, which the file does not define"),
])
def test_annotations_that_cannot_be_used_are_told(text, sentence, tmp_path):
    path = tmp_path / 'instances.json'
    path.write_text(text)
    with pytest.raises(ToolError, match=sentence):
        GroundTruth(path)


@pytest.mark.parametrize(('arguments', 'sentence'), [
    (['--images', '.'], '--config is missing'),
    (['--config', CONFIG, '--tensors', '.'], '--tensors and --datalist go together'),
    (['--config', CONFIG, '--images', '.', '--datalist', 'x'], '--tensors and --datalist go'),
    (['--config', CONFIG, '--texts', '.', '--baseline', CONFIG], '--baseline needs --images'),
])
def test_arguments_that_do_not_go_together(arguments, sentence, dataset, capsys):
    assert main(['evaluate', '--annotations', str(dataset / 'instances.json'), *arguments]) == 2
    assert sentence in capsys.readouterr().err
