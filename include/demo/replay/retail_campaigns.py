"""Campaigns: each begins with its coupons and households; some mistakes are undone, some ends are put off."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.demo.replay.chance import Chance, Keys
from include.demo.replay.retail_products import DAY_US, HOUR_US
from include.demo.replay.statements import Transaction, delete, insert, literals, tuples, update

_EXTENDED = 0.3
_EXTENSION = timedelta(days=7)
_BY_MISTAKE = 0.003
_WRONG_PRODUCT = 0.002
_MISTYPED = 0.03
# Households are numbered from 1; the shop keeps no table of them.
_HOUSEHOLDS = 2_500


def _days_us(dates: pa.ChunkedArray) -> Keys:
    days: Keys = dates.cast(pa.int32()).to_numpy().astype(np.int64)
    return days * DAY_US


def _numbers(table: pa.Table, name: str) -> Keys:
    numbers: Keys = table.column(name).to_numpy().astype(np.int64)
    return numbers


class Campaigns:
    """How the tables of campaigns come about.

    Args:
        descriptions: The real campaigns.
        coupons: The real coupons.
        sent: Which households of the slice a campaign was really sent to.
        households: The highest number of the slice's households, None for all.
        chance: Decides what is mistaken and put off.
        start_us: When the shop opens.
    """

    def __init__(
        self,
        descriptions: pa.Table,
        coupons: pa.Table,
        sent: pa.Table,
        households: int | None,
        chance: Chance,
        start_us: int,
    ) -> None:
        self._descriptions, self._chance, self._start_us = descriptions, chance, start_us
        self._numbers = _numbers(descriptions, "campaign_id")
        begins_us = _days_us(descriptions.column("start_date")) + 6 * HOUR_US
        self._begins_us = np.maximum(begins_us, start_us)
        self._extended = chance.share("extended", self._numbers) < _EXTENDED
        self._coupons, self._right = self._mistaken_coupons(coupons)
        self._mistakes = self._mistaken_households(sent, households)
        self._sent = pa.concat_tables([sent, self._mistakes])

    def _mistaken_coupons(self, coupons: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The coupons as they are entered, and the real rows of those that are wrong."""
        wrong = self._chance.share("wrong coupon", _numbers(coupons, "coupon_line_id")) < _WRONG_PRODUCT
        mask = pa.array(wrong)
        real = coupons.column("product_id").combine_chunks()
        entered = pc.if_else(mask, pc.add(real, pa.scalar(1, real.type)), real)
        place = coupons.column_names.index("product_id")
        field = coupons.schema.field("product_id")
        return coupons.set_column(place, field, entered), coupons.filter(mask)

    def _mistaken_households(self, sent: pa.Table, households: int | None) -> pa.Table:
        everyone = np.arange(1, min(_HOUSEHOLDS, households or _HOUSEHOLDS) + 1)
        campaign = np.repeat(self._numbers, len(everyone))
        household = np.tile(everyone, len(self._numbers))
        chosen = self._chance.share("by mistake", campaign, household) < _BY_MISTAKE
        really = _numbers(sent, "campaign_id") * 2**32 + _numbers(sent, "household_id")
        chosen &= ~np.isin(campaign * 2**32 + household, really)
        columns = [campaign[chosen].astype(np.int32), household[chosen].astype(np.int32)]
        return pa.Table.from_arrays([pa.array(column) for column in columns], schema=sent.schema)

    def _first(self) -> pa.Table:
        """The campaigns as they are announced: some are to end earlier than they will."""
        ends = self._descriptions.column("end_date").to_pylist()
        first = [end - _EXTENSION if put else end for end, put in zip(ends, self._extended, strict=True)]
        place = self._descriptions.column_names.index("end_date")
        field = self._descriptions.schema.field("end_date")
        return self._descriptions.set_column(place, field, pa.array(first, field.type))

    def at_opening(self) -> dict[str, pa.Table]:
        """The campaigns that are under way, by table, a referred one before those that refer to it."""
        under_way = pa.array(self._numbers[self._begins_us == self._start_us])
        tables = {
            "campaign_descriptions": self._first(),
            "coupons": self._coupons,
            "campaigns": self._sent,
        }
        return {
            name: table.filter(pc.is_in(table.column("campaign_id").cast(pa.int64()), under_way))
            for name, table in tables.items()
        }

    def transactions(self) -> Iterator[Transaction]:
        """Beginnings, then what is put right."""
        found = [*self._beginnings(), *self._extensions(), *self._corrections(), *self._removals()]
        yield from sorted(found, key=lambda one: one.at_us)

    def _beginnings(self) -> Iterator[Transaction]:
        tables = {
            "campaign_descriptions": self._first(),
            "coupons": self._coupons,
            "campaigns": self._sent,
        }
        for number, at_us in zip(self._numbers.tolist(), self._begins_us.tolist(), strict=True):
            if at_us == self._start_us:
                continue
            texts, count = [], 0
            for name, table in tables.items():
                own = table.filter(pc.equal(table.column("campaign_id"), number)).combine_chunks()
                if own.num_rows:
                    texts.append(insert(name, own.column_names, tuples(own.to_batches()[0])))
                    count += own.num_rows
            yield Transaction(at_us, ";".join(texts), count)

    def _extensions(self) -> Iterator[Transaction]:
        ends = literals(self._descriptions.column("end_date").combine_chunks()).to_pylist()
        for place in np.flatnonzero(self._extended).tolist():
            key = [str(self._numbers[place])]
            text = update("campaign_descriptions", ["end_date"], [ends[place]], ["campaign_id"], key)
            yield Transaction(int(self._begins_us[place]) + 10 * DAY_US, text, 1)

    def _corrections(self) -> Iterator[Transaction]:
        begins_us = dict(zip(self._numbers.tolist(), self._begins_us.tolist(), strict=True))
        for row in self._right.to_pylist():
            line = str(row["coupon_line_id"])
            text = update("coupons", ["product_id"], [str(row["product_id"])], ["coupon_line_id"], [line])
            yield Transaction(begins_us[row["campaign_id"]] + 2 * DAY_US, text, 1)

    def _removals(self) -> Iterator[Transaction]:
        begins_us = dict(zip(self._numbers.tolist(), self._begins_us.tolist(), strict=True))
        for row in self._mistakes.to_pylist():
            key = [str(row["campaign_id"]), str(row["household_id"])]
            text = delete("campaigns", ["campaign_id", "household_id"], key)
            yield Transaction(begins_us[row["campaign_id"]] + 3 * DAY_US, text, 1)


def redemptions(table: pa.Table, chance: Chance) -> Iterator[Transaction]:
    """Coupons that households redeem; some numbers are mistyped, and the key of the row is put right later.

    Args:
        table: The real redemptions.
        chance: Decides at what time of the day, and which are mistyped.
    """
    if not table.num_rows:
        return
    numbers = [_numbers(table, name) for name in ("household_id", "coupon_upc", "campaign_id")]
    at_us = _days_us(table.column("redemption_date")) + 9 * HOUR_US
    at_us += (chance.share("redeemed", *numbers) * 12 * HOUR_US).astype(np.int64)
    mistyped = chance.share("mistyped", *numbers) < _MISTYPED
    right_us = at_us + HOUR_US + (chance.share("put right", *numbers) * 2 * DAY_US).astype(np.int64)
    real = table.column("coupon_upc").combine_chunks()
    entered = pc.if_else(pa.array(mistyped), pc.add(real, pa.scalar(1, real.type)), real)
    first = table.set_column(
        table.column_names.index("coupon_upc"), table.schema.field("coupon_upc"), entered
    )
    names = table.column_names
    columns = [literals(column.combine_chunks()).to_pylist() for column in first.columns]
    found = [
        Transaction(int(at_us[place]), insert("coupon_redemptions", names, [row]), 1)
        for place, row in enumerate(tuples(first.combine_chunks().to_batches()[0]))
    ]
    for place in np.flatnonzero(mistyped).tolist():
        key = [column[place] for column in columns]
        text = update("coupon_redemptions", ["coupon_upc"], [str(real[place])], names, key)
        found.append(Transaction(int(right_us[place]), text, 1))
    yield from sorted(found, key=lambda one: one.at_us)
