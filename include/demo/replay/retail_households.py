"""What households tell about themselves: some join during the year, change, withdraw and come back."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from include.demo.replay.chance import Chance, Keys
from include.demo.replay.retail_products import DAY_US
from include.demo.replay.statements import Transaction, delete, insert, literals, tuples, update

_NAME = "demographics"
_TOLD_BEFORE = 0.4
_CHANGED = 0.35
_WITHDRAWN = 0.05
_TURNABLE = ("income", "home_ownership", "marital_status", "household_size", "kids_count")


class Households:
    """How the table of demographics comes about.

    Args:
        table: The real rows of the slice.
        everyone: The real rows of all; a household's earlier state is borrowed from another.
        chance: Decides who tells, changes and withdraws, and when.
        start_us: When the shop opens.
    """

    def __init__(self, table: pa.Table, everyone: pa.Table, chance: Chance, start_us: int) -> None:
        self._table, self._columns = table, table.column_names
        self._keys: Keys = table.column("household_id").to_numpy().astype(np.int64)
        before = chance.share("told before", self._keys) < _TOLD_BEFORE
        self._told_us = start_us + np.where(before, 0, self._span(chance, "told", 250)).astype(np.int64)
        self._changed_us = self._told_us + DAY_US + self._span(chance, "changes", 60)
        self._left_us = self._changed_us + DAY_US + self._span(chance, "withdraws", 30)
        self._back_us = self._left_us + DAY_US + self._span(chance, "comes back", 20)
        self._withdraws = chance.share("withdrawn", self._keys) < _WITHDRAWN
        self._start_us = start_us
        self._turn = chance.below("what changes", len(_TURNABLE), self._keys)
        self._first, self._changes = self._earlier(everyone, chance)

    def _span(self, chance: Chance, purpose: str, days: int) -> Keys:
        return (chance.share(purpose, self._keys) * days * DAY_US).astype(np.int64)

    def _earlier(self, everyone: pa.Table, chance: Chance) -> tuple[pa.Table, "np.ndarray"]:
        """The table as it was told first, and which rows of it differ from the real ones."""
        other = pa.array(chance.below("as another", everyone.num_rows, self._keys))
        chosen = chance.share("changed", self._keys) < _CHANGED
        first, changes = self._table, np.zeros(len(self._keys), bool)
        for number, name in enumerate(_TURNABLE):
            real = self._table.column(name).to_pylist()
            borrowed = everyone.column(name).take(other).to_pylist()
            turns = chosen & (self._turn == number)
            turns &= np.array([a != b for a, b in zip(real, borrowed, strict=True)], bool)
            values = [b if turn else a for a, b, turn in zip(real, borrowed, turns, strict=True)]
            field = self._table.schema.field(name)
            first = first.set_column(first.column_names.index(name), field, pa.array(values, field.type))
            changes |= turns
        return first, changes

    def at_opening(self) -> pa.Table:
        """What was told before anything happens."""
        return self._first.filter(pa.array(self._told_us == self._start_us))

    def transactions(self) -> Iterator[Transaction]:
        """Each household by itself."""
        yield from sorted(self._each(), key=lambda one: one.at_us)

    def _each(self) -> Iterator[Transaction]:
        if not len(self._keys):
            return
        first, real = (tuples(table.combine_chunks().to_batches()[0]) for table in (self._first, self._table))
        texts = {name: literals(self._table.column(name).combine_chunks()).to_pylist() for name in _TURNABLE}
        for place, key in enumerate(self._keys.tolist()):
            where = ["household_id"], [str(key)]
            if self._told_us[place] > self._start_us:
                yield self._at(self._told_us[place], insert(_NAME, self._columns, [first[place]]))
            if self._changes[place]:
                name = _TURNABLE[self._turn[place]]
                text = update(_NAME, [name], [texts[name][place]], *where)
                yield self._at(self._changed_us[place], text)
            if self._withdraws[place]:
                yield self._at(self._left_us[place], delete(_NAME, *where))
                yield self._at(self._back_us[place], insert(_NAME, self._columns, [real[place]]))

    @staticmethod
    def _at(at_us: np.int64, text: str) -> Transaction:
        return Transaction(int(at_us), text, 1)
