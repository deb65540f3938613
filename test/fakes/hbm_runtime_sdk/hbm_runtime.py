"""``hbm_runtime`` of RDK boards as far as samples use it, with its traps.

The model file says which build is imitated: ``x5``, which refuses a second run at a time and takes
one packed NV12 input, or ``s100``, which lets go of the interpreter lock and takes two inputs.
"""
import threading
from enum import Enum
from types import SimpleNamespace

import cv2
import numpy as np
from fake_board import SIZE, Board

__version__ = '1.0'

hbDNNDataType = Enum('hbDNNDataType', [
    'S4', 'U4', 'S8', 'U8', 'F16', 'S16', 'U16', 'F32', 'S32', 'U32', 'F64', 'S64', 'U64', 'NV12',
    'RGB', 'BOOL8'])
QuantiType = Enum('QuantiType', ['NONE', 'SCALE'], start=0)
TYPES = {'float32': hbDNNDataType.F32, 'int32': hbDNNDataType.S32, 'int16': hbDNNDataType.S16,
         'bool': hbDNNDataType.BOOL8}
GAP = 24  # unused channels behind each pixel in device memory


class QuantParams:
    """How one tensor is quantised; an X5 build gives the kind as a number and no zero points."""

    def __init__(self, output, march):
        kind = QuantiType.SCALE if output.scale.size else QuantiType.NONE
        self.quant_type = kind if march == 's100' else kind.value
        self.scale = output.scale
        self.zero_point = (np.full(output.scale.size, output.zero_point, np.int32)
                           if march == 's100' else np.zeros(0, np.int32))
        self.axis = 3 if output.scale.size > 1 else 0


class HB_HBMRuntime:
    """One opened model file."""

    def __init__(self, model_file):
        try:
            self._board = Board(model_file)
        except ValueError:
            raise RuntimeError(f'hbDNNInitializeFromFiles failed, error code 6000001, '
                               f'{model_file}') from None
        board, self.version = self._board, __version__
        self.model_names, self.model_count = [board.name], 1
        inputs = board.options.get('input') or (
            {'images_y': ['U8', (1, SIZE, SIZE, 1)],
             'images_uv': ['U8', (1, SIZE // 2, SIZE // 2, 2)]} if board.march == 's100'
            else {'images': ['NV12', (1, 3, SIZE, SIZE)]})
        self.input_names = {board.name: list(inputs)}
        self.input_counts = {board.name: len(inputs)}
        self.input_shapes = {board.name: {n: tuple(v[1]) for n, v in inputs.items()}}
        self.input_dtypes = {board.name: {n: hbDNNDataType[v[0]] for n, v in inputs.items()}}
        self.output_names = {board.name: [o.name for o in board.outputs]}
        self.output_counts = {board.name: len(board.outputs)}
        self.output_shapes = {board.name: {o.name: o.shape for o in board.outputs}}
        self.output_dtypes = {board.name: {o.name: TYPES[o.dtype.name] for o in board.outputs}}
        self.output_quants = {
            board.name: {o.name: QuantParams(o, board.march) for o in board.outputs}}
        if board.march == 's100':
            self.compile_bpu_core_num = {board.name: 1}
        self.sched_params = {}
        self._in_use = threading.Lock()
        # Runs that may be concurrent need memory of their own.
        self._memory = threading.local() if board.march == 's100' else SimpleNamespace()

    def set_scheduling_params(self, priority=None, bpu_cores=None, custom_id=None, device_id=None):
        """Set what holds for all runs; dictionaries by model name."""
        for value in (priority or {}).values():
            if not 0 <= value <= 255:
                raise RuntimeError(f'priority {value} is out of range')
        for cores in (bpu_cores or {}).values():
            if cores not in ([0], [-1]):
                raise RuntimeError(f'this board has core 0 only, not {cores}')
        self.sched_params = {'priority': priority, 'bpu_cores': bpu_cores}

    def run(self, inputs, model_name=None):
        """Infer; gives {model: {output: array}}."""
        if self._board.march == 's100':
            return self._run(inputs)
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError('run() already in use')
        try:
            return self._run(inputs)
        finally:
            self._in_use.release()

    def _run(self, inputs):
        wanted = self.input_shapes[self._board.name]
        if set(inputs) != set(wanted):
            raise RuntimeError(f'unknown input among {list(inputs)}')
        nv12 = self._packed(inputs) if len(wanted) == 1 else self._joined(inputs)
        trouble = self._board.trouble()
        if trouble == 'none':
            return None
        if trouble:
            raise RuntimeError('hbDNNInferV2 failed, error code -400001')
        arrays = self._board.run(cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12))
        views = self._views()
        for view, array in zip(views.values(), arrays):
            view[...] = array
        return {self._board.name: dict(views)}

    def _views(self):
        """Zero-copy views of memory that the next run overwrites, with gaps in it."""
        if not hasattr(self._memory, 'views'):
            self._memory.views = {o.name: np.zeros((*o.shape[:-1], o.shape[-1] + GAP), o.dtype)[
                ..., :o.shape[-1]] for o in self._board.outputs}
        return self._memory.views

    def _packed(self, inputs):
        (array,) = inputs.values()
        if array.dtype != np.uint8 or array.size != SIZE * SIZE * 3 // 2:
            raise RuntimeError('input does not match')
        return np.ascontiguousarray(array).reshape(SIZE * 3 // 2, SIZE)

    def _joined(self, inputs):
        for name, shape in self.input_shapes[self._board.name].items():
            if inputs[name].dtype != np.uint8 or inputs[name].shape != shape:
                raise ValueError(f'{name} must be uint8 {shape}')
        return np.concatenate([array.reshape(-1, SIZE) for array in inputs.values()])
