"""Detection messages that are filled again: never those of another picture, never old values."""

import threading

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from yolo_seg_node.detections import Detections
from yolo_seg_node.ros.messages import SpareDetections, detection_array


def detections(count, seed=0):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 480, (count, 2, 2)), axis=1).astype(np.float32)
    return Detections((640, 480), corners.reshape(-1, 4),
                      np.sort(rng.uniform(0, 1, count).astype(np.float32))[::-1],
                      rng.integers(0, 80, count, dtype=np.int32))


def header(number):
    made = Header(frame_id=f'camera {number}')
    made.stamp.sec = number
    return made


def made(count, seed, spares=None):
    return detection_array(header(seed), detections(count, seed), lambda i: f'class {i}', spares)


def test_messages_that_were_filled_before_equal_new_ones():
    spares = SpareDetections()
    for seed, count in enumerate((5, 9, 0, 3, 20)):
        message = made(count, seed, spares)
        assert message == made(count, seed)
        # Also for those who receive it.
        assert deserialize_message(serialize_message(message), Detection2DArray) == message
        spares.add(message)


def test_values_are_those_of_the_picture():
    spares = SpareDetections()
    spares.add(made(4, 1))
    wanted, message = detections(4, 2), made(4, 2, spares)
    assert message.header == header(2)
    for i, found in enumerate(message.detections):
        x1, y1, x2, y2 = wanted.xyxy_image[i].tolist()
        box, (result,) = found.bbox, found.results
        np.testing.assert_allclose(
            [box.center.position.x, box.center.position.y, box.size_x, box.size_y],
            [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], rtol=1e-6)
        assert found.header == header(2)
        assert result.hypothesis.class_id == f'class {wanted.class_id[i]}'
        assert result.hypothesis.score == wanted.score[i]


def test_only_what_was_given_back_is_filled_again():
    spares = SpareDetections()
    first, second = made(6, 1, spares), made(6, 2, spares)
    parts = {id(d) for d in first.detections} | {id(d) for d in second.detections}
    assert len(parts) == 12
    spares.add(first)
    third = made(8, 3, spares)
    reused = {id(d) for d in third.detections} & {id(d) for d in first.detections}
    assert len(reused) == 6 and second == made(6, 2)


def test_threads_never_fill_the_same_message():
    spares, wrong = SpareDetections(), []

    def work(seed):
        for _ in range(200):
            message = made(10, seed, spares)
            if message != wanted[seed]:
                wrong.append(seed)
            spares.add(message)

    wanted = {seed: made(10, seed) for seed in range(4)}
    threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
