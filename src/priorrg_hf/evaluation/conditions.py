"""The same example rows under other conditions: with inputs hidden or changed when a row is read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any


Row = dict[str, Any]
Change = Callable[[Row], Row]


class ChangedExamples:
    """Example rows with a change applied when they are read; a table like the one it wraps."""

    def __init__(self, examples, change: Change | None, indices: Sequence[int] | None = None):
        self.examples, self.change = examples, change
        self.indices = list(indices) if indices is not None else None
        self.column_names = examples.column_names

    def __len__(self) -> int:
        return len(self.examples) if self.indices is None else len(self.indices)

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key):
        if isinstance(key, str):
            column = self.examples[key]
            return list(column) if self.indices is None else [column[index] for index in self.indices]
        row = dict(self.examples[key if self.indices is None else self.indices[key]])
        return row if self.change is None else self.change(row)


def without_prior(row: Row) -> Row:
    return {**row, "prior_image": None, "prior_view_position": None}


def without_context(row: Row) -> Row:
    return {**row, "indication": None, "history": None}


# name -> what is done to each row (`None`: nothing)
CONDITIONS: dict[str, Change | None] = {
    "all inputs": None,
    "without prior": without_prior,
    "without context": without_context,
    "image alone": lambda row: without_context(without_prior(row)),
}


__all__ = ["CONDITIONS", "Change", "ChangedExamples", "Row", "without_context", "without_prior"]
