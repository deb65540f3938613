"""Results as Markdown."""
from __future__ import annotations


class Table:
    """A titled table; numbers are rounded to three digits."""

    def __init__(self, title: str, columns: tuple[str, ...]) -> None:
        self.title, self.columns = title, columns
        self.rows: list[tuple] = []

    def add(self, *values: object) -> None:
        """Append a row."""
        self.rows.append(values)

    def column(self, name: str) -> list:
        """All values of a column."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def markdown(self) -> str:
        """Title and table."""
        lines = [self.columns, ['---'] * len(self.columns), *self.rows]
        return '\n'.join([f'### {self.title}', '', *(
            '| ' + ' | '.join(map(_text, line)) + ' |' for line in lines)])


def _text(value: object) -> str:
    return f'{value:.3g}' if isinstance(value, float) else str(value)
