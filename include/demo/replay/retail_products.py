"""Products: those that are new are entered the day before they first sell, and some sizes only later."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.demo.replay.chance import Chance
from include.demo.replay.statements import Transaction, insert, literals, tuples, update

Numbers = npt.NDArray[np.int64]

DAY_US = 86_400_000_000
HOUR_US = DAY_US // 24
# A product that sold in the first weeks was there before; of the others not all were new.
_KNOWN_DAYS = 28
_NEW = 0.5
_SIZE_LATER = 0.005


class Products:
    """How the product table comes about.

    Args:
        table: The real products.
        sold: Numbers of those that anyone bought, ascending.
        sold_at_us: When each was bought first.
        chance: Decides which are new, and which sizes are entered later.
        start_us: When the shop opens.
    """

    def __init__(
        self, table: pa.Table, sold: Numbers, sold_at_us: Numbers, chance: Chance, start_us: int
    ) -> None:
        self._numbers = table.column("product_id").to_numpy().astype(np.int64)
        self._entered_us = self._entries(sold, sold_at_us, chance, start_us)
        self._later = (chance.share("size later", self._numbers) < _SIZE_LATER) & (
            pc.is_valid(table.column("package_size")).to_numpy()
        )
        left_us = start_us + 365 * DAY_US - self._entered_us
        self._sized_us = self._entered_us + HOUR_US
        self._sized_us += (chance.share("size after", self._numbers) * left_us).astype(np.int64)
        self._start_us, self._table = start_us, table
        sizes = pc.if_else(pa.array(self._later), None, table.column("package_size").combine_chunks())
        place = table.schema.get_field_index("package_size")
        self._first = table.set_column(place, "package_size", sizes)
        #: Numbers of products that no one buys in the year.
        self.never_sold = np.setdiff1d(self._numbers, sold)

    def _entries(self, sold: Numbers, sold_at_us: Numbers, chance: Chance, start_us: int) -> Numbers:
        place = np.searchsorted(sold, self._numbers)
        known = place < len(sold)
        known[known] = sold[place[known]] == self._numbers[known]
        first_us = np.full(len(self._numbers), start_us)
        first_us[known] = sold_at_us[place[known]]
        new = (first_us >= start_us + _KNOWN_DAYS * DAY_US) & (chance.share("new", self._numbers) < _NEW)
        entered_us: Numbers = np.where(new, first_us // DAY_US * DAY_US - 19 * HOUR_US, start_us)
        return entered_us

    def at_opening(self) -> pa.Table:
        """The products that are there before anything happens."""
        return self._first.filter(pa.array(self._entered_us == self._start_us))

    def transactions(self) -> Iterator[Transaction]:
        """New products, all of a day at once; then the sizes that were missing, one by one."""
        found = [*self._new(), *self._sizes()]
        found.sort(key=lambda one: one.at_us)
        yield from found

    def _new(self) -> Iterator[Transaction]:
        places = np.flatnonzero(self._entered_us > self._start_us)
        places = places[np.argsort(self._entered_us[places], kind="stable")]
        rows = tuples(self._first.take(pa.array(places)).combine_chunks().to_batches()[0])
        moments = self._entered_us[places]
        for at_us in np.unique(moments).tolist():
            low, high = np.searchsorted(moments, [at_us, at_us + 1])
            text = insert("products", self._table.column_names, rows[low:high])
            yield Transaction(at_us, text, int(high - low))

    def _sizes(self) -> Iterator[Transaction]:
        places = np.flatnonzero(self._later)
        sizes = (
            literals(self._table.column("package_size").combine_chunks()).take(pa.array(places)).to_pylist()
        )
        for place, size in zip(places.tolist(), sizes, strict=True):
            key = [str(self._numbers[place])]
            text = update("products", ["package_size"], [size], ["product_id"], key)
            yield Transaction(int(self._sized_us[place]), text, 1)
