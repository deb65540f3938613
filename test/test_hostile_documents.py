"""JSON that the tools read, with any value in any place: only our own errors come out."""
import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('pycocotools', reason='reading annotations needs pycocotools')

from yolo_seg_node.errors import YoloSegError  # noqa: E402
from yolo_seg_node.tools.coco import read_records  # noqa: E402
from yolo_seg_node.tools.evaluate_journal import Journal  # noqa: E402
from yolo_seg_node.tools.ground_truth import GroundTruth  # noqa: E402
from yolo_seg_node.tools.results import read_summary, results_of_records  # noqa: E402

ANNOTATIONS = {
    'images': [{'id': 3, 'file_name': 'a.jpg', 'width': 20, 'height': 10}],
    'categories': [{'id': 1, 'name': 'cup'}, {'id': 2, 'name': 'box'}],
    'annotations': [{'id': 0, 'image_id': 3, 'category_id': 2, 'bbox': [1, 2, 3, 4.5],
                     'area': 13.5, 'iscrowd': 0}]}
RECORDS = [{'image_id': 3, 'category_id': 2, 'bbox': [1, 2, 3, 4], 'score': 0.5},
           {'image_id': 3, 'category_id': 9, 'bbox': [1, 2, 3, 4], 'score': 1}]
SUMMARY = {'version': 1, 'frames': [{
    'camera': '/front', 'stamp_ns': 12, 'repeat': 0,
    'detections': [{'class_name': 'cup', 'score': 0.5, 'xyxy_image': [1, 2, 3, 4]}]}]}
IDENTITY = {'config': 'a', 'pictures': [1, 2]}
ROW = {'image_id': 3, 'records': RECORDS}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, float('nan'), 1e308])
    | st.floats() | st.text(max_size=3) | st.sampled_from(['\ud800', '9' * 400, 'id', 'bbox']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=3), max_leaves=6)


@st.composite
def changed(draw, document):
    """A copy with a few values put in place of others, or taken away."""
    document = {'top': copy.deepcopy(document)}
    for _ in range(draw(st.integers(0, 3))):
        holder, key = draw(st.sampled_from(list(_places(document))))
        if draw(st.booleans()) and holder is not document:
            del holder[key]
        else:
            holder[key] = draw(VALUES)
    return document['top']


def _places(value):
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def annotations(path):
    truth = GroundTruth(path)
    truth.category_ids(['cup', 'box'])
    for picture in truth.pictures_of(path.parent):
        assert picture.width > 0 < picture.height


def records(path):
    for found in read_records(path).values():
        results = results_of_records(found, {1: 'cup'})
        assert np.isfinite(results.score).all() and np.isfinite(results.xyxy_image).all()


def summary(path):
    for key, results in read_summary(path).items():
        hash(key)
        assert all(isinstance(name, str) for name in results.class_names)
        assert np.isfinite(results.score).all() and np.isfinite(results.xyxy_image).all()


def journal(path):
    with Journal(path, IDENTITY) as opened:
        assert all(isinstance(found, list) for found in opened.done.values())


def _as_lines(document):
    return '\n'.join(map(json.dumps, document if isinstance(document, list) else [document])) + '\n'


READERS = {annotations: (ANNOTATIONS, json.dumps), records: (RECORDS, json.dumps),
           summary: (SUMMARY, json.dumps), journal: ([IDENTITY, ROW, ROW], _as_lines)}


@pytest.mark.parametrize('read', READERS, ids=lambda read: read.__name__)
def test_the_unchanged_document_is_read(read, tmp_path):
    document, text = READERS[read]
    (tmp_path / 'a.json').write_text(text(document))
    read(tmp_path / 'a.json')


@pytest.mark.parametrize('read', READERS, ids=lambda read: read.__name__)
@settings(max_examples=400)
@given(data=st.data())
def test_changed_documents(read, tmp_path_factory, data):
    document, text = READERS[read]
    path = tmp_path_factory.getbasetemp() / f'{read.__name__}.json'
    path.write_text(text(data.draw(changed(document))), encoding='utf-8')
    try:
        read(path)
    except YoloSegError as error:
        str(error).encode('utf-8')
