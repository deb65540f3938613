"""``yolo_seg export`` of ultralytics checkpoints, against torch and ultralytics' own decoding.

Needs torch and ultralytics: run by ``make test-export`` in an environment of its own.
"""
from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import process_mask

from test_tool_rdk_files import PUBLISHED
from yolo_seg_node.config import load_work_config
from yolo_seg_node.frame import frame_from_compressed
from yolo_seg_node.pipeline import Pipeline
from yolo_seg_node.tools import cli
from yolo_seg_node.tools.head_layouts import HEAD_LAYOUTS
from yolo_seg_node.tools.ultralytics_model import export as trace
from yolo_seg_node.tools.ultralytics_model import load_checkpoint

ROOT = Path(__file__).parents[1]
SIZE_WH = (192, 128)
LICENCE = 'AGPL-3.0 License (https://ultralytics.com/license)'
CONFIDENCE, OVERLAP = 0.25, 0.7
MODELS = [('yolov8n-seg', 'rdk-x5'), ('yolo11n-seg', 'rdk-x5'), ('yolo26n-seg', 'rdk-x5'),
          ('yolov8n', 'rdk-x5'), ('yolo26n', 'rdk-x5'),
          ('yolo11n-seg', 'vacc'), ('yolo11n', 'vacc')]


def lively(name, folder):
    """A checkpoint (.pt) with random weights, made such that it finds something.

    As initialised, the features vanish on their way, and all scores are about the same.
    """
    torch.manual_seed(5)
    yolo = YOLO(f'{name}.yaml')
    network, head = yolo.model.float().eval(), yolo.model.model[-1]
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad:  # not that of DFL
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
    for prefix in ('', 'one2one_'):
        for part, mean, spread in (('cv2', 0.5, 1.5), ('cv3', -5.0, 2.0), ('cv4', 0.0, 1.0)):
            for branch in getattr(head, f'{prefix}{part}', None) or ():
                branch[-1].register_forward_hook(
                    lambda module, inputs, _output, mean=mean, spread=spread: spread_out(
                        module, inputs[0], mean, spread))
    with torch.no_grad():
        network(torch.from_numpy(as_input(picture())))
    for module in network.modules():
        module._forward_hooks.clear()
    path = folder / f'{name}.pt'
    # YOLO.save would round all weights to half precision.
    torch.save({'model': network, 'train_args': {}, 'license': LICENCE}, path)
    return path


def spread_out(conv, feature, mean, spread):
    """Give a 1x1 convolution random weights such that its values have this mean and spread."""
    weight = torch.randn(conv.weight.shape)
    made = torch.nn.functional.conv2d(feature, weight)
    scale = spread / made.std(dim=(0, 2, 3)).clamp(min=1e-6)
    conv.weight.copy_(weight * scale[:, None, None, None])
    conv.bias.copy_(mean - made.mean(dim=(0, 2, 3)) * scale)


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    """name of a model -> its lively checkpoint."""
    folder = tmp_path_factory.mktemp('checkpoints')
    return functools.lru_cache(None)(lambda name: lively(name, folder))


def export(folder, weights, target, *arguments, size='192x128'):
    """The folder that the command wrote."""
    out = folder / target
    assert cli.main(['export', '--weights', str(weights), '--target', target, '--imgsz', size,
                     '--out', str(out), *arguments]) == 0
    return out


def picture(seed=0):
    """Blocks of colour, (h, w, 3) uint8 BGR, at the size of the model."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (SIZE_WH[1] // 16, SIZE_WH[0] // 16, 3), np.uint8)
    return np.kron(blocks, np.ones((16, 16, 1), np.uint8))


def as_input(bgr):
    return np.ascontiguousarray(bgr[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32) / 255


def run_onnx(path, array):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {'images': array})))


def heads_of(weights, array):
    """Raw heads (NCHW) that the unchanged network computes on its way, by hooks."""
    network = load_checkpoint(str(weights)).network
    head, found = network.model[-1], {}
    prefix = 'one2one_' if getattr(head, 'one2one_cv2', None) is not None else ''
    for kind, part in (('box', 'cv2'), ('cls', 'cv3'), ('mc', 'cv4')):
        for stride, branch in zip((8, 16, 32), getattr(head, prefix + part, None) or ()):
            branch.register_forward_hook(
                lambda _module, _inputs, output, name=f'{kind}_{stride}': found.update(
                    {name: output.numpy()}))
    if hasattr(head, 'proto'):
        head.proto.register_forward_hook(lambda _module, _inputs, output: found.update(
            proto=output.numpy()))
    with torch.no_grad():
        network(torch.from_numpy(array))
    return found


@pytest.mark.parametrize('layout, module, roles, outputs, removed', PUBLISHED)
def test_names_of_the_published_logs_are_reproduced(
        tmp_path, layout, module, roles, outputs, removed):
    """At 640x640, as there, from the models that ship with ultralytics."""
    name = {'rdk-yolo11': 'yolo11n-seg', 'rdk-yolov8': 'yolov8n-seg'}[layout]
    folder = export(tmp_path, f'{name}.yaml', 'rdk-x5', '--layout', layout, size='640')
    model = onnx.load(str(folder / f'{name}.onnx'))
    channels = {'cls': 80, 'box': 64, 'mc': 32, 'proto': 32}
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
              for value in model.graph.output}
    assert shapes == {output: [1, 640 // s, 640 // s, channels[kind]]
                      for output, (kind, s) in zip(outputs, roles)}
    assert list(shapes) == outputs
    assert (model.ir_version, model.opset_import[0].version) == (6, 11)
    stem = name.replace('-', '_')
    readme = (folder / 'README.txt').read_text()
    nodes = [line.split('-r ')[1].rstrip(' \\') for line in readme.splitlines() if '-r ' in line]
    assert f'hb_model_modifier {stem}_bayese_640x640_nv12.bin' in readme
    assert nodes == list(removed.values())


@pytest.mark.parametrize('name, target', MODELS)
def test_heads_are_those_of_the_unchanged_network(tmp_path, checkpoints, name, target):
    weights, array = checkpoints(name), as_input(picture())
    folder = export(tmp_path, weights, target)
    wanted, found = heads_of(weights, array), run_onnx(folder / f'{name}.onnx', array)
    assert set(found) == set(wanted)
    for head, value in found.items():
        nchw = value.transpose(0, 3, 1, 2) if target == 'rdk-x5' else value
        assert np.abs(nchw - wanted[head]).max() <= 1e-4 * max(1, np.abs(wanted[head]).max()), head


@pytest.mark.parametrize('name', ['yolov8n-seg', 'yolo11n-seg', 'yolov8n', 'yolo11n'])
def test_our_decoder_agrees_with_ultralytics(tmp_path, checkpoints, name):
    weights = checkpoints(name)
    pipeline = Pipeline.open(load_work_config(export(tmp_path, weights, 'onnx') / f'{name}.json'))
    pipeline.update(score_threshold=CONFIDENCE, nms_threshold=OVERLAP, max_candidates=30000)
    network, total = load_checkpoint(str(weights)).network, 0
    for seed in range(4):
        bgr = picture(seed)
        with torch.no_grad():
            raw = network(torch.from_numpy(as_input(bgr)))[0]
        predictions, proto = raw if isinstance(raw, tuple) else (raw, None)
        wanted = non_max_suppression(predictions, CONFIDENCE, OVERLAP, nc=80, max_det=3000)[0]
        found = pipeline.process(frame_from_compressed(
            cv2.imencode('.png', bgr)[1].tobytes())).detections
        total += len(found)
        assert len(found) == len(wanted)
        assert np.array_equal(found.class_id, wanted[:, 5].numpy())
        inside = wanted[:, :4].numpy().clip(0, np.tile(SIZE_WH, 2))
        assert np.abs(found.xyxy_image - inside).max() <= 1e-3
        assert np.abs(found.score - wanted[:, 4].numpy()).max() <= 1e-5
        if proto is not None:
            masks = process_mask(proto[0], wanted[:, 6:], wanted[:, :4], SIZE_WH[::-1],
                                 upsample=True)
            check_masks(found.masks, masks.numpy() > 0.5, wanted[:, :4].numpy())
    assert total > 20


def check_masks(found, wanted, xyxy):
    """Mask IoU >= 0.999, or no more than two pixels apart, where the box leaves no choice.

    A mask ends with its box, so an edge on the border of two pixels decides on a whole row of them.
    """
    clear = np.abs(xyxy - xyxy.round()).min(axis=1) > 1e-3
    assert clear.mean() > 0.9
    for i in np.flatnonzero(clear):
        drawn = np.zeros(wanted[i].shape, bool)
        (x, y), crop = found.origin_xy[i], found.crops[i]
        drawn[y:y + crop.shape[0], x:x + crop.shape[1]] = crop
        union, difference = (drawn | wanted[i]).sum(), (drawn != wanted[i]).sum()
        assert difference <= max(2, 0.001 * union)


def test_an_int8_twin_can_be_made_of_an_export(tmp_path, checkpoints):
    folder = export(tmp_path, checkpoints('yolo11n-seg'), 'onnx')
    (tmp_path / 'pictures').mkdir()
    for seed in range(20):
        cv2.imwrite(str(tmp_path / f'pictures/{seed}.png'), picture(seed))
    path = folder / 'yolo11n-seg.onnx'
    assert cli.main(['quantize', str(path), '--calibration', str(tmp_path / 'pictures')]) == 0
    outputs = run_onnx(folder / 'yolo11n-seg_int8.onnx', as_input(picture()))
    assert {name.split('_')[0]: value.dtype for name, value in outputs.items()} == {
        'cls': np.float32, 'box': np.int32, 'mc': np.int32, 'proto': np.int16}


def test_an_onnx_file_of_ultralytics_can_be_cut(tmp_path, checkpoints):
    weights, array = checkpoints('yolo11n-seg'), as_input(picture())
    network = load_checkpoint(str(weights)).network
    network.model[-1].export = True
    network.model[-1].format = 'onnx'
    whole = tmp_path / 'whole.onnx'
    torch.onnx.export(network, (torch.from_numpy(array),), str(whole), input_names=['images'],
                      opset_version=17, dynamo=False)
    assert cli.main(['cut', str(whole), '--auto']) == 0
    wanted, found = heads_of(weights, array), run_onnx(tmp_path / 'whole_cut.onnx', array)
    assert set(found) == set(wanted)
    for name, value in found.items():
        assert np.allclose(value.transpose(0, 3, 1, 2), wanted[name], rtol=1e-4, atol=1e-4), name


def test_attention_has_no_softmax_on_boards_and_keeps_it_elsewhere(tmp_path, checkpoints):
    kinds = {}
    for target in ('rdk-x5', 'vacc'):
        folder = export(tmp_path, checkpoints('yolo11n-seg'), target)
        model = onnx.load(str(folder / 'yolo11n-seg.onnx'))
        kinds[target] = {node.op_type for node in model.graph.node}
    assert 'Softmax' not in kinds['rdk-x5'] and 'ReduceMax' in kinds['rdk-x5']
    assert 'Softmax' in kinds['vacc']


def test_a_softmax_that_cannot_be_rewritten_is_put_on_the_bpu(tmp_path):
    folder = export(tmp_path, 'yolo12n.yaml', 'rdk-x5')
    config = yaml.safe_load((folder / 'yolo12n_bayese_192x128_nv12.yaml').read_text())
    softmax = [node.name for node in onnx.load(str(folder / 'yolo12n.onnx')).graph.node
               if node.op_type == 'Softmax']
    assert softmax and list(config['model_parameters']['node_info']) == softmax


def test_vacc_models_take_any_batch(tmp_path, checkpoints):
    path = export(tmp_path, checkpoints('yolov8n-seg'), 'vacc') / 'yolov8n-seg.onnx'
    two = np.concatenate([as_input(picture(0)), as_input(picture(1))])
    found, alone = run_onnx(path, two), run_onnx(path, two[1:])
    assert found['proto'].shape == (2, 32, 32, 48)
    assert np.allclose(found['box_8'][1:], alone['box_8'], rtol=1e-4, atol=1e-4)


def test_yolov10_is_a_model_without_suppression(tmp_path):
    folder = export(tmp_path, 'yolov10n.yaml', 'onnx')
    config = load_work_config(folder / 'yolov10n.json')
    assert (config.parser, config.class_num) == ('yolov10', 80)
    assert Pipeline.open(config).facts.model_wh == SIZE_WH


def test_the_network_is_as_before_after_an_export(checkpoints):
    checkpoint = load_checkpoint(str(checkpoints('yolo11n-seg')))
    array = torch.from_numpy(as_input(picture()))
    with torch.no_grad():
        before = checkpoint.network(array)[0][0]
        trace(checkpoint, HEAD_LAYOUTS['tros'], SIZE_WH, True, False)
        after = checkpoint.network(array)[0][0]
    assert torch.equal(before, after)
    assert 'forward' not in vars(checkpoint.head)


def test_the_file_tells_the_licence_and_nothing_of_this_machine(tmp_path, checkpoints):
    folder = export(tmp_path, checkpoints('yolov8n-seg'), 'rdk-x5')
    data = (folder / 'yolov8n-seg.onnx').read_bytes()
    properties = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
    assert properties == {'license': LICENCE}
    assert LICENCE in (folder / 'README.txt').read_text()
    for place in (os.getcwd(), str(tmp_path), 'site-packages', f'{Path.home()}/'):
        assert place.encode() not in data, place


def test_nothing_is_sent_or_written_elsewhere(tmp_path):
    """Ultralytics would write into the home folder and report usage."""
    home = tmp_path / 'home'
    home.mkdir()
    code = ('import os, sys\n'
            'def refuse(event, arguments):\n'
            '    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):\n'
            '        print("REFUSED", event, arguments, flush=True)\n'
            '        os._exit(9)\n'
            'sys.addaudithook(refuse)\n'
            'from yolo_seg_node.tools import cli\n'
            'sys.exit(cli.main(sys.argv[1:]))\n')
    environ = {key: value for key, value in os.environ.items() if not key.startswith('YOLO_')}
    result = subprocess.run(
        [sys.executable, '-c', code, 'export', '--weights', 'yolov8n-seg.yaml', '--target', 'onnx',
         '--imgsz', '64', '--out', str(tmp_path / 'out')], text=True, capture_output=True,
        cwd=tmp_path, env={**environ, 'HOME': str(home), 'PYTHONPATH': str(ROOT)})
    assert result.returncode == 0, result.stdout + result.stderr
    assert not list(home.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ['home', 'out']


@pytest.mark.parametrize('weights, sentence', [
    ('yolo11n-pose.yaml', 'is a model with a Pose head, which cannot be cut; supported are'),
    ('yolo11n-cls.yaml', 'is a model with a Classify head, which cannot be cut; supported are'),
    ('yolov8n-seg-p2.yaml', None), ('no-such-model.yaml', 'ultralytics cannot load')])
def test_unsupported_checkpoints_are_named(tmp_path, capsys, weights, sentence):
    if sentence is None:
        weights, sentence = stride_4_model(tmp_path), 'has its first heads at stride 4'
    assert cli.main(['export', '--weights', str(weights), '--target', 'rdk-x5', '--imgsz', '128',
                     '--out', str(tmp_path / 'out')]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def stride_4_model(folder):
    """A model whose finest heads are at stride 4."""
    layers = {'nc': 3, 'backbone': [[-1, 1, 'Conv', [8, 3, 2]], [-1, 1, 'Conv', [8, 3, 2]],
                                    [-1, 1, 'Conv', [8, 3, 2]], [-1, 1, 'Conv', [8, 3, 2]]],
              'head': [[[1, 2, 3], 1, 'Segment', ['nc', 32, 64]]]}
    path = folder / 'yolov8-tiny.yaml'
    path.write_text(yaml.safe_dump(layers))
    return path


def test_a_torn_checkpoint_is_refused(tmp_path, capsys, checkpoints):
    torn = tmp_path / 'torn.pt'
    torn.write_bytes(checkpoints('yolov8n').read_bytes()[:5000])
    assert cli.main(['export', '--weights', str(torn), '--target', 'vacc']) == 2
    assert 'ultralytics cannot load' in capsys.readouterr().err


def test_a_size_that_does_not_fit_the_strides_is_refused(tmp_path, capsys):
    assert cli.main(['export', '--weights', 'yolov8n.yaml', '--target', 'vacc', '--imgsz',
                     '100x64', '--out', str(tmp_path / 'out')]) == 2
    assert 'multiples of 32' in capsys.readouterr().err
