"""``vaststreamx`` as far as samples use it, with its traps; the model runs in onnxruntime.

A model is three files with one prefix. Outputs are float16 in memory that the next run overwrites,
and a thread that has not chosen its die cannot do anything.
"""
import json
import queue
import threading
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
from fake_board import SIZE, Board

DIES = 2
END = b'end of weights'

ImageFormat = Enum('ImageFormat', [
    'YUV_NV12', 'RGB_PLANAR', 'BGR_PLANAR', 'RGB_INTERLEAVE', 'BGR_INTERLEAVE', 'GRAY'])
GraphOutputType = Enum('GraphOutputType', [
    'GRAPH_OUTPUT_TYPE_NCHW_DEVICE', 'GRAPH_OUTPUT_TYPE_NCHW_HOST'])
StreamBalanceMode = Enum('StreamBalanceMode', ['RUN', 'ONCE'])
FORMATS = {'RGB_PLANAR': ImageFormat.RGB_PLANAR, 'BGR_PLANAR': ImageFormat.BGR_PLANAR,
           'RGB888': ImageFormat.RGB_INTERLEAVE, 'BGR888': ImageFormat.BGR_INTERLEAVE}
_thread = threading.local()


def get_all_cards_count():
    return DIES // 2


def set_device(device_id):
    """Bind the calling thread to a die; gives a status, 0 when that worked."""
    if not 0 <= device_id < DIES:
        return 1
    _thread.device = device_id
    return 0


def _need_device():
    if not hasattr(_thread, 'device'):
        raise RuntimeError('this thread has not set its device')


class Image:
    def __init__(self, data, image_format, width, height):
        self.data, self.format, self.width, self.height = data, image_format, width, height


def create_image(data, image_format, width, height, device_id):
    """Copy a picture to the card."""
    _need_device()
    shape = {ImageFormat.YUV_NV12: (height * 3 // 2, width),
             ImageFormat.RGB_PLANAR: (3, height, width), ImageFormat.BGR_PLANAR: (3, height, width)
             }.get(image_format, (height, width, 3))
    if data.dtype != np.uint8 or data.shape != shape or not data.flags.c_contiguous:
        raise TypeError(f'{image_format} of {width}x{height} is not {data.dtype} {data.shape}')
    if width % 2 or height % 2:
        raise RuntimeError(f'odd size {width}x{height}')
    return Image(data.copy(), image_format, width, height)


class Model:
    def __init__(self, prefix, batch_size, hw_config=''):
        _need_device()
        if not Path(f'{prefix}.params').read_bytes().endswith(END):
            raise RuntimeError('load model failed: weights are cut short')
        self.board, self.batch_size = Board(f'{prefix}.json'), batch_size
        given = self.board.options.get('input', {})
        self.input_shape = [list(given.get('shape', (1, 3, SIZE, SIZE)))]
        self.output_shape = [list(o.shape) for o in self.board.outputs]
        self.input_count, self.output_count = 1, len(self.output_shape)


class ModelOperator:
    def __init__(self, model):
        self.model = model


class Operator:
    def __init__(self, description):
        self.op_type, self.config = description['OpType'], description['OpConfig']

    @staticmethod
    def load_ops_from_json_file(path):
        content = json.loads(Path(path).read_text())
        return [Operator(entry) for entry in (content if isinstance(content, list) else [content])]

    def rgb(self, image):
        """What the model sees: (h, w, 3) in R, G, B order."""
        yuv = 'NV12' in self.op_type
        wanted = ImageFormat.YUV_NV12 if yuv else FORMATS[self.config['IimageFormat']]
        if image.format != wanted:
            raise RuntimeError(f'the graph takes {wanted}, not {image.format}')
        picture = cv2.cvtColor(image.data, cv2.COLOR_YUV2RGB_NV12) if yuv else image.data
        if 'PLANAR' in wanted.name:
            picture = picture.transpose(1, 2, 0)
        if self.config.get('ColorCvtCode') == 'BGR2RGB':
            picture = picture[..., ::-1]
        return self._placed(np.ascontiguousarray(picture))

    def _placed(self, picture):
        height, width = picture.shape[:2]
        if 'LETTERBOX' not in self.op_type:
            return cv2.resize(picture, (SIZE, SIZE))
        ratio = min(SIZE / width, SIZE / height)
        small = cv2.resize(picture, (round(width * ratio), round(height * ratio)))
        padded = np.empty((SIZE, SIZE, 3), np.uint8)
        padded[:] = self.config['Padding']
        left, top = (SIZE - small.shape[1]) // 2, (SIZE - small.shape[0]) // 2
        padded[top:top + small.shape[0], left:left + small.shape[1]] = small
        return padded


class Graph:
    def __init__(self, output_type):
        self.output_type, self.operators = output_type, []

    def add_operators(self, *operators):
        self.operators += operators


class Tensor:
    def __init__(self, data):
        self.data, self.shape, self.size = data, data.shape, data.size


def as_numpy(tensor):
    """The tensor on the host, float16, with the batch and of a rank of its own."""
    _need_device()
    return tensor.data.reshape(*tensor.shape[:2], -1)


class Stream:
    def __init__(self, graph, balance_mode):
        self._operator, self._model_operator = graph.operators
        self._board, self._built = self._model_operator.model.board, False
        self._registered = None
        self._memory = [np.zeros(o.shape, np.float16) for o in self._board.outputs]
        self._submitted, self._finished = queue.Queue(), queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def register_operator_output(self, operator):
        self._registered = operator

    def build(self):
        assert self._registered is not None
        self._built = True
        self._thread.start()

    def run_sync(self, inputs):
        """Outputs of each picture; the memory is used again by the next run."""
        _need_device()
        assert self._built
        outputs = [self._outputs(image, self._memory) for image in inputs]
        return None if None in outputs else outputs

    def run_async(self, inputs):
        _need_device()
        assert self._built
        self._submitted.put(inputs)

    def get_operator_output(self, operator):
        """Outputs of the next submission, in order; waits for them."""
        _need_device()
        assert operator is self._registered
        item = self._finished.get()
        if isinstance(item, Exception):
            raise item
        return item

    def close_input(self):
        self._submitted.put(None)

    def wait_until_done(self):
        self._thread.join()

    def _outputs(self, image, memory):
        trouble = self._board.trouble()
        if trouble == 'none':
            return None
        if trouble:
            raise RuntimeError('vdsp operator timed out')
        for place, array in zip(memory, self._board.run(self._operator.rgb(image))):
            place[...] = array
        return [Tensor(place) for place in memory]

    def _work(self):
        while (inputs := self._submitted.get()) is not None:
            memory = [np.zeros_like(place) for place in self._memory]
            try:
                self._finished.put([self._outputs(image, memory) for image in inputs])
            except RuntimeError as error:
                self._finished.put(error)
        self._finished.put(ValueError('input is closed'))
