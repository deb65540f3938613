"""Many bags: one after the other, or spread over a Dask cluster."""

from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Sequence

from ..config import WorkConfig
from ..errors import YoloSegError
from .errors import ToolError, optional_module
from .progress import progress
from .replay_bag import ReplayOptions, ReplayReport, replay

CONNECT_SECS = 10


class Outcome(NamedTuple):
    """What became of one bag: a report, or the sentence that says why there is none."""

    bag: Path
    report: Optional[ReplayReport]
    error: str = ''


def replay_many(config: WorkConfig, bags: Sequence[Path], folder: Path, options: ReplayOptions,
                scheduler: Optional[str] = None) -> Iterator[Outcome]:
    """Replay each bag to a bag of its own name in a folder; one that fails does not stop others.

    :param scheduler: address of a Dask scheduler. Its workers have this package, and see config,
        model, bags and folder under the same paths.
    :raises ToolError: two bags have one name, or the cluster cannot be reached.
    """
    names = [bag.name if bag.is_dir() else bag.stem for bag in bags]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ToolError(f'Several bags are called {", ".join(twice)}, but each result bag needs a '
                        'name of its own; replay them into different folders.')
    work = [(config, bag, folder / name, options) for bag, name in zip(bags, names)]
    done = map(_outcome, work) if scheduler is None else _on_cluster(scheduler, work)
    yield from progress(done, 'bags', len(bags), unit='bag')


def _outcome(work) -> Outcome:
    config, bag, out, options = work
    try:
        return Outcome(bag, replay(config, bag, out, options))
    # As a sentence, because errors with several fields do not survive the way back to the client.
    except YoloSegError as error:
        return Outcome(bag, None, str(error))


def _on_cluster(scheduler: str, work: Sequence) -> Iterator[Outcome]:
    distributed = optional_module('distributed', 'dask')
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_SECS)
    except (OSError, ValueError) as error:
        raise ToolError(f'The Dask scheduler {scheduler!r} cannot be reached: {error}') from None
    with client:
        futures = client.map(_outcome, work, pure=False)
        for future in distributed.as_completed(futures):
            yield future.result()
