"""The export folder for a VACC card."""

import json

from . import vacc_files
from .export_config import write_text, write_work_config
from .export_order import Order, Step, Written, calibration_note, run_step
from .vacc_files import CALIBRATION


def write_vacc(order: Order) -> Written:
    """Write the vamc yaml, vdsp_params, calibration pictures and work config.

    :raises ToolError: a file cannot be written.
    """
    build, params = f'{order.stem}_vamc.yaml', f'{order.stem}_vdsp_params.json'
    config = vacc_files.vamc_config(order.stem, order.raw, len(order.frames) or vacc_files.USUAL)
    write_text(order.folder / build, vacc_files.vamc_yaml(config))
    operator = vacc_files.vdsp_params(order.raw.size_wh, order.input_type)
    write_text(order.folder / params, json.dumps(operator, indent=2) + '\n')
    if order.frames:
        vacc_files.write_calibration(order.folder / CALIBRATION, order.frames, order.raw,
                                     order.input_type)
    prefix = vacc_files.model_prefix(order.stem)
    write_work_config(order.folder / order.work_config, order.raw,
                      {'model_file': prefix, 'fallback_model_file': order.onnx,
                       'vdsp_params': params})
    profile = f'vamp -m {prefix} --vdsp_params {params} -i 1 -p 1 -b 1'
    return Written({build: 'configuration of vamc', f'{CALIBRATION}/': calibration_note(order),
                    params: 'what the card does to a picture before the model',
                    order.work_config: f'work config of the node; it expects {prefix}.* here'},
                   [Step('Where vamc is installed, in this folder', f'vamc compile {build}'),
                    Step('On the machine with the card, in this folder: how fast it is', profile),
                    run_step(order, 'On the machine with the card, in this folder')])
