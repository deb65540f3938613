"""What the fake SDKs have in common: a board that runs the demo model in onnxruntime.

A "compiled model" is a small file that names the ONNX model and how it is served. It is written by
``write_board_file``, and everything that a test wants the board to do stands in it, so that a fake
behaves the same in a worker process.
"""
import ctypes
import fcntl
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

DEMO = Path(__file__).parents[2] / 'resource' / 'demo'
MODELS = {'float': DEMO / 'shapes_seg_float.onnx', 'int': DEMO / 'shapes_seg_int.onnx'}
SIDECAR = DEMO / 'shapes_seg_int.scales.json'
SIZE = 320
DIGITS = 20  # of a time in nanoseconds


class Output(NamedTuple):
    """One output of a served model; ``shape`` and ``dtype`` are what the SDK states."""

    name: str
    shape: tuple
    dtype: np.dtype
    scale: np.ndarray
    zero_point: int


def write_board_file(path, march, model='float', **options):
    """Write a compiled model.

    :param march: which generation of the board and its SDK.
    :param model: ``float`` or ``int``, a demo model.
    :param options: ``order`` (indices of the ONNX outputs), ``nchw``, ``hold_ms`` (an inference
        takes so long; meanwhile the interpreter lock is held, but on ``s100``), ``one_core`` (for
        all who have opened the file), ``still`` (one inference only, then always the same
        outputs), ``zero_point``, ``trouble`` (path of a file; while it exists every inference
        fails in the way that it says: none, raise, die, hang, which only happens once, or later,
        which is raise but for the first inference of an opened model), ``input`` and ``stated``
        (what the SDK says in place of the truth).
    """
    path.write_text(march + '\n' + json.dumps({'model': model, **options}))
    return path


def march_of(path):
    """First line of a compiled model."""
    return Path(path).read_text().partition('\n')[0]


class Core:
    """The queue of an accelerator that all have in common who have opened a file.

    Like a driver's it knows nothing of the interpreter: an inference begins when it is asked for or
    when the one before it ends, whether or not somebody has taken that one's outputs.
    """

    def __init__(self, path):
        self._lock = threading.Lock()
        self._file = os.fdopen(os.open(f'{path}.queue', os.O_RDWR | os.O_CREAT), 'r+b')

    def add(self, hold_ns):
        """Queue an inference; gives the time in nanoseconds until it is done."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                now_ns, before_ns = time.monotonic_ns(), os.pread(self._file.fileno(), DIGITS, 0)
                end_ns = max(now_ns, int(before_ns or 0)) + hold_ns
                os.pwrite(self._file.fileno(), b'%0*d' % (DIGITS, end_ns), 0)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        return end_ns - now_ns


class Board:
    """An opened model."""

    def __init__(self, path):
        """:raises ValueError: the file is broken."""
        text = Path(path).read_text()
        self.march, _, description = text.partition('\n')
        self.options = json.loads(description)
        self.name = Path(path).stem
        self._core = Core(path) if self.options.get('one_core') else None
        # Through PyDLL the interpreter lock stays held, as in most of the real bindings.
        self._library = ctypes.CDLL(None) if self.march == 's100' else ctypes.PyDLL(None)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(MODELS[self.options['model']]), session_options,
            providers=['CPUExecutionProvider'])
        stored = self._session.get_outputs()
        self._order = self.options.get('order') or list(range(len(stored)))
        self._still, self._inferences = None, 0
        self.outputs = [self._output(position, stored[index])
                        for position, index in enumerate(self._order)]

    def _output(self, position, stored):
        dtype = {'tensor(float)': 'float32', 'tensor(int32)': 'int32', 'tensor(int16)': 'int16'}
        entry = json.loads(SIDECAR.read_text())['outputs'].get(stored.name, {})
        scale = entry.get('scale', []) if self.options['model'] == 'int' else []
        shape = stored.shape
        if self.options.get('nchw'):
            shape = [shape[0], shape[3], shape[1], shape[2]]
        # Compilers name outputs by the number of a node.
        truth = {'name': str(481 + 7 * position), 'shape': shape, 'dtype': dtype[stored.type],
                 'scale': scale, 'zero_point': self.options.get('zero_point', 0) if scale else 0}
        stated = {**truth, **self.options.get('stated', {}).get(str(position), {})}
        return Output(stated['name'], tuple(stated['shape']), np.dtype(stated['dtype']),
                      np.array(stated['scale'], np.float32), stated['zero_point'])

    def trouble(self):
        """How the inference is to fail, or nothing."""
        path = self.options.get('trouble')
        how = Path(path).read_text() if path and Path(path).is_file() else ''
        if how == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        if how == 'hang':
            Path(path).unlink()
            self._library.sleep(60)
        self._inferences += 1
        return '' if how == 'later' and self._inferences == 1 else how

    def run(self, rgb):
        """Outputs, in the order served, of an (h, w, 3) uint8 picture in R, G, B order."""
        hold_ms = self.options.get('hold_ms', 0)
        if hold_ms:
            self._wait(hold_ms)
        if self._still is None or not self.options.get('still'):
            self._still = self._infer(rgb)
        return self._still

    def _wait(self, milliseconds):
        hold_ns = milliseconds * 10**6
        if self._core:
            hold_ns = self._core.add(hold_ns)
        self._library.usleep(hold_ns // 1000)

    def _infer(self, rgb):
        images = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        arrays = self._session.run(None, {'images': images})
        served = [arrays[index] for index in self._order]
        if self.options.get('nchw'):
            served = [array.transpose(0, 3, 1, 2) for array in served]
        return [array + array.dtype.type(output.zero_point) if output.zero_point else array
                for array, output in zip(served, self.outputs)]
