"""The flights of a year: moments out of clock times, the plan of their replay, their files and weather."""

import gzip
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.demo import flights_files, nycflights
from include.demo.replay.flights import START_US, FlightsYear
from include.demo.weather_api import BadQueryError, Observations

YEAR = FlightsYear("OO")


@pytest.fixture(scope="module")
def flights():
    return nycflights.flights()


@pytest.fixture(scope="module")
def observations():
    return Observations()


def minutes(table, start, end):
    return pc.minutes_between(table.column(start), table.column(end))


def test_every_flight_is_there_once_with_what_became_of_it(flights):
    assert flights.num_rows == 336_776
    assert flights.schema == nycflights.FLIGHTS
    keys = flights.select(["flight_date", "carrier", "flight", "origin"])
    assert keys.group_by(keys.column_names).aggregate([]).num_rows == flights.num_rows
    counted = {row["values"]: row["counts"] for row in pc.value_counts(flights.column("status")).to_pylist()}
    assert counted == {"arrived": 327_346, "cancelled": 8_255, "diverted": 1_175}


def test_clock_times_became_moments_that_agree_with_the_delays(flights):
    arrived = flights.filter(pc.equal(flights.column("status"), "arrived"))
    late = minutes(arrived, "scheduled_departure", "departed_at")
    assert pc.all(pc.equal(late, arrived.column("dep_delay"))).as_py()
    late = minutes(arrived, "scheduled_arrival", "arrived_at")
    assert pc.all(pc.equal(late, arrived.column("arr_delay"))).as_py()
    # What was not in the air is the way to the runway and from it.
    ground = pc.subtract(minutes(arrived, "departed_at", "arrived_at"), arrived.column("air_time"))
    assert pc.min_max(ground).as_py() == {"min": 5, "max": 235}
    planned = minutes(flights, "scheduled_departure", "scheduled_arrival")
    assert pc.min_max(planned).as_py() == {"min": 50, "max": 700}


def test_a_winter_morning_in_new_york_is_five_hours_behind(flights):
    first = flights.slice(0, 1).to_pylist()[0]
    assert (first["carrier"], first["flight"], first["dest"]) == ("UA", 1545, "IAH")
    assert first["scheduled_departure"] == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    # 08:30 in Houston.
    assert first["arrived_at"] == datetime(2013, 1, 1, 14, 30, tzinfo=UTC)


def test_the_plan_is_the_same_each_time_and_in_order():
    plan = list(YEAR.transactions())
    assert plan == list(FlightsYear("OO").transactions())
    assert plan != list(FlightsYear("OO", seed=2).transactions())
    moments = [one.at_us for one in plan]
    assert moments == sorted(moments)
    assert moments[0] > START_US
    assert sum(one.rows for one in plan) == sum(one.statements.count(" WHERE ") for one in plan) + sum(
        one.rows for one in plan if one.statements.startswith("INSERT")
    )


def test_a_flight_departs_before_it_arrives_and_all_kinds_of_changes_come():
    kinds, state = Counter[str](), dict[str, str]()
    plan = FlightsYear("FL").transactions()
    for text in (text for one in plan for text in one.statements.split(";")):
        key = text.split(" WHERE ")[-1]
        if text.startswith("UPDATE"):
            status = re.findall(r"\"status\" = '(\w+)'", text)
            kinds[status[0] if status else text.split()[3]] += 1
            if status == ["arrived"]:
                assert state[key] == "departed"
            if status:
                state[key] = status[0]
        else:
            kinds[text.split()[0]] += 1
    real = nycflights.flights("FL")
    assert kinds["arrived"] == pc.sum(pc.equal(real.column("status"), "arrived")).as_py()
    assert kinds["departed"] == real.num_rows - real.column("departed_at").null_count
    assert set(kinds) == {
        *("INSERT", "DELETE", '"tailnum"', '"arr_delay"'),
        *("departed", "arrived", "diverted", "cancelled"),
    }


def test_the_files_hold_all_rows_and_missing_values_are_missing():
    dropped = flights_files.files()
    assert list(dropped) == ["planes.csv.gz", "airports.jsonl", "airlines.csv"]
    assert dropped == flights_files.files()
    planes = gzip.decompress(dropped["planes.csv.gz"]).decode().splitlines()
    assert len(planes) == 3_322 + 1
    assert planes[1] == '"N10156",2004,"Fixed wing multi engine","EMBRAER","EMB-145XR",2,55,,"Turbo-fan"'
    airports = [json.loads(line) for line in dropped["airports.jsonl"].decode().splitlines()]
    assert len(airports) == 1_458
    assert sum(airport["tzone"] is None for airport in airports) == 3
    assert dropped["airlines.csv"].decode().count("\n") == 16 + 1


def pages(observations, **query):
    after, found = "0", []
    while True:
        page = observations.page({**query, "after": after})
        found.append(page["data"])
        if page["next"] is None:
            return found
        after = page["next"]


def test_pages_hold_every_observation_once_by_time(observations):
    found = pages(observations, limit="2000")
    assert [len(page) for page in found] == [2_000] * 13 + [115]
    rows = [row for page in found for row in page]
    moments = [row["observed_at"] for row in rows]
    assert moments == sorted(moments)
    assert len({(row["observed_at"], row["origin"]) for row in rows}) == 26_115
    assert rows[0]["wind"].keys() == {"direction", "speed", "gust"}


def test_a_span_is_inclusive_at_its_start_and_exclusive_at_its_end(observations):
    since = datetime(2013, 3, 1, tzinfo=UTC)
    query = {"since": since.isoformat(), "until": (since + timedelta(hours=2)).isoformat()}
    (page,) = pages(observations, **query)
    assert {row["observed_at"] for row in page} == {"2013-03-01T00:00:00Z", "2013-03-01T01:00:00Z"}
    (page,) = pages(observations, **query, origin="JFK")
    assert [row["origin"] for row in page] == ["JFK", "JFK"]
    assert observations.page({"since": "2015-01-01T00:00:00Z"}) == {"data": [], "next": None}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"since": "yesterday"}, "since"),
        ({"limit": "0"}, "limit"),
        ({"limit": "2001"}, "limit"),
        ({"after": "-1"}, "after"),
        ({"page": "1"}, "unknown parameters: page"),
    ],
)
def test_a_query_that_is_wrong_is_named(observations, query, named):
    with pytest.raises(BadQueryError, match=named):
        observations.page(query)


def test_the_package_is_read_with_its_missing_values_as_such():
    assert {name: nycflights.read(name).num_rows for name in nycflights.TABLES} == {
        "flights": 336_776,
        "weather": 26_115,
        "planes": 3_322,
        "airports": 1_458,
        "airlines": 16,
    }
    assert nycflights.read("weather").column("wind_gust").null_count == 20_778
    assert pa.types.is_floating(nycflights.read("weather").column("wind_gust").type)
