"""The flights' year on a real PostgreSQL, and their weather over HTTP."""

import os
import subprocess
import sys
from datetime import datetime

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from include.cli import app
from include.demo import nycflights
from include.demo.replay.engine import replay
from include.demo.replay.flights import FlightsYear
from include.demo.weather_api import LOOPBACK
from tests.integration.replay.conftest import ask

pytestmark = pytest.mark.integration

YEAR = FlightsYear("HA")
ORDER = "ORDER BY scheduled_departure, carrier, flight, origin"


def test_the_year_ends_with_the_flights_as_they_were(live):
    first = replay(live, YEAR, until=datetime(2013, 7, 1))
    assert not first.position.finished
    there = dict(ask(live, "SELECT status, count(*) FROM flights GROUP BY 1"))
    assert there["arrived"] > 150
    assert there["scheduled"] >= 1
    assert replay(live, YEAR).position.finished
    with psycopg.connect(live) as connection:
        connection.execute("SET timezone = 'UTC'")
        rows = connection.execute(f"SELECT * FROM flights {ORDER}".encode()).fetchall()
    assert rows == [tuple(row.values()) for row in nycflights.flights("HA").to_pylist()]
    assert len(rows) == 342


def test_the_command_takes_a_carrier_and_no_households(live, monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_FLIGHTS_DSN", live)
    options = ["replay", "flights", "--home", str(tmp_path)]
    done = CliRunner().invoke(app, [*options, "--carrier", "HA", "--until", "2013-01-03"])
    assert done.exit_code == 0, done.output
    assert "it is 2013-01-0" in done.output
    assert CliRunner().invoke(app, [*options, "--households", "3"]).exit_code == 2


def test_the_weather_is_served_page_by_page_until_it_is_stopped():
    command = [sys.executable, "-c", "from include.cli import app; app()", "weather", "--port", "0"]
    server = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("weather: ").strip()
        assert url.startswith(f"http://{LOOPBACK}:")
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            assert client.get("/health").json() == {"status": "ok"}
            page = client.get("/v1/observations", params={"limit": "3"}).json()
            following = client.get("/v1/observations", params={"limit": "3", "after": page["next"]}).json()
            refused = client.get("/v1/observations", params={"limit": "many"})
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert [len(page["data"]), len(following["data"])] == [3, 3]
    assert page["data"] != following["data"]
    assert (refused.status_code, "limit is 'many'" in refused.json()["error"]) == (400, True)
