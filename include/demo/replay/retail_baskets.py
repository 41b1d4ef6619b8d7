"""Baskets at the till: a transaction each, and what is corrected, taken back, voided and sent late."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.demo.replay.chance import Chance, Keys
from include.demo.replay.retail_products import DAY_US, HOUR_US
from include.demo.replay.statements import Transaction, delete, insertion, tuples, update

_NAME = "transactions"
_MISTYPED = 0.004  # of lines
_LATE = 0.005  # of baskets, as are those below
_SCANNED_TOO_MUCH = 0.01
_TWICE = 0.003
_MINUTE_US = 60_000_000
# A basket that is rung up twice: above all numbers that tills give out.
_SECOND = 10**12


def baskets(batches: Iterable[pa.RecordBatch], chance: Chance, never_sold: Keys) -> Iterator[Transaction]:
    """The baskets of a year and what follows from them, by time.

    Args:
        batches: The real lines by time; the lines of a basket follow each other and have one time.
        chance: Decides what goes wrong at the till.
        never_sold: Products that are in no basket: what is scanned by mistake.
    """
    till = _Till(chance, never_sold)
    held: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        table = table if held is None else pa.concat_tables([held, table]).combine_chunks()
        if not table.num_rows:
            continue
        numbers = table.column("basket_id").to_numpy()
        end = int(np.searchsorted(numbers[::-1] != numbers[-1], True))  # lines of the last basket
        held = table.slice(table.num_rows - end)
        yield from till.ring_up(table.slice(0, table.num_rows - end))
    if held is not None:
        yield from till.ring_up(held)
    yield from till.rest()


class _Till:
    """Turns lines into transactions; what is due later waits in a heap."""

    def __init__(self, chance: Chance, never_sold: Keys) -> None:
        self._chance, self._never_sold = chance, never_sold
        self._due: list[tuple[int, int, Transaction]] = []
        self._count = 0

    def ring_up(self, table: pa.Table) -> Iterator[Transaction]:
        """All transactions up to the last of these whole baskets, by time."""
        if not table.num_rows:
            return
        batch = table.combine_chunks().to_batches()[0]
        names = ("basket_id", "product_id", "transaction_timestamp")
        basket, product, moment_us = (batch.column(name).cast(pa.int64()).to_numpy() for name in names)
        starts = np.flatnonzero(np.concatenate([[True], basket[1:] != basket[:-1]]))
        ends = np.concatenate([starts[1:], [len(basket)]])
        at_us = moment_us[starts]
        late_us = self._lateness_us(basket[starts])
        rows = self._rows(batch, basket, product, np.repeat(at_us + late_us, ends - starts))
        begin = insertion(_NAME, batch.schema.names)
        incidents = self._incidents(batch, basket, starts, at_us + late_us)
        for place, (low, high) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            now_us = int(at_us[place])
            while self._due and self._due[0][0] <= now_us:
                yield heappop(self._due)[2]
            lines = rows[low:high]
            if place in incidents:
                lines = self._happens(*incidents[place], begin, lines, now_us + int(late_us[place]))
            one = Transaction(now_us + int(late_us[place]), begin + ",".join(lines), len(lines))
            if late_us[place]:
                self._later(one)
            else:
                yield one

    def rest(self) -> Iterator[Transaction]:
        """What is still due after the last basket."""
        while self._due:
            yield heappop(self._due)[2]

    def _later(self, one: Transaction) -> None:
        self._count += 1
        heappush(self._due, (one.at_us, self._count, one))

    def _lateness_us(self, basket: Keys) -> Keys:
        late = self._chance.share("late", basket) < _LATE
        return np.where(late, HOUR_US + (self._chance.share("how late", basket) * 3 * DAY_US), 0).astype(
            np.int64
        )

    def _rows(self, batch: pa.RecordBatch, basket: Keys, product: Keys, at_us: Keys) -> list[str]:
        """The lines as they are entered; those that are not right are put right later."""
        wrong = self._chance.share("mistyped line", basket, product) < _MISTYPED
        if not wrong.any():
            return tuples(batch)
        wait_us = HOUR_US + (self._chance.share("put right line", basket, product) * 5 * DAY_US).astype(
            np.int64
        )
        kept = batch.filter(pa.array(wrong))
        names = ["quantity", "retail_disc"]
        right = zip(*(kept.column(name).cast(pa.string()).to_pylist() for name in names), strict=True)
        for place, values in zip(np.flatnonzero(wrong).tolist(), right, strict=True):
            key = [str(basket[place]), str(product[place])]
            text = update(_NAME, names, values, ["basket_id", "product_id"], key)
            self._later(Transaction(int(at_us[place] + wait_us[place]), text, 1))
        return tuples(_mistyped(batch, wrong))

    def _incidents(
        self, batch: pa.RecordBatch, basket: Keys, starts: npt.NDArray[np.intp], at_us: Keys
    ) -> dict[int, tuple[str, str, int]]:
        """By place of a basket: a row of its kind, what takes it back, when; for those where there is one."""
        numbers = basket[starts]
        too_much = self._chance.share("too much", numbers) < _SCANNED_TOO_MUCH
        twice = (self._chance.share("twice", numbers) < _TWICE) & ~too_much
        wait_us = _MINUTE_US + (self._chance.share("taken back", numbers) * HOUR_US).astype(np.int64)
        found: dict[int, tuple[str, str, int]] = {}
        for place in np.flatnonzero(twice).tolist():
            undo = delete(_NAME, ["basket_id"], [str(numbers[place] + _SECOND)])
            found[place] = ("", undo, int(at_us[place] + wait_us[place]))
        places = np.flatnonzero(too_much)
        other = self._never_sold[self._chance.below("what", len(self._never_sold), numbers[places])]
        first = batch.take(pa.array(starts[places]))
        column = batch.schema.get_field_index("product_id")
        scanned = first.set_column(column, batch.schema.field(column), pa.array(other.astype(np.int32)))
        for place, product, row in zip(places.tolist(), other.tolist(), tuples(scanned), strict=True):
            undo = delete(_NAME, ["basket_id", "product_id"], [str(numbers[place]), str(product)])
            found[place] = (row, undo, int(at_us[place] + wait_us[place]))
        return found

    def _happens(
        self, row: str, undo: str, undo_us: int, begin: str, lines: list[str], at_us: int
    ) -> list[str]:
        """The lines of a basket with what is too much in it; or the same basket once more, soon after."""
        if row:
            self._later(Transaction(undo_us, undo, 1))
            return [*lines, row]
        self._later(Transaction(undo_us, undo, len(lines)))
        again = [_renumbered(line) for line in lines]
        self._later(Transaction(at_us + _MINUTE_US // 2, begin + ",".join(again), len(lines)))
        return lines


def _mistyped(batch: pa.RecordBatch, wrong: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    mask = pa.array(wrong)
    for name, instead in (("quantity", None), ("retail_disc", 0)):
        place = batch.schema.get_field_index(name)
        real = batch.column(place)
        other = (
            pc.add(real, pa.scalar(2, real.type))
            if instead is None
            else pa.scalar(Decimal(instead), real.type)
        )
        batch = batch.set_column(place, batch.schema.field(place), pc.if_else(mask, other, real))
    return batch


def _renumbered(line: str) -> str:
    """A line of the second time that a basket is rung up; the basket's number is its third value."""
    household, store, basket, rest = line.split(",", 3)
    return f"{household},{store},{int(basket) + _SECOND},{rest}"
