"""``hrt_model_exec model_info`` texts in the form of the X5 and in that of the S100."""

import numpy as np

KINDS = {'int8': 'S8', 'uint8': 'U8', 'int16': 'S16', 'int32': 'S32', 'float16': 'F16',
         'float32': 'F32'}


def model_info_text(specs, size_wh, board='x5', name='model'):
    """The text of one model with the outputs ``specs`` (values in their ``quantization``)."""
    lines = ['[DNN] a line of the log', 'Load model to DDR cost 1.5ms.',
             'This model file has 1 model:', f'[{name}]', '-' * 69, f'[model name]: {name}', '']
    for i, section in enumerate(_inputs(size_wh, board)):
        lines += [f'input[{i}]: ', *section, '']
    for i, spec in enumerate(specs):
        lines += [f'output[{i}]: ', *_output(spec, board), '']
    return '\n'.join([*lines, '-' * 69, ''])


def _inputs(size_wh, board):
    width, height = size_wh
    if board == 'x5':
        return [['name: images', 'input source: HB_DNN_INPUT_FROM_PYRAMID',
                 f'valid shape: (1,3,{height},{width},)', f'aligned shape: (1,3,{height},{width},)',
                 'tensor type: HB_DNN_IMG_TYPE_NV12', 'tensor layout: HB_DNN_LAYOUT_NCHW',
                 'quanti type: NONE', 'stride: (0,0,0,0,)']]
    shapes = (f'(1,{height},{width},1,)', f'(1,{height // 2},{width // 2},2,)')
    return [[f'name: {plane}', f'valid shape: {shape}', 'aligned byte size: -1',
             'tensor type: HB_DNN_TENSOR_TYPE_U8', 'quanti type: NONE', 'stride: (-1,-1,1,1,)']
            for plane, shape in zip(('images_y', 'images_uv'), shapes)]


def _output(spec, board):
    shape = '(' + ''.join(f'{size},' for size in spec.shape) + ')'
    lines = [f'name: {spec.name}', f'valid shape: {shape}',
             f'tensor type: HB_DNN_TENSOR_TYPE_{KINDS[np.dtype(spec.dtype).name]}']
    if board == 'x5':
        lines.insert(2, f'aligned shape: {shape}')
        lines.append('tensor layout: HB_DNN_LAYOUT_NCHW')  # which is wrong for channels last
    quantization = spec.quantization
    if quantization is None:
        return [*lines, 'quanti type: NONE']
    lines += ['quanti type: SCALE',
              'scale data: ' + ''.join(f'{float(value)!r},' for value in quantization.scale)]
    if quantization.axis is not None:
        lines.append(f'quantizeAxis: {quantization.axis}')
    if board == 's100':
        lines.append('zero_point data: ' + '\0\0\0\0,' * quantization.scale.size)
    return lines
