"""Bags with changed bytes: they are read as far as they are whole, or refused in our own words."""
import contextlib

import mcap.writer
import numpy as np
import pytest
from bags_factory import compressed_entry, raw_entry, write_mcap, write_rosbag1
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_seg_node.errors import FrameError, YoloSegError
from yolo_seg_node.tools.bag import Bag
from yolo_seg_node.tools.bag_pictures import picture_topics, pictures

PIXELS = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
ENTRIES = [raw_entry(0, PIXELS), compressed_entry(1, np.zeros(20, np.uint8)), raw_entry(2, PIXELS)]
KINDS = {
    '.mcap': lambda path: write_mcap(path, ENTRIES, mcap.writer.CompressionType.NONE),
    '.zstd.mcap': lambda path: write_mcap(path, ENTRIES, mcap.writer.CompressionType.ZSTD),
    '.bag': lambda path: write_rosbag1(path, ENTRIES)}


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bags')
    return {kind: write(folder / f'whole{kind}').read_bytes() for kind, write in KINDS.items()}


def frames(path):
    """Sizes of the frames that can be read."""
    found = []
    with Bag(path) as bag:
        for picture in pictures(bag, picture_topics(bag)):
            with contextlib.suppress(FrameError):
                if not isinstance(picture, FrameError):
                    found.append(picture.frame().size_wh)
    return found


@pytest.mark.parametrize('kind', KINDS)
def test_the_unchanged_bag_is_read(bags, kind, tmp_path):
    path = tmp_path / f'bag{kind}'
    path.write_bytes(bags[kind])
    assert frames(path) == [(4, 3), (4, 3)]


@pytest.mark.parametrize('kind', KINDS)
@settings(max_examples=150)
@given(data=st.data())
def test_changed_bags(bags, kind, tmp_path_factory, data):
    content = bytearray(bags[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from(
            [b'\xff' * 4, b'\xff' * 8, b'\0' * 8, b'\xff\xff\xff\x7f']))
        content[start:start + len(piece)] = piece
    path = tmp_path_factory.getbasetemp() / f'bag{kind}'
    path.write_bytes(content)
    try:
        found = frames(path)
    except YoloSegError:
        return
    assert len(found) <= len(ENTRIES)
