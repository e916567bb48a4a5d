"""Batches of studies of similar text length, shuffled anew each epoch, the same after a resume."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler


def text_lengths(dataset: Sequence[Mapping]) -> list[int]:
    """Characters of context and findings of each example row: close enough to tokens to bucket by, and free to count."""
    columns = ("indication", "history", "findings")
    rows: Any = dataset
    if hasattr(rows, "select_columns"):  # datasets.Dataset: leaves the images alone
        rows = rows.select_columns([name for name in columns if name in rows.column_names])
    return [sum(len(row.get(name) or "") for name in columns) for row in rows]


class LengthBucketSampler(Sampler[int]):
    """A permutation of the examples in which those of one batch have similar lengths.

    All examples are shuffled, cut into chunks of 50 batches, and sorted by length within each chunk; then the batches are
    shuffled. The order depends on `seed` and the epoch alone. The longest batch comes first, so that memory runs out at once or not
    at all.

    Args:
        lengths (`list[int]`): length of each example.
        batch_size (`int`): examples that should be alike: batch size times accumulation times processes.
        seed (`int`): seed of the shuffling.
    """

    chunk_batches = 50

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int = 42):
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        chunk = self.batch_size * self.chunk_batches
        batches = []
        for start in range(0, len(order), chunk):
            ordered = sorted(order[start : start + chunk], key=self.lengths.__getitem__, reverse=True)
            batches += [ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)]
        # An incomplete batch stays last, otherwise every batch after it would straddle two buckets.
        last = [batches.pop()] if batches and len(batches[-1]) < self.batch_size else []
        batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        if batches:
            longest = max(range(len(batches)), key=lambda i: self.lengths[batches[i][0]])
            batches.insert(0, batches.pop(longest))
        return iter([index for batch in batches + last for index in batch])


__all__ = ["LengthBucketSampler", "text_lengths"]
