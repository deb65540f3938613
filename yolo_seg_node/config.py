"""The work config: the TROS JSON file plus this package's own keys, checked as a whole."""

import json
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import jsonschema

from .decoders.base import DecodeSettings
from .errors import ConfigError
from .labels import check_labels, default_labels, read_labels
from .letterbox import LETTERBOX
from .parsers import OTHER_TROS_PARSERS, PARSERS
from .paths import find_file, find_model, search_dirs, share_dir
from .runtimes import RUNTIMES
from .text_files import read_json

MAX_BYTES = 1 << 16
SCHEMA_FILE = 'work_config.schema.json'


@dataclass(frozen=True)
class WorkConfig:
    """A checked work config. Keys keep their TROS names; ``parser`` is ``dnn_Parser``.

    Paths are as written; ``find`` resolves them. ``class_names`` has ``class_num`` entries.
    ``num_mask`` is None for parsers without masks. ``warnings`` are sentences for the log.
    """

    model_file: str
    parser: str
    path: Optional[Path] = None
    model_name: str = ''
    task_num: int = 4
    class_num: int = 80
    class_names: Tuple[str, ...] = ()
    reg_max: int = 16
    num_mask: Optional[int] = None
    strides: Tuple[int, ...] = (8, 16, 32)
    anchors_table: Optional[Tuple[Tuple[Tuple[float, float], ...], ...]] = None
    score_threshold: float = 0.4
    nms_threshold: float = 0.5
    nms_top_k: int = 5000
    output_order: Optional[Tuple[int, ...]] = None
    output_roi: bool = True
    runtime: str = 'auto'
    fallback_model_file: Optional[str] = None
    scales_file: Optional[str] = None
    resize_mode: str = LETTERBOX
    pad_value: int = 114
    input_color: str = 'rgb'
    input_mean: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    input_scale: Tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255)
    input_size: Optional[Tuple[int, int]] = None
    class_agnostic_nms: bool = False
    max_candidates: int = 2000
    providers: Tuple[str, ...] = ('CPUExecutionProvider',)
    intra_op_threads: int = 1
    bpu_cores: Tuple[int, ...] = ()
    priority: int = 0
    vdsp_params: Optional[str] = None
    device_id: int = 0
    stream_mode: str = 'sync'
    warnings: Tuple[str, ...] = ()

    def find(self, name: str) -> Optional[Path]:
        """Existing file that a path of this config means, or None."""
        return find_file(name, search_dirs(self.path.parent if self.path else None))

    def model_path(self, key: str = 'model_file') -> Path:
        """The model that ``model_file`` or ``fallback_model_file`` names; see ``paths.find_model``.

        :raises ConfigError: it does not exist.
        """
        near = self.path.parent if self.path else None
        found = find_model(getattr(self, key), search_dirs(near))
        if found is None:
            raise ConfigError(self._source(), [_missing_file(key, getattr(self, key), near)])
        return found

    def decode_settings(self) -> DecodeSettings:
        """The limits at start; parameters may change them later."""
        return DecodeSettings(self.score_threshold, self.nms_threshold, self.nms_top_k,
                              self.max_candidates, self.class_agnostic_nms)

    def _source(self) -> str:
        return f'Work config {self.path}' if self.path else 'The work config'


def find_work_config(name: str) -> Path:
    """Path of a work config given by path or by the name of a shipped one.

    :raises ConfigError: there is none; the message lists the shipped ones.
    """
    found = find_file(name, search_dirs(None)) if name else None
    if found is None:
        shipped = sorted(p.name for p in (share_dir() / 'config').glob('*.json')
                         if p.name != SCHEMA_FILE)
        problem = 'there is no such file' if name else 'none is named'
        raise ConfigError(f'Work config {name!r}', [
            f'{problem}; give a path, or one of the shipped: {", ".join(shipped)}'])
    return found


def load_work_config(path: Path, require_model: bool = True) -> WorkConfig:
    """Read and check a work config.

    :param require_model: also check that ``model_file`` exists.
    :raises ConfigError: with every problem of the file.
    """
    return make_work_config(_read_json(path), path, require_model)


def make_work_config(values: Dict[str, Any], path: Optional[Path] = None,
                     require_model: bool = True) -> WorkConfig:
    """Check the values of a work config; see ``load_work_config``."""
    near = path.parent if path else None
    problems, wrong = _schema_problems(values)
    sound = {key: value for key, value in values.items() if key not in wrong}
    names, label_problems = _class_names(sound, near, counted='class_num' not in wrong)
    problems += label_problems + _file_problems(sound, near, require_model)
    if not wrong & {'dnn_Parser', 'strides'}:
        problems += _cross_problems(sound)
    if problems:
        raise ConfigError(f'Work config {path}' if path else 'The work config', problems)
    return _build(values, path, names)


def _read_json(path: Path) -> Dict[str, Any]:
    try:
        values = read_json(path, MAX_BYTES)
    except OSError as error:
        raise ConfigError(f'Work config {path}', [f'it cannot be read: {error}']) from None
    except ValueError as error:
        raise ConfigError(f'Work config {path}', [f'it is no readable JSON: {error}']) from None
    if not isinstance(values, dict):
        raise ConfigError(f'Work config {path}', [
            f'it holds a JSON {type(values).__name__}, but must hold one object {{...}}'])
    return values


@lru_cache(maxsize=1)
def _schema() -> Dict[str, Any]:
    return json.loads((share_dir() / 'config' / SCHEMA_FILE).read_text(encoding='utf-8'))


def _is_integer(_checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unless_too_long(keyword: str) -> Callable[..., Iterator[jsonschema.ValidationError]]:
    """The check of a keyword of arrays, left out where "maxItems" complains already.

    One sentence says it then, and no time goes into comparing each entry with each other.
    """
    check = jsonschema.Draft7Validator.VALIDATORS[keyword]

    def bounded(validator: Any, wanted: Any, values: Any, schema: Dict[str, Any]
                ) -> Iterator[jsonschema.ValidationError]:
        if isinstance(values, list) and len(values) <= schema.get('maxItems', len(values)):
            yield from check(validator, wanted, values, schema)

    return bounded


# JSON Schema takes 4.0 for an integer; TROS does not.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft7Validator, {key: _unless_too_long(key) for key in ('items', 'uniqueItems')},
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine('integer', _is_integer))


def _schema_problems(values: Dict[str, Any]) -> Tuple[List[str], Set[str]]:
    """Sentences about single keys, and the keys that they are about."""
    errors = sorted(_Validator(_schema()).iter_errors(values), key=lambda e: list(map(str, e.path)))
    problems = [_sentence(error) for error in errors]
    wrong = {str(error.path[0]) for error in errors if error.path}
    wrong |= set(_schema()['required']) - set(values)
    parser, runtime = values.get('dnn_Parser'), values.get('runtime', 'auto')
    if isinstance(parser, str) and parser not in PARSERS:
        problems.append(_unknown_parser(parser))
        wrong.add('dnn_Parser')
    if isinstance(runtime, str) and runtime not in ('auto', *RUNTIMES):
        problems.append(f'"runtime" is {_short(runtime)}, but must be one of '
                        f'{["auto", *RUNTIMES]}')
    return list(dict.fromkeys(problems)), wrong


def _sentence(error: jsonschema.ValidationError) -> str:
    if error.validator == 'required':
        missing = [key for key in error.validator_value if key not in error.instance]
        return ' and '.join(f'"{key}"' for key in missing) + ' must be given'
    key = ''.join(f'[{part}]' if isinstance(part, int) else str(part) for part in error.path)
    allowed = {
        'type': 'must be of type {}', 'enum': 'must be one of {}', 'minimum': 'must be at least {}',
        'maximum': 'must be at most {}', 'exclusiveMinimum': 'must be above {}',
        'minItems': 'must have at least {} entries', 'maxItems': 'must have at most {} entries',
        'uniqueItems': 'must not repeat an entry', 'minLength': 'must not be empty',
    }[error.validator].format(error.validator_value)
    top = _schema()['properties'].get(str(error.path[0]), {}) if error.path else {}
    return f'"{key}" is {_short(error.instance)}, but {allowed}. {top.get("description", "")}'


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + '...'


def _unknown_parser(parser: str) -> str:
    supported = 'supported are: ' + ', '.join(PARSERS)
    if parser in OTHER_TROS_PARSERS:
        return (f'"dnn_Parser" is "{parser}", a parser of TROS for models that this node does not '
                f'run; {supported}')
    close = get_close_matches(parser, PARSERS, 1)
    hint = f'did you mean "{close[0]}"? ' if close else ''
    return f'"dnn_Parser" is {_short(parser)}, which is unknown; {hint}{supported}'


def _class_names(values: Dict[str, Any], near: Optional[Path],
                 counted: bool) -> Tuple[Tuple[str, ...], List[str]]:
    """Class names and what is wrong with them; ``counted`` says that "class_num" is sound."""
    class_num, name = values.get('class_num', 80), values.get('cls_names_list')
    if name is None:
        return default_labels(class_num), []
    path = find_file(name, search_dirs(near))
    if path is None:
        return (), [_missing_file('cls_names_list', name, near)]
    try:
        names = read_labels(path)
    except ConfigError as error:
        return (), [f'"cls_names_list": {"; ".join(error.problems)}']
    problem = check_labels(names, class_num, name) if counted else None
    return names, [problem] if problem else []


def _cross_problems(values: Dict[str, Any]) -> List[str]:
    """What no single key shows."""
    parser, problems = PARSERS[values['dnn_Parser']], []
    strides = values.get('strides', parser.strides)
    counts = parser.output_counts(len(strides))
    count = values.get('model_output_count', counts[0])
    if count not in counts:
        problems.append(
            f'"model_output_count" is {count}, but "{values["dnn_Parser"]}" with {len(strides)} '
            f'strides has {" or ".join(map(str, counts))} outputs')
    order = values.get('output_order')
    if order is not None and (len(order) not in counts
                              or sorted(order) != list(range(len(order)))):
        problems.append(f'"output_order" is {order}, but must name each output index once, from 0 '
                        f'to {" or ".join(str(n - 1) for n in counts)}')
    anchors = values.get('anchors_table')
    if anchors is not None and [len(anchors[0])] * len(strides) != list(map(len, anchors)):
        problems.append(f'"anchors_table" has levels of {list(map(len, anchors))} anchors, but '
                        f'must have {len(strides)} levels ("strides"), all with as many anchors')
    return problems


def _file_problems(values: Dict[str, Any], near: Optional[Path],
                   require_model: bool) -> List[str]:
    """Named files that do not exist; one of the model and its fallback is enough."""
    dirs = search_dirs(near)
    missing = [key for key in ('scales_file', 'vdsp_params')
               if key in values and find_file(values[key], dirs) is None]
    models = [key for key in ('model_file', 'fallback_model_file') if key in values]
    if require_model and not any(find_model(values[key], dirs) for key in models):
        missing = models + missing
    return [_missing_file(key, values[key], near) for key in missing]


def _missing_file(key: str, name: str, near: Optional[Path]) -> str:
    places = ', '.join(dict.fromkeys(str(folder) for folder in search_dirs(near)))
    return f'"{key}" is {name!r}, but there is no such file; looked in: {places}'


def _build(values: Dict[str, Any], path: Optional[Path], names: Tuple[str, ...]) -> WorkConfig:
    parser = PARSERS[values['dnn_Parser']]
    known = {field.name for field in fields(WorkConfig)}
    taken = {key: _frozen(value) for key, value in values.items() if key in known}
    taken.setdefault('nms_top_k', values.get('top_k', parser.nms_top_k))
    for key in ('score_threshold', 'nms_threshold', 'strides'):
        taken.setdefault(key, getattr(parser, key))
    taken['num_mask'] = values.get('num_mask', 32) if parser.has_masks else None
    if parser.reg_max:
        taken['reg_max'] = parser.reg_max
    return WorkConfig(**{**taken, 'parser': values['dnn_Parser'], 'path': path,
                         'class_names': names, 'warnings': tuple(_unknown_keys(values))})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _unknown_keys(values: Dict[str, Any]) -> List[str]:
    """TROS ignores keys that it does not know, so they are no error; but they are often a typo."""
    known = _schema()['properties']
    sentences = []
    for key in values:
        if key not in known and not key.startswith(('_', '$', '//')):
            close = get_close_matches(key, known, 1)
            hint = f'; did you mean "{close[0]}"?' if close else ''
            sentences.append(f'The work config has an unknown key "{key}", which is ignored{hint}')
    return sentences
