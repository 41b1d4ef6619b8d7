"""The year 2013 of New York's airports: what `nycflights.flights` holds, planned, departed, arrived.

The schedule of a day is entered the day before, a carrier at a time; what moves within a minute is one
transaction. Some planes are swapped, some numbers are planned by mistake, some delays are put right later: in
the end all is as it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from include.demo import nycflights
from include.demo.copying import copy_rows
from include.demo.replay.chance import Chance, Keys
from include.demo.replay.engine import Progress
from include.demo.replay.statements import Transaction, insert, literals, tuples

START_US = 1_356_998_400_000_000  # 2013-01-01
# Raised when the same seed gives other transactions than before.
EDITION = 1

_SCHEMA, _CONSTRAINTS = (Path(nycflights.__file__).parent / "flights.sql").read_text().split("-- rows\n")
_TABLE = "flights"
_KEY = ("flight_date", "carrier", "flight", "origin")
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US
_BLOCK = 50_000  # movements that are rendered at once
_SWAPPED = 0.03
_MISREAD = 0.005
_BY_MISTAKE = 0.001
# Numbers that no carrier gives out: what is planned by mistake.
_MISTAKEN = 20_000


@dataclass(frozen=True)
class _Move:
    """One kind of movement.

    Args:
        which: Places of the flights.
        at_us: When each moves.
        columns: What is set, by name, for each flight of the whole table; none for a deletion.
    """

    which: npt.NDArray[np.intp]
    at_us: Keys
    columns: dict[str, pa.Array]


@dataclass(frozen=True)
class FlightsYear:
    """The flights of a year.

    Args:
        carrier: Only this carrier's, None for all 16.
        seed: What is mistaken and changed.
    """

    carrier: str | None = None
    seed: int = 1

    @property
    def identity(self) -> str:
        """Equal for plans of the same transactions."""
        return f"flights, {self.carrier or 'all carriers'}, seed {self.seed}, edition {EDITION}"

    @property
    def tables(self) -> tuple[str, ...]:
        """The one table that lives."""
        return (_TABLE,)

    @property
    def starts_us(self) -> int:
        """The first midnight of the year."""
        return START_US

    def open(self, connection: psycopg.Connection, progress: Progress | None) -> int:
        """The schedule of the first day."""
        connection.execute(_SCHEMA.encode())
        first = self._planned.filter(pa.array(self._entered_us <= START_US))
        rows = copy_rows(connection, _TABLE, first.schema, first.to_batches(), progress)
        connection.execute(_CONSTRAINTS.encode())
        return rows

    def transactions(self) -> Iterator[Transaction]:
        """Schedules and movements, by time."""
        return merge(self._schedules(), self._movements(), key=lambda one: one.at_us)

    @cached_property
    def _real(self) -> pa.Table:
        return nycflights.flights(self.carrier)

    @cached_property
    def _planned(self) -> pa.Table:
        """All flights as they are planned: with other planes than at last, and with some that never were."""
        table = self._real
        unknown = {
            name: pa.nulls(table.num_rows, table.schema.field(name).type)
            for name in ("departed_at", "dep_delay", "arrived_at", "arr_delay", "air_time")
        }
        unknown["status"] = pa.array(["scheduled"] * table.num_rows)
        tails = table.column("tailnum").combine_chunks()
        other = tails.take(pa.array(self._chance.below("other plane", table.num_rows, *self._names)))
        unknown["tailnum"] = pc.if_else(pa.array(self._swapped), other, tails)
        planned = table
        for name, values in unknown.items():
            field = table.schema.field(name)
            planned = planned.set_column(table.column_names.index(name), field, values)
        mistaken = planned.take(pa.array(self._mistaken))
        numbers = pa.array(_MISTAKEN + np.arange(len(self._mistaken)) % 10_000, pa.int16())
        place = planned.column_names.index("flight")
        mistaken = mistaken.set_column(place, planned.schema.field("flight"), numbers)
        return pa.concat_tables([planned, mistaken]).combine_chunks()

    @cached_property
    def _chance(self) -> Chance:
        return Chance(self.seed)

    @cached_property
    def _names(self) -> tuple[Keys, Keys]:
        """Two numbers that name a flight: its planned moment, and its carrier, origin and number."""
        table = self._real
        text = pc.binary_join_element_wise(table.column("carrier"), table.column("origin"), "")
        letters = [int.from_bytes(one.encode(), "big") for one in text.to_pylist()]
        number = np.array(letters, np.int64) * 10_000 + table.column("flight").to_numpy()
        return self._us("scheduled_departure"), number

    @cached_property
    def _swapped(self) -> npt.NDArray[np.bool_]:
        return self._chance.share("swapped", *self._names) < _SWAPPED

    @cached_property
    def _mistaken(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(self._chance.share("by mistake", *self._names) < _BY_MISTAKE)

    @cached_property
    def _entered_us(self) -> Keys:
        """When each planned flight is entered: at noon of the day before, or before anything happens."""
        days: Keys = self._planned.column("flight_date").cast(pa.int32()).to_numpy().astype(np.int64)
        entered: Keys = np.maximum((days - 1) * _DAY_US + 12 * _HOUR_US, START_US)
        return entered

    def _us(self, name: str) -> Keys:
        stamps = pc.fill_null(self._real.column(name).cast(pa.int64()), 0)
        moments: Keys = stamps.to_numpy()
        return moments

    def _schedules(self) -> Iterator[Transaction]:
        carriers = self._planned.column("carrier").to_numpy(zero_copy_only=False).astype(str)
        names, carrier = np.unique(carriers, return_inverse=True)
        group = self._entered_us // _HOUR_US * len(names) + carrier
        order = np.argsort(group, kind="stable")
        order = order[self._entered_us[order] > START_US]
        cuts = np.flatnonzero(np.diff(group[order])) + 1
        for places in np.split(order, cuts) if len(order) else ():
            own = self._planned.take(pa.array(places)).combine_chunks().to_batches()[0]
            text = insert(_TABLE, own.schema.names, tuples(own))
            yield Transaction(int(self._entered_us[places[0]]), text, own.num_rows)

    def _moves(self) -> Iterator[_Move]:
        """In the order in which things of one minute happen."""
        table, names = self._real, self._names
        planned_us, arrived_us = self._us("scheduled_departure"), self._us("arrived_at")
        departed_us = self._us("departed_at")
        status = table.column("status").to_numpy(zero_copy_only=False).astype(str)
        flew, arrived = status != "cancelled", status == "arrived"
        landed = arrived_us > 0
        column = {name: table.column(name).combine_chunks() for name in table.column_names}
        swap = np.flatnonzero(self._swapped)
        yield _Move(swap, planned_us[swap] - 5 * _HOUR_US, {"tailnum": column["tailnum"]})
        some = np.flatnonzero(~flew)
        wait_us = (self._chance.share("cancelled", *names) * 4 * _HOUR_US).astype(np.int64)
        yield _Move(some, planned_us[some] - 2 * _HOUR_US + wait_us[some], {"status": column["status"]})
        some = np.flatnonzero(flew)
        off = pa.array(["departed"] * len(flew))
        setting = {"departed_at": column["departed_at"], "dep_delay": column["dep_delay"], "status": off}
        yield _Move(some, departed_us[some], setting)
        some = np.flatnonzero(flew & ~landed)
        yield _Move(some, departed_us[some] + 12 * _HOUR_US, {"status": column["status"]})
        some = np.flatnonzero(landed)
        misread = arrived & (self._chance.share("misread", *names) < _MISREAD)
        delay = column["arr_delay"]
        read = pc.if_else(pa.array(misread), pc.multiply(delay, pa.scalar(-1, delay.type)), delay)
        setting = {name: column[name] for name in ("arrived_at", "air_time", "status")}
        yield _Move(some, arrived_us[some], {**setting, "arr_delay": read})
        some = np.flatnonzero(misread)
        yield _Move(some, arrived_us[some] + 3 * _HOUR_US, {"arr_delay": delay})

    def _movements(self) -> Iterator[Transaction]:
        moves = list(self._moves())
        minute = np.concatenate([move.at_us // _MINUTE_US for move in moves])
        kind = np.repeat(np.arange(len(moves)), [len(move.which) for move in moves])
        which = np.concatenate([move.which for move in moves])
        order = np.lexsort((which, kind, minute))
        texts = self._removals()
        yield from merge(texts, self._minutes(moves, minute[order], kind[order], which[order]), key=_at)

    def _minutes(
        self, moves: list[_Move], minute: Keys, kind: Keys, which: npt.NDArray[np.intp]
    ) -> Iterator[Transaction]:
        begin = 0
        while begin < len(minute):
            # A block ends with a minute.
            end = int(np.searchsorted(minute, minute[min(begin + _BLOCK, len(minute)) - 1], "right"))
            texts = self._rendered(moves, kind[begin:end], which[begin:end])
            own = minute[begin:end]
            cuts = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), end - begin]
            for low, high in pairwise(cuts):
                yield Transaction(int(own[low]) * _MINUTE_US, ";".join(texts[low:high]), high - low)
            begin = end

    def _rendered(self, moves: list[_Move], kind: Keys, which: npt.NDArray[np.intp]) -> list[str]:
        texts = np.empty(len(which), object)
        for number, move in enumerate(moves):
            there = np.flatnonzero(kind == number)
            if not len(there):
                continue
            places = pa.array(which[there])
            new = [
                pc.binary_join_element_wise(f'"{name}" = ', literals(values.take(places)), "")
                for name, values in move.columns.items()
            ]
            changed = pc.binary_join_element_wise(*new, ", ")
            begin = f'UPDATE "{_TABLE}" SET '  # noqa: S608 - literals and names of ours
            text = pc.binary_join_element_wise(begin, changed, self._where(places), "")
            texts[there] = text.to_pylist()
        rendered: list[str] = texts.tolist()
        return rendered

    def _where(self, places: pa.Array) -> pa.Array:
        """Names the rows of real flights."""
        values = [literals(self._real.column(name).combine_chunks().take(places)) for name in _KEY]
        named = [
            pc.binary_join_element_wise(f'"{name}" = ', text, "")
            for name, text in zip(_KEY, values, strict=True)
        ]
        return pc.binary_join_element_wise(" WHERE ", pc.binary_join_element_wise(*named, " AND "), "")

    def _removals(self) -> list[Transaction]:
        """What was planned by mistake goes before it would have taken off."""
        planned = self._planned.slice(self._real.num_rows)
        if not planned.num_rows:
            return []
        at_us = self._us("scheduled_departure")[self._mistaken] - 6 * _HOUR_US
        keys = tuples(planned.select(_KEY).combine_chunks().to_batches()[0])
        names = ", ".join(f'"{name}"' for name in _KEY)
        found = [
            Transaction(int(when), f'DELETE FROM "{_TABLE}" WHERE ({names}) = {key}', 1)  # noqa: S608
            for when, key in zip(at_us, keys, strict=True)
        ]
        return sorted(found, key=_at)


def _at(one: Transaction) -> int:
    return one.at_us
