"""Write the sample bag and its ground truth.

    python demo/make_sample_bag.py --output resource/demo

Makes `sample_bag/` (mcap, zstd, readable by `ros2 bag play` from Humble on) and
`sample_truth.json`: the boxes (xyxy, pixels) and masks (COCO run lengths) by stamp.
"""
from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dataset import encode_mask
from scenes import Instances, box_of_mask, moving_scene
from solids import CLASS_NAMES

SIZE_WH = (480, 360)
FRAME_COUNT = 30
BGR_FRAME_COUNT = 8
PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
FRAME_ID = 'camera_optical_frame'

_TYPES = get_typestore(Stores.ROS2_HUMBLE)
_HEADER, _TIME, _IMAGE, _COMPRESSED = (_TYPES.types[name] for name in (
    'std_msgs/msg/Header', 'builtin_interfaces/msg/Time', 'sensor_msgs/msg/Image',
    'sensor_msgs/msg/CompressedImage'))


def nv12_from_bgr(bgr: np.ndarray) -> np.ndarray:
    """Give the Y plane and below it the interleaved UV plane, uint8 (h * 3 / 2, w)."""
    height, width = bgr.shape[:2]
    planar = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    u, v = planar[height:].reshape(2, -1)
    chroma = np.stack([u, v], axis=1).reshape(height // 2, width)
    return np.concatenate([planar[:height], chroma])


def _header(stamp_ns: int) -> object:
    return _HEADER(_TIME(*divmod(stamp_ns, 10**9)), FRAME_ID)


def _image(stamp_ns: int, encoding: str, step: int, data: np.ndarray) -> object:
    return _IMAGE(_header(stamp_ns), SIZE_WH[1], SIZE_WH[0], encoding, 0, step, data.ravel())


def _jpeg(stamp_ns: int, bgr: np.ndarray) -> object:
    data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return _COMPRESSED(_header(stamp_ns), 'bgr8; jpeg compressed bgr8', data.ravel())


def messages(stamp_ns: int, bgr: np.ndarray) -> dict[str, object]:
    """Give the messages of one frame by topic; the bgr8 camera stops after a while."""
    frame = {'/camera/image_raw': _image(stamp_ns, 'nv12', SIZE_WH[0], nv12_from_bgr(bgr)),
             '/camera/image_raw/compressed': _jpeg(stamp_ns, bgr)}
    if stamp_ns < START_NS + BGR_FRAME_COUNT * PERIOD_NS:
        frame['/camera_bgr/image_raw'] = _image(stamp_ns, 'bgr8', 3 * SIZE_WH[0], bgr)
    return frame


def _truth(stamp_ns: int, instances: Instances) -> dict[str, object]:
    objects = [{'class_id': class_id, 'class_name': CLASS_NAMES[class_id],
                'xyxy': box_of_mask(mask), 'mask': encode_mask(mask)}
               for class_id, mask in instances]
    return {'stamp_ns': stamp_ns, 'objects': objects}


def _topics(writer: Writer) -> dict[str, object]:
    kinds = {'/camera/image_raw': _IMAGE, '/camera/image_raw/compressed': _COMPRESSED,
             '/camera_bgr/image_raw': _IMAGE}
    return {topic: writer.add_connection(topic, kind.__msgtype__, typestore=_TYPES)
            for topic, kind in kinds.items()}


def write_bag(folder: Path) -> list[dict[str, object]]:
    """Write the bag, replacing an old one; give the ground truth of its frames."""
    shutil.rmtree(folder, ignore_errors=True)
    # Version 8 stores QoS profiles as text, the only form that Humble reads.
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    times_secs = [index * PERIOD_NS / 1e9 for index in range(FRAME_COUNT)]
    truth = []
    with writer:
        connections = _topics(writer)
        frames = moving_scene(0, SIZE_WH, times_secs)
        for index, (bgr, instances) in enumerate(frames):
            stamp_ns = START_NS + index * PERIOD_NS
            truth.append(_truth(stamp_ns, instances))
            for topic, message in messages(stamp_ns, bgr).items():
                data = _TYPES.serialize_cdr(message, message.__msgtype__)
                writer.write(connections[topic], stamp_ns, data)
    return truth


def main() -> None:
    """Write bag and ground truth into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, required=True)
    folder = parser.parse_args().output
    truth = write_bag(folder / 'sample_bag')
    rows = ',\n'.join(json.dumps(frame) for frame in truth)
    (folder / 'sample_truth.json').write_text(f'{{"frames": [\n{rows}\n]}}\n')
    size = sum(path.stat().st_size for path in (folder / 'sample_bag').iterdir())
    print(f'{folder / "sample_bag"}: {len(truth)} frames, {size} bytes')


if __name__ == '__main__':
    main()
