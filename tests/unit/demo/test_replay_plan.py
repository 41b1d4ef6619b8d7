"""The plan of the retailer's year: the same each time, the same for a household in every slice, by time."""

import re
from collections import Counter
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from include.demo.complete_journey import Slice
from include.demo.replay.chance import Chance
from include.demo.replay.retail import START_US, RetailYear
from include.demo.replay.statements import insert, tuples, update

SMALL, LARGE = RetailYear(Slice(households=5)), RetailYear(Slice(households=20))


@pytest.fixture(scope="module")
def large():
    return list(LARGE.transactions())


def of_a_till(transactions, households):
    """What is rung up for some households."""
    begun = re.compile(r'INSERT INTO "transactions" .* VALUES \((\d+),')
    found = [(one, begun.match(one.statements)) for one in transactions]
    return [one for one, match in found if match and int(match[1]) <= households]


def test_it_is_the_same_each_time(large):
    assert large == list(RetailYear(Slice(households=20)).transactions())
    assert len(large) > 500


def test_another_seed_is_another_year(large):
    other = list(RetailYear(Slice(households=20), seed=2).transactions())
    assert other != large
    assert len(other) == pytest.approx(len(large), rel=0.05)


def test_it_is_in_order_and_within_the_year_and_its_loose_ends(large):
    moments = [one.at_us for one in large]
    assert moments == sorted(moments)
    assert moments[0] >= START_US
    assert moments[-1] < START_US + 375 * 86_400_000_000


def test_a_household_has_the_same_year_in_every_slice(large):
    own = of_a_till(SMALL.transactions(), 5)
    assert own == of_a_till(large, 5)
    assert len(own) > 100


def test_all_kinds_of_changes_come():
    kinds: Counter[tuple[str, str]] = Counter()
    for one in RetailYear(Slice(households=300)).transactions():
        verb, table = re.findall(r'(INSERT|UPDATE|DELETE)(?: INTO| FROM)? "(\w+)"', one.statements)[0]
        kinds[verb, table] += 1
        if verb == "UPDATE" and '"coupon_upc"' in one.statements.split(" WHERE ")[0]:
            kinds["new key", table] += 1
    wanted = (
        ("INSERT", "products"),
        ("UPDATE", "products"),
        ("INSERT", "campaign_descriptions"),
        ("UPDATE", "campaign_descriptions"),
        ("DELETE", "campaigns"),
        ("UPDATE", "coupons"),
        ("INSERT", "demographics"),
        ("UPDATE", "demographics"),
        ("DELETE", "demographics"),
        ("INSERT", "coupon_redemptions"),
        ("new key", "coupon_redemptions"),
        ("INSERT", "transactions"),
        ("UPDATE", "transactions"),
        ("DELETE", "transactions"),
    )
    assert [one for one in wanted if kinds[one] == 0] == []


def test_some_baskets_come_late(large):
    stamp = re.compile(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
    late: Counter[bool] = Counter()
    for one in of_a_till(RetailYear(Slice(households=200)).transactions(), 200):
        (rung,) = stamp.findall(one.statements)[:1]
        rung_us = np.datetime64(rung, "us").astype(np.int64)
        late[int(one.at_us - rung_us) > 3_600_000_000] += 1
    assert 0 < late[True] < 0.02 * late[False]


def test_chance_is_even_and_differs_by_purpose_and_seed():
    keys = np.arange(100_000)
    drawn = Chance(1).share("a", keys)
    counts, _ = np.histogram(drawn, 10, (0, 1))
    assert counts.min() > 9_500
    assert drawn.tolist() == Chance(1).share("a", keys).tolist()
    for other in (Chance(1).share("b", keys), Chance(2).share("a", keys), Chance(1).share("a", keys, keys)):
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.02
    below = Chance(1).below("a", 7, keys)
    assert (below.min(), below.max()) == (0, 6)


def test_values_become_literals_that_cannot_break_out():
    schema = pa.schema(
        [("t", pa.string()), ("n", pa.int32()), ("m", pa.decimal128(10, 2)), ("d", pa.date32())]
    )
    rows = [
        {"t": "O'Hara'; DROP TABLE x; --", "n": -1, "m": Decimal("1.50"), "d": date(2017, 1, 2)},
        {"t": None, "n": None, "m": None, "d": None},
    ]
    written = tuples(pa.RecordBatch.from_pylist(rows, schema))
    assert written == [
        "('O''Hara''; DROP TABLE x; --',-1,1.50,'2017-01-02')",
        "(NULL,NULL,NULL,NULL)",
    ]
    assert insert('a"b', ["t"], ["('x')"]) == 'INSERT INTO "a""b" ("t") VALUES (\'x\')'
    assert (
        update("a", ["x", "y"], ["1", "2"], ["k"], ["3"]) == 'UPDATE "a" SET "x" = 1, "y" = 2 WHERE "k" = 3'
    )
