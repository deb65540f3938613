"""One file per runtime; ``open_runtime`` is the only entrance.

To add a runtime: write its file and add one line to ``RUNTIMES``.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Tuple, Type

from ..errors import ConfigError, ModelError, RuntimeMissingError
from .base import Runtime
from .hbm_runtime import HbmRuntime
from .hobot_dnn import HobotDnnRuntime
from .onnxruntime import OnnxRuntime
from .recorded import RecordedRuntime
from .vaststreamx import VaststreamxRuntime

if TYPE_CHECKING:
    from ..config import WorkConfig

__all__ = ['RUNTIMES', 'Runtime', 'RuntimeChoice', 'choose_runtime', 'open_runtime']

# Where several take the same model file, "auto" tries them in this order.
RUNTIMES: Dict[str, Type[Runtime]] = {
    'onnxruntime': OnnxRuntime,
    'hbm_runtime': HbmRuntime,
    'hobot_dnn': HobotDnnRuntime,
    'vaststreamx': VaststreamxRuntime,
    'recorded': RecordedRuntime,
}


class RuntimeChoice(NamedTuple):
    """The runtime that a machine will use, and the model file that it will open.

    ``fallback_reason`` tells why the fallback model is taken; it is empty for ``model_file``.
    """

    runtime: Type[Runtime]
    path: Path
    fallback_reason: str = ''


def choose_runtime(config: 'WorkConfig') -> RuntimeChoice:
    """Decide by the work config, the model file and what is installed, without opening the model.

    The fallback model is only for machines that lack what ``model_file`` needs: a broken model, or
    a missing one on a machine that could run it, is an error even where there is a fallback.

    :raises ConfigError: the model file does not exist.
    :raises RuntimeMissingError: nothing here runs the model, and no fallback is named.
    :raises ModelError: no runtime takes the model file.
    """
    runtime, refusals = _first_installed(_candidates(config))
    if runtime:
        return RuntimeChoice(runtime, config.model_path())
    if config.fallback_model_file is not None:
        path = config.model_path('fallback_model_file')
        runtime, more = _first_installed(_takers(path))
        if runtime:
            return RuntimeChoice(runtime, path, '; '.join(refusals))
        refusals += more
    lines = ''.join(f'\n  - {refusal}' for refusal in refusals)
    raise RuntimeMissingError(
        f'No runtime on this machine runs {config.model_file!r}; install one, or name a model for '
        f'this machine, as a rule an .onnx, in "fallback_model_file":{lines}')


def open_runtime(config: 'WorkConfig') -> Runtime:
    """Open the model of a work config with the runtime of ``choose_runtime``.

    :raises ConfigError: the model file does not exist.
    :raises ModelError: no runtime takes it, or its runtime cannot open it.
    """
    choice = choose_runtime(config)
    runtime = choice.runtime(config, choice.path)
    runtime.path = choice.path
    if choice.fallback_reason:
        runtime.effective += f', fallback {choice.path.name} ({choice.fallback_reason})'
    return runtime


def _candidates(config: 'WorkConfig') -> List[Type[Runtime]]:
    """Runtimes that the work config allows for ``model_file``, best first."""
    path = _located(config, 'model_file')
    if config.runtime == 'auto':
        return _takers(path)
    runtime = RUNTIMES[config.runtime]
    if not runtime.takes(path):
        others = ', '.join(r.name for r in RUNTIMES.values() if r.takes(path)) or 'none'
        raise ModelError(f'"runtime" is {config.runtime!r}, which takes {runtime.files}, but '
                         f'"model_file" is {config.model_file!r}; runtimes for it: {others}.')
    return [runtime]


def _located(config: 'WorkConfig', key: str) -> Path:
    """The model, or its name where it does not exist: enough to tell which runtimes take it."""
    try:
        return config.model_path(key)
    except ConfigError:
        return Path(getattr(config, key))


def _takers(path: Path) -> List[Type[Runtime]]:
    takers = [runtime for runtime in RUNTIMES.values() if runtime.takes(path)]
    if not takers:
        known = ', '.join(f'{r.name} ({r.files})' for r in RUNTIMES.values())
        raise ModelError(f'No runtime is known for model files like {path.name!r}; known are '
                         f'{known}. Set "runtime".')
    return takers


def _first_installed(
        candidates: List[Type[Runtime]]) -> Tuple[Optional[Type[Runtime]], List[str]]:
    """The first runtime that this machine has, if any, and why the ones before it were refused."""
    refusals: List[str] = []
    for runtime in candidates:
        try:
            runtime.find_sdk()
            return runtime, refusals
        except RuntimeMissingError as error:
            refusals.append(f'{runtime.name}: {error}')
    return None, refusals
