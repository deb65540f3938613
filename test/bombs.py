"""Small inputs that claim to be large, and what reading them costs.

Run as a program with the folder that ``write_all`` filled it prints for each, as JSON: name, class
of the error, and the MB that the process grew at most, taken but unused memory included.
"""
import io
import json
import os
import pickle
import re
import struct
import sys
import zipfile
import zlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from test_fuzz.targets import RAW_HEAD, SPECS, TARGETS
from yolo_seg_node.config import load_work_config
from yolo_seg_node.frame import ENCODINGS
from yolo_seg_node.labels import read_labels
from yolo_seg_node.model_info import read_model_info
from yolo_seg_node.ros.hbm_pictures import FIELDS
from yolo_seg_node.runtimes.recorded import load_outputs
from yolo_seg_node.runtimes.vdsp_params import read_vdsp_params
from yolo_seg_node.scales import with_scales

PIXELS = np.zeros((16, 16, 3), np.uint8)
MARK = 'unpickled'


def jpeg(width, height, *options):
    data = cv2.imencode('.jpg', PIXELS, options)[1].tobytes()
    return re.sub(b'(\xff[\xc0\xc2]..\x08)....', lambda match: match.group(1)
                  + struct.pack('>HH', height, width), data, count=1, flags=re.DOTALL)


def png(width, height):
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(
        b'IDAT', zlib.compress(bytes(50))) + chunk(b'IEND', b'')


def chunk(kind, data):
    return (struct.pack('>I', len(data)) + kind + data
            + struct.pack('>I', zlib.crc32(kind + data)))


def png_with_long_chunk():
    whole = png(16, 16)
    return whole.replace(struct.pack('>I', len(zlib.compress(bytes(50)))) + b'IDAT',
                         b'\xf0\0\0\0IDAT')


def animated_png():
    """The chunk that counts the frames is too short to hold their number."""
    return png(16, 16).replace(chunk(b'IEND', b''), chunk(b'acTL', b'') + chunk(b'IEND', b''))


def bmp(width, height):
    data = cv2.imencode('.bmp', PIXELS)[1].tobytes()
    return data[:18] + struct.pack('<ii', width, height) + data[26:]


def tiff(width, height):
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1),
               (278, height), (279, 50)]
    return (b'II*\0' + struct.pack('<I', 8) + struct.pack('<H', len(entries))
            + b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in entries) + bytes(4))


def npy(shape, descr='<f4'):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text.encode()


def npz(content, method=zipfile.ZIP_STORED, size=None):
    """:param size: of ``content`` as the directory at the end tells it, if not the true one."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, 'w', method) as archive:
        archive.writestr('output_0.npy', content)
        if size is not None:
            archive.filelist[0].file_size = size
    return sink.getvalue()


class Mark:
    """Says so when it is unpickled."""

    def __reduce__(self):
        return print, (MARK,)


def raw(encoding, width, height, step):
    return struct.pack(RAW_HEAD, list(ENCODINGS).index(encoding), width, height, step, 1, 1)


def hbm(width, height, data_size, step):
    return bytes(4) + struct.pack('>' + FIELDS, 1, 1, 1, height, width, data_size, step,
                                  b'nv12') + bytes(60)


def zeros(size):
    return npy((size // 4,)) + bytes(size)


BOMBS = {
    'JPEG of 12 GB': ('compressed', lambda: jpeg(65500, 65500)),
    'JPEG of 200 MB': ('compressed', lambda: jpeg(8192, 8192)),
    'progressive JPEG': ('compressed', lambda: jpeg(8192, 8192, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    'PNG of 4 GB': ('compressed', lambda: png(36000, 36000)),
    'PNG of 200 MB': ('compressed', lambda: png(8192, 8192)),
    'PNG with a chunk of 4 GB': ('compressed', png_with_long_chunk),
    'animated PNG': ('compressed', animated_png),
    'BMP of 2 GB': ('compressed', lambda: bmp(27000, -27000)),
    'PPM of 2 GB': ('compressed', lambda: b'P6\n27000 27000\n255\n' + bytes(60)),
    'TIFF of 700 MB': ('compressed', lambda: tiff(27000, 27000)),
    'raw picture of 4 GB': ('raw', lambda: raw('bgr8', 36000, 36000, 108000)),
    'raw picture of many rows': ('raw', lambda: raw('mono8', 1, 2**32 - 1, 1)),
    'raw picture with a step of 4 GB': ('raw', lambda: raw('mono8', 1, 1, 2**32 - 1)),
    'shared-memory picture of 4 GB': ('hbm', lambda: hbm(65536, 43688, 2**32 - 1, 65536)),
    'shared-memory picture of no bytes': ('hbm', lambda: hbm(65536, 43688, 0, 65536)),
    'npz whose array claims 4 TB': ('npz', lambda: npz(npy((2**40,)))),
    'npz whose array has a negative size': ('npz', lambda: npz(npy((-(2**20), -(2**20))))),
    'npz whose directory claims 4 GB': ('npz', lambda: npz(npy((2**30 - 32,)), size=2**32 - 2)),
    'npz that unpacks to 260 MB': ('npz', lambda: npz(zeros(260 << 20), zipfile.ZIP_DEFLATED)),
    'npz that unpacks by bzip2': ('npz', lambda: npz(zeros(90 << 20), zipfile.ZIP_BZIP2)),
    'npz with a pickle': ('npz', lambda: npz(npy((1,), '|O') + pickle.dumps(Mark()))),
    'JSON nested': ('config', lambda: b'[' * 60000),
    'JSON with a long number': ('config', lambda: b'{"task_num": ' + b'9' * 60000 + b'}'),
    'JSON with a long array': ('config', lambda: b'{"strides": [' + b'[],{},' * 10000 + b'0]}'),
}
# Readers of whole files, here of 4 GB without content.
READERS = {'work config': partial(load_work_config, require_model=False), 'labels': read_labels,
           'scales': partial(with_scales, SPECS), 'model_info': read_model_info,
           'vdsp_params': read_vdsp_params, 'npz': load_outputs}


def write_all(folder):
    """Write each bomb to a file of its name."""
    for name, (_, make) in BOMBS.items():
        (folder / name).write_bytes(make())
    for name in READERS:
        suffix = '.json' if name == 'scales' else ''
        with (folder / f'{name}{suffix}').open('wb') as stream:
            stream.truncate(4 << 30)


def main():
    """Read the bombs in a folder, each in a process of its own, which has a peak of its own."""
    for path in sorted(Path(sys.argv[1]).iterdir()):
        child = os.fork()
        if not child:
            before = peak_mb()
            print(json.dumps([path.stem, error_of(path), peak_mb() - before]), flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            print(json.dumps([path.stem, 'it died', 0]), flush=True)


def error_of(path):
    """Class of the error that reading gives; a control takes half a GB."""
    try:
        if path.stem in READERS:
            READERS[path.stem](path)
        elif path.stem in BOMBS:
            TARGETS[BOMBS[path.stem][0]](path.read_bytes())
        else:
            np.empty(1 << 29, np.uint8)
    except Exception as error:
        return f'{type(error).__module__}.{type(error).__name__}'
    return ''


def peak_mb():
    """Most memory that this process ever asked for."""
    return int(re.search(r'VmPeak:\s*(\d+) kB', Path('/proc/self/status').read_text())[1]) / 1024


if __name__ == '__main__':
    main()
