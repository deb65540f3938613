"""The work config that belongs to a model made by one of the tools."""

import json
from pathlib import Path
from typing import Any, Dict

from .errors import ToolError
from .raw_model import RawModel


def write_work_config(path: Path, raw: RawModel, places: Dict[str, str]) -> None:
    """Write a work config, and the class names beside it where they are known.

    :param places: ``model_file`` and other keys that name files, relative to the work config.
    :raises ToolError: it cannot be written.
    """
    values: Dict[str, Any] = {**places, **raw.decoder_values()}
    if raw.labels:
        values['cls_names_list'] = f'{path.stem}.list'
        write_text(path.with_suffix('.list'), ''.join(f'{label}\n' for label in raw.labels))
    write_text(path, json.dumps(values, indent=2) + '\n')


def write_text(path: Path, text: str) -> None:
    """Write a text file.

    :raises ToolError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise ToolError(f'A file cannot be written: {error}.') from None
