"""WHAT comes in: every source system that is read, named one by one."""

from include.sources.flights import SOURCE as FLIGHTS
from include.sources.retail import SOURCE as RETAIL
from include.spec.source import Source

SOURCES: tuple[Source, ...] = (RETAIL, FLIGHTS)
