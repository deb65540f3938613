"""A progress bar where somebody watches."""

from typing import Iterable, Optional, TypeVar

Item = TypeVar('Item')


def progress(items: Iterable[Item], description: str, total: Optional[int] = None,
             unit: str = 'picture') -> Iterable[Item]:
    """The items, with a bar on a terminal if tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, description, total, unit=unit, disable=None)
