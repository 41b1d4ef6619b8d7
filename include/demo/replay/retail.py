"""The retailer's year as it would have come about: what `operational.load` holds, transaction by transaction.

Not all of it is right the first time, and some of it changes: tills are corrected and voided, a till that was
offline sends its baskets days later, households tell of themselves, change, withdraw; campaigns are extended
and sent to households by mistake; products are entered when they are new. Every invented state is replaced by
the real one, so that after the last transaction the tables hold exactly the real data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa

from include.demo import complete_journey
from include.demo.complete_journey import WHOLE, Slice
from include.demo.copying import copy_rows
from include.demo.replay.chance import Chance
from include.demo.replay.engine import Progress
from include.demo.replay.retail_baskets import baskets
from include.demo.replay.retail_campaigns import Campaigns, redemptions
from include.demo.replay.retail_households import Households
from include.demo.replay.retail_products import Products
from include.demo.replay.statements import Transaction
from include.ingestion.contracts import arrow_schema
from include.sources.retail import SOURCE

START_US = 1_483_228_800_000_000  # 2017-01-01
# Raised when the same seed gives other transactions than before.
EDITION = 1

_SCHEMA, _CONSTRAINTS = (Path(complete_journey.__file__).parent / "retail.sql").read_text().split("-- rows\n")


@dataclass(frozen=True)
class RetailYear:
    """The year 2017 of the shop.

    Args:
        part: Which households; the promotions are files, and no part of it.
        seed: What is mistaken, changed and late.
    """

    part: Slice = WHOLE
    seed: int = 1

    @property
    def identity(self) -> str:
        """Equal for plans of the same transactions."""
        return f"retail, {self.part.households or 'all'} households, seed {self.seed}, edition {EDITION}"

    @property
    def tables(self) -> tuple[str, ...]:
        """The seven tables of the shop."""
        return tuple(name for name in complete_journey.TABLES if name != "promotions")

    @property
    def starts_us(self) -> int:
        """The first midnight of the year."""
        return START_US

    def open(self, connection: psycopg.Connection, progress: Progress | None) -> int:
        """The shop on New Year's Eve: most products, the campaigns under way, some of the households."""
        connection.execute(_SCHEMA.encode())
        there = {
            "products": self._products.at_opening(),
            **self._campaigns.at_opening(),
            "demographics": self._households.at_opening(),
        }
        rows = sum(
            copy_rows(connection, name, table.schema, table.to_batches(), progress)
            for name, table in there.items()
        )
        connection.execute(_CONSTRAINTS.encode())
        return rows

    def transactions(self) -> Iterator[Transaction]:
        """What happens then, by time; of what happens at once, products first and baskets last."""
        streams = (
            self._products.transactions(),
            self._campaigns.transactions(),
            self._households.transactions(),
            redemptions(self._read("coupon_redemptions"), self._chance),
            baskets(self._batches("transactions"), self._chance, self._products.never_sold),
        )
        return merge(*streams, key=lambda one: one.at_us)

    @cached_property
    def _chance(self) -> Chance:
        return Chance(self.seed)

    @cached_property
    def _products(self) -> Products:
        sold, sold_at_us = _first_sales()
        return Products(self._read("products"), sold, sold_at_us, self._chance, START_US)

    @cached_property
    def _campaigns(self) -> Campaigns:
        return Campaigns(
            self._read("campaign_descriptions"),
            self._read("coupons"),
            self._read("campaigns"),
            self.part.households,
            self._chance,
            START_US,
        )

    @cached_property
    def _households(self) -> Households:
        return Households(
            self._read("demographics"), self._read("demographics", WHOLE), self._chance, START_US
        )

    def _batches(self, name: str, part: Slice | None = None) -> Iterator[pa.RecordBatch]:
        return complete_journey.read(name, arrow_schema(SOURCE.table(name)), part or self.part)

    def _read(self, name: str, part: Slice | None = None) -> pa.Table:
        schema = arrow_schema(SOURCE.table(name))
        return pa.Table.from_batches(self._batches(name, part), schema=schema).combine_chunks()


def _first_sales() -> tuple[np.ndarray, np.ndarray]:
    """Products that any household bought, ascending, and when for the first time."""
    schema = arrow_schema(SOURCE.table("transactions"))
    wanted = pa.schema([schema.field("product_id"), schema.field("transaction_timestamp")])
    table = pa.Table.from_batches(complete_journey.read("transactions", wanted, WHOLE), schema=wanted)
    products = table.column("product_id").to_numpy().astype(np.int64)
    times_us = table.column("transaction_timestamp").to_numpy().astype("datetime64[us]").astype(np.int64)
    sold, first = np.unique(products, return_index=True)  # rows are by time
    return sold, times_us[first]
