-- The operational database of three airports, as the replay makes it: a row is planned, departs and arrives.

CREATE TABLE flights (
    flight_date date NOT NULL,
    carrier text NOT NULL,
    flight smallint NOT NULL,
    origin text NOT NULL,
    dest text NOT NULL,
    tailnum text,
    distance smallint NOT NULL,
    scheduled_departure timestamptz NOT NULL,
    scheduled_arrival timestamptz NOT NULL,
    departed_at timestamptz,
    dep_delay smallint,
    arrived_at timestamptz,
    arr_delay smallint,
    air_time smallint,
    status text NOT NULL
) WITH (fillfactor = 60);

-- rows

ALTER TABLE flights ADD PRIMARY KEY (flight_date, carrier, flight, origin);
ALTER TABLE flights ADD CHECK (status IN ('scheduled', 'departed', 'arrived', 'cancelled', 'diverted'));
ALTER TABLE flights ADD CHECK (arrived_at > departed_at);

COMMENT ON TABLE flights IS 'Flights that leave New York, one day''s take-off of one number';
COMMENT ON COLUMN flights.flight_date IS 'Of the planned departure, New York time';
COMMENT ON COLUMN flights.dep_delay IS 'Minutes; negative: early';
COMMENT ON COLUMN flights.arr_delay IS 'Minutes; negative: early; NULL where it was diverted';
COMMENT ON COLUMN flights.air_time IS 'Minutes';
COMMENT ON COLUMN flights.distance IS 'Miles';
