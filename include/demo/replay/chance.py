"""Chance that is the same each time: a number drawn for a thing depends on the seed and the thing alone.

So a household's year is the same in every slice of the data, and a replay that goes on draws what it drew.
"""

import hashlib

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
_UNIT = 2.0**-53


class Chance:
    """Draws for things that are named by whole numbers.

    Args:
        seed: Another one gives another year, of the same rows in the end.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def share(self, purpose: str, *keys: Keys) -> npt.NDArray[np.float64]:
        """A number in [0, 1) for each thing.

        Args:
            purpose: What is decided; each purpose draws anew.
            keys: Parts of the things' names, of equal length.
        """
        return (self._bits(purpose, *keys) >> np.uint64(11)).astype(np.float64) * _UNIT

    def below(self, purpose: str, bound: int, *keys: Keys) -> npt.NDArray[np.int64]:
        """A whole number in [0, bound) for each thing."""
        return np.minimum((self.share(purpose, *keys) * bound).astype(np.int64), bound - 1)

    def _bits(self, purpose: str, *keys: Keys) -> npt.NDArray[np.uint64]:
        digest = hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()
        state = np.full(len(keys[0]), int.from_bytes(digest[:8], "little"), np.uint64)
        for key in keys:
            state = _mixed(state ^ key.astype(np.uint64))
        return state


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64: every bit of the outcome depends on every bit of the value."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
