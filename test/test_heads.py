"""Which output is which head: by shape, and what happens where the shapes leave it open."""
import numpy as np
import pytest
from heads_factory import Form, make_scene, store
from hypothesis import given
from hypothesis import strategies as st

from yolo_seg_node.decoders.anchor_free import make_anchor_free
from yolo_seg_node.errors import ModelError
from yolo_seg_node.tensors import TensorSpec, make_quantization

INTEGER = {'dtypes': {'box': 'int32', 'mc': 'int32', 'proto': 'int16'},
           'per_channel': frozenset(['box', 'mc'])}
CUSTOMARY = ('tros', 'rdk_v8', 'vacc', 'kinds')
SHUFFLED = (4, 2, 9, 0, 7, 5, 3, 8, 6, 1)


def places(stored, output_order=None):
    """(role, stride) -> (index, layout) as the package finds them."""
    scene = stored.scene
    decoder = make_anchor_free(
        stored.specs, scene.size_wh, class_num=scene.class_num, reg_max=scene.reg_max,
        strides=scene.strides, num_mask=scene.num_mask, output_order=output_order)
    return {(role.name, role.stride): (place.index, place.layout)
            for role, place in decoder.assignment.items()}


def assert_found(stored, layout, proto_layout=None, output_order=None):
    expected = {key: (index, (proto_layout or layout) if key[0] == 'proto' else layout)
                for key, index in stored.places.items()}
    assert places(stored, output_order) == expected


def assert_refused(stored, problem, output_order=None):
    with pytest.raises(ModelError, match=problem):
        places(stored, output_order)


def scene_of(size_wh=(320, 256), **numbers):
    return make_scene(size_wh=size_wh, objects=0, **numbers)


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('order', CUSTOMARY + ('reversed',))
@pytest.mark.parametrize('strides', [(8, 16, 32), (4, 8, 16, 32), (16,), (8, 16, 32, 64)])
@pytest.mark.parametrize('num_mask', [None, 32])
def test_different_channels_are_found_in_any_order(layout, order, strides, num_mask):
    stored = store(scene_of(strides=strides, num_mask=num_mask), Form(order, layout))
    if order == 'reversed' and num_mask and 4 in strides:
        # the coefficients at stride 4 look like the prototypes
        assert_refused(stored, '2 assignments of the outputs to the heads fit equally well')
    else:
        assert_found(stored, layout)


@given(st.permutations(range(10)), st.sampled_from([1, 2, 3, 80]), st.sampled_from([1, 16]),
       st.sampled_from(['NHWC', 'NCHW']), st.booleans())
def test_shuffled_outputs(order, class_num, reg_max, layout, batch):
    scene = scene_of((352, 224), class_num=class_num, reg_max=reg_max)
    assert_found(store(scene, Form(tuple(order), layout, batch=batch)), layout)


@pytest.mark.parametrize('layout, proto_layout', [('NHWC', 'NCHW'), ('NCHW', 'NHWC')])
def test_prototypes_of_the_other_layout(layout, proto_layout):
    assert_found(store(scene_of(), Form('tros', layout, proto_layout)), layout, proto_layout)


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
def test_prototypes_of_one_length_on_all_axes_are_laid_out_as_the_heads(layout):
    assert_found(store(scene_of((128, 128)), Form('tros', layout)), layout)


@pytest.mark.parametrize('order', CUSTOMARY)
@pytest.mark.parametrize('form', [{}, INTEGER], ids=['float', 'integer'])
def test_80_classes_on_80x80_cells(order, form):
    """The finest class head has one length on all axes; its siblings tell the layout."""
    for layout in ('NHWC', 'NCHW'):
        scene = scene_of((640, 640), class_num=80)
        assert_found(store(scene, Form(order, layout, **form)), layout)


@pytest.mark.parametrize('order', CUSTOMARY)
@pytest.mark.parametrize('class_num, reg_max', [(64, 16), (32, 16), (4, 1), (32, 1), (80, 20)])
def test_twin_heads_in_customary_orders(order, class_num, reg_max):
    """As many classes as another head has channels, in float: the order tells, if only one fits."""
    stored = store(scene_of(class_num=class_num, reg_max=reg_max), Form(order))
    if class_num == 32 and order in ('rdk_v8', 'kinds'):  # each is the other with the twins swapped
        assert_refused(stored, 'fit equally well; set "output_order"')
    else:
        assert_found(stored, 'NHWC')


@pytest.mark.parametrize('order', CUSTOMARY)
@pytest.mark.parametrize('class_num, reg_max', [(64, 16), (4, 1)])
def test_twin_heads_without_coefficients_are_refused(order, class_num, reg_max):
    """Class and box of a detection model swapped is another customary order."""
    scene = scene_of(class_num=class_num, reg_max=reg_max, num_mask=None)
    assert_refused(store(scene, Form(order)), 'fit equally well; set "output_order"')
    assert_found(store(scene, Form(order, dtypes={'box': 'int32'})), 'NHWC')


@pytest.mark.parametrize('class_num', [64, 32])
@pytest.mark.parametrize('order', [*CUSTOMARY, 'reversed', SHUFFLED])
def test_float_class_heads_stand_out_among_integer_ones(class_num, order):
    assert_found(store(scene_of(class_num=class_num), Form(order, **INTEGER)), 'NHWC')


@pytest.mark.parametrize('class_num', [64, 32])
def test_heads_of_one_shape_in_no_customary_order_are_refused(class_num):
    stored = store(scene_of(class_num=class_num), Form(SHUFFLED))
    assert_refused(stored, r'\d+ assignments of the outputs to the heads fit equally well; '
                           'set "output_order"')


def test_output_order_settles_what_is_open():
    stored = store(scene_of(class_num=64), Form(SHUFFLED))
    assert_found(stored, 'NHWC', output_order=[SHUFFLED.index(i) for i in range(10)])


def test_a_cube_alone_may_be_either_layout():
    specs = [TensorSpec(name, (1, 16, 16, 16), np.float32) for name in ('cls', 'box')]
    with pytest.raises(ModelError, match='channels first or channels last'):
        make_anchor_free(specs, (128, 128), class_num=16, reg_max=4, strides=(8,), num_mask=None,
                         output_order=[0, 1])


def per_channel(shape, axis):
    """An int32 output with a scale per entry of ``axis``."""
    bare = TensorSpec('box', shape, np.dtype('int32'))
    scale = np.linspace(0.1, 1, shape[axis])
    return TensorSpec('box', shape, bare.dtype, make_quantization(bare, scale, None, axis))


@pytest.mark.parametrize('axis, layout', [(3, 'NHWC'), (1, 'NCHW')])
def test_scales_tell_the_layout_of_a_cube(axis, layout):
    shape = (1, 16, 16, 16)
    specs = [TensorSpec('cls', shape, np.float32), per_channel(shape, axis)]
    decoder = make_anchor_free(specs, (128, 128), class_num=16, reg_max=4, strides=(8,),
                               num_mask=None)
    assert {place.layout for place in decoder.assignment.values()} == {layout}
    assert decoder.describe() == [(0, f'cls stride 8 {layout}'), (1, f'box stride 8 {layout}')]


def test_scales_per_channel_that_fit_no_channel_axis_are_no_fit():
    stored = store(scene_of((64, 64), strides=(8,), num_mask=None, class_num=5))
    stored.specs = (stored.specs[0], per_channel((1, 8, 8, 64), 1))
    assert_refused(stored, 'No assignment of the outputs to the heads fits')


@pytest.mark.parametrize('order', [[0, 1], list(range(9)) + [9, 10], [0] * 10,
                                   [0, 1, 2, 3, 4, 5, 6, 7, 8, 10], [-1, *range(9)]])
def test_an_output_order_must_name_every_output_once(order):
    assert_refused(store(scene_of()), r'"output_order" is .*; it must name each output index from '
                                      '0 to 9 once, in the order cls_8, box_8, mc_8, cls_16', order)


def test_an_output_order_that_does_not_fit_is_refused():
    assert_refused(store(scene_of()), 'No assignment', [1, 0, *range(2, 10)])


@pytest.mark.parametrize('count', [0, 1, 9, 11])
def test_the_number_of_outputs_must_be_right(count):
    stored = store(scene_of())
    stored.specs = (stored.specs * 2)[:count]
    assert_refused(stored, f'The model has {count} outputs, but the parser needs 10')


def test_a_misfit_shows_a_table_of_both_sides():
    stored = store(scene_of(class_num=7), Form(**INTEGER))
    stored.scene.class_num = 6
    with pytest.raises(ModelError) as error:
        places(stored)
    lines = str(error.value).splitlines()
    assert lines[0].startswith('No assignment of the outputs to the heads fits. Check dnn_Parser, '
                               'class_num, reg_max, num_mask and strides')
    assert '  expected cls_8    32x40x6 (or 6x32x40)' in lines
    assert '  expected proto    64x80x32 (or 32x64x80)' in lines
    assert '  found    output 0: out0 (1, 32, 40, 7) float32' in lines
    assert '  found    output 1: out1 (1, 32, 40, 64) int32, 64 scale(s)' in lines
    assert len(lines) == 21
