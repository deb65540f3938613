"""The rate of results as TROS counts it."""

import pytest

from yolo_seg_node.ros.tros_outputs import FpsWindow


def test_no_rate_before_the_first_second():
    window = FpsWindow()
    assert [window.tick(secs) for secs in (10.0, 10.5, 10.999)] == [-1, -1, -1]


@pytest.mark.parametrize('rate', [1, 7, 30, 200])
def test_a_steady_rate(rate):
    window = FpsWindow()
    fps = [window.tick(100 + i / rate) for i in range(3 * rate + 1)]
    assert fps[:rate] == [-1] * rate and set(fps[rate:]) == {rate}


def test_the_last_full_second_counts():
    window = FpsWindow()
    for secs in (0.0, 0.25, 0.5, 0.75):
        window.tick(secs)
    assert window.tick(1.0) == 4
    assert window.tick(1.5) == 4
    assert window.tick(3.0) == 1  # two results in two seconds
