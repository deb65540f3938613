"""``pyeasy_dnn`` of RDK boards as far as samples use it, with its traps.

The model file says which version is imitated: ``x3_20_04`` (0.5.8), ``x3`` (2.3.0) or ``x5`` (3.0).
"""
import ctypes

import cv2
import numpy as np
from fake_board import SIZE, Board, march_of

PICTURE_BYTES = SIZE * SIZE * 3 // 2


class TensorProperties:
    """What is known of a tensor; not whether and along which axis it is quantised."""

    def __init__(self, march, tensor_type, layout, shape, scale):
        self._march = march
        self.tensor_type, self.layout, self.shape = tensor_type, layout, shape
        self.dtype = 'uint8' if tensor_type in ('NV12', 'RGB') else tensor_type
        self.scale_data = scale

    def _leak(self):
        if self._march != 'x5':
            raise AttributeError('only on X5')
        raise AssertionError('an access to this property leaks memory on X5')

    alignedShape = property(_leak)
    validShape = property(_leak)


class pyDNNTensor:
    """An input or an output; made anew at each access."""

    def __init__(self, model, name, properties, memory):
        self._model, self._memory = model, memory
        self.name, self.properties = name, properties

    @property
    def buffer(self):
        """A fresh copy, or with 0.5.8 a view of the memory that the next inference overwrites."""
        self._model.buffer_reads += 1
        if self._model.march == 'x3_20_04':
            return self._memory[...]
        if self._model.march == 'x3' and self._memory.dtype == np.int16:
            return self._memory.view(np.int8)[..., ::2].copy()  # this version knows no int16
        return self._memory.copy()


class Model:
    """One model with a single input and a single output memory."""

    estimate_latency = 100

    def __init__(self, path):
        self._board = Board(path)
        self.march, self.name = self._board.march, self._board.name
        self._kind = tuple if self.march == 'x3_20_04' else list
        self._input = np.zeros(PICTURE_BYTES, np.uint8)
        self._memory = [np.zeros(o.shape, o.dtype) for o in self._board.outputs]
        self.buffer_reads, self.calls = 0, []

    @property
    def inputs(self):
        given = self._board.options.get('input', {})
        nhwc = self.march == 'x3'
        shape = tuple(given.get('shape', (1, SIZE, SIZE, 3) if nhwc else (1, 3, SIZE, SIZE)))
        properties = TensorProperties(self.march, given.get('type', 'NV12'),
                                      'NHWC' if nhwc else 'NCHW', shape, np.zeros(0, np.float32))
        return self._kind([pyDNNTensor(self, 'images', properties, self._input)])

    @property
    def outputs(self):
        last = len(self._memory) - 1
        # The prototypes are labelled channels first although they are channels last.
        return self._kind(
            pyDNNTensor(self, o.name, TensorProperties(
                self.march, o.dtype.name, 'NCHW' if i == last else 'NHWC', o.shape, o.scale), m)
            for i, (o, m) in enumerate(zip(self._board.outputs, self._memory)))

    def forward(self, arg, core_id=0, priority=0):
        """Infer; a failure looks different in each version."""
        self.calls.append((core_id, priority))
        {'x5': self._take_x5, 'x3': self._take_x3, 'x3_20_04': self._take_checked}[self.march](arg)
        trouble = self._board.trouble()
        if trouble == 'none':
            return None
        if trouble:
            return self._fail('the task cannot be submitted')
        nv12 = self._input.reshape(SIZE * 3 // 2, SIZE)
        for memory, array in zip(self._memory, self._board.run(
                cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12))):
            memory[...] = array
        return self.outputs

    def _fail(self, sentence):
        if self.march == 'x3':
            print(sentence)
            return None
        raise RuntimeError(sentence) if self.march == 'x3_20_04' else _unset(sentence)

    def _take_x5(self, arg):
        """As many BYTES as there are elements are copied from the bare pointer, unchecked."""
        if not isinstance(arg, np.ndarray):
            print('unsupported input')
            return
        assert arg.size <= PICTURE_BYTES, 'the board would write behind its input memory'
        data = ctypes.string_at(arg.ctypes.data, arg.size)
        self._input[:len(data)] = np.frombuffer(data, np.uint8)

    def _take_x3(self, arg):
        data = np.ascontiguousarray(arg, np.uint8)
        count = data.size if data.ndim == 1 else data.shape[0] * data.shape[1]
        self._input[:count] = data.reshape(-1)[:count]

    def _take_checked(self, arg):
        if arg.dtype != np.uint8 or arg.size != PICTURE_BYTES:
            raise ValueError(f'input must be {PICTURE_BYTES} bytes of uint8')
        self._input[:] = arg.reshape(-1)


def _unset(sentence):
    """What a user sees of an exception that is set while a result is returned."""
    error = SystemError('<built-in function> returned a result with an exception set')
    error.__cause__ = RuntimeError(sentence)
    return error


def load(model_file):
    """Open one model of each file."""
    files = [model_file] if isinstance(model_file, str) else model_file
    models = []
    for file in files:
        try:
            models.append(Model(file))
        except ValueError:  # the file is broken
            sentence = f'load model file failed: {file}'
            raise _unset(sentence) if march_of(file) == 'x5' else RuntimeError(sentence)
    return models
