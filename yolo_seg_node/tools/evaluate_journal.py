"""What an evaluation has found so far, on the disk, so that an interruption loses nothing."""

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, TextIO

from ..errors import YoloSegError
from .coco import RECORD, Record
from .errors import ToolError
from .rows import check_row


class Journal:
    """A file with one line a picture; use it in a ``with`` statement.

    :ivar done: image id -> its result records, those of an earlier run included.
    """

    def __init__(self, path: Path, identity: Dict[str, Any]) -> None:
        """Open the journal, and read what an earlier run of the same evaluation left.

        :param identity: what must be equal for that, as JSON values.
        :raises ToolError: it belongs to another evaluation, or cannot be read or written.
        """
        self.path = path
        self.done: Dict[int, List[Record]] = {}
        self._stream: Optional[TextIO] = None
        # As it comes back from JSON: lists for tuples.
        identity = json.loads(json.dumps(identity))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or not self._read(path.read_bytes(), identity):
                path.write_text(json.dumps(identity) + '\n', encoding='utf-8')
            self._stream = path.open('a', encoding='utf-8')
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ToolError(f'The journal {path} cannot be used: {error}; give another --out.'
                            ) from None

    def __enter__(self) -> 'Journal':
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], _: object) -> None:
        with contextlib.suppress(OSError):  # a write that failed before is tried again here
            self._stream.close()
        if isinstance(error, YoloSegError) and self.done:
            raise ToolError(f'{error} What was found in {len(self.done)} pictures until then is '
                            f'in {self.path}; the same command goes on from there.') from None

    def _read(self, data: bytes, identity: Dict[str, Any]) -> bool:
        """Take over the whole lines; False when not even the first is whole."""
        lines = data.split(b'\n')
        if len(lines) < 2:
            return False
        self._check(json.loads(lines[0]), identity)
        for line in lines[1:-1]:
            row = json.loads(line)
            for record in row['records']:
                check_row(record, RECORD)
            self.done[row['image_id']] = row['records']
        if lines[-1]:  # the last line broke off
            with self.path.open('r+b') as stream:
                stream.truncate(len(data) - len(lines[-1]))
        return True

    def _check(self, found: Any, wanted: Dict[str, Any]) -> None:
        if not isinstance(found, dict):
            raise ValueError('it does not begin like a journal')
        changed = [key for key in wanted if found.get(key) != wanted[key]]
        if changed:
            raise ToolError(f'{self.path} is of another evaluation ({", ".join(changed)} changed); '
                            'give another --out, or remove it.')

    def add(self, image_id: int, records: List[Record]) -> None:
        """Note the records of a picture.

        :raises ToolError: the disk is full, or another problem of the file system.
        """
        try:
            self._stream.write(json.dumps({'image_id': image_id, 'records': records}) + '\n')
            self._stream.flush()
        except OSError as error:
            raise ToolError(f'The journal cannot be written: {error}.') from None
        self.done[image_id] = records
