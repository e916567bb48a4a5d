"""Random numbers that are the same on every machine and for every numpy version.

numpy guarantees the raw output of a bit generator, not that of `Generator`'s distributions, and normal variates go through the
platform's exp and log. So everything random in a phantom comes from raw PCG64 output and exact arithmetic.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np


T = TypeVar("T")


class RandomStream:
    """An endless stream of random numbers named by a key of non-negative integers; other keys give independent streams."""

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence([int(part) for part in key]))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def integer(self, stop: int) -> int:
        """One of 0 .. stop - 1."""
        return min(int(self.uniform() * stop), stop - 1)

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def choice(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        if weights is None:
            return options[self.integer(len(options))]
        point, total = self.uniform() * sum(weights), 0.0
        for option, weight in zip(options, weights, strict=True):
            total += weight
            if point < total:
                return option
        return options[-1]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        options = list(options)
        for i in range(len(options) - 1, 0, -1):
            j = self.integer(i + 1)
            options[i], options[j] = options[j], options[i]
        return options

    def noise(self, *shape: int) -> np.ndarray:
        """Uniform noise in [-1, 1], float32, in steps of 1/127.5."""
        count = int(np.prod(shape))
        raw = self._bits.random_raw((count + 7) // 8).astype("<u8").view(np.uint8)[:count]
        return (raw.astype(np.float32) / np.float32(127.5) - np.float32(1.0)).reshape(shape)


__all__ = ["RandomStream"]
