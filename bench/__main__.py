"""`python -m bench [NAME ...]`: measure ours against a floor and peers in the same run.

One module per stage of the flow. Results are printed and kept as JSON below $HEADRACE_HOME/bench.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from bench.report import CONSOLE, Report
from include.settings import home_folder

BENCHES = {
    "lake_server": "commit and merge against tree size, SDK operations, publish cycles",
    "lake_client": "checkout and upload against plain copies",
    "batch_read": "a table of PostgreSQL to Parquet against plain ADBC and dlt, and memory",
    "cdc": "changes from the log to files on main against pg_recvlogical, and memory",
    "staging": "a change log to current state and history by Spark against a plain DuckDB window",
}


def main() -> int:
    """Run the benches that were named, all by default; 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(prog="bench", description="Ratios, measured in one run; no absolutes.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--list", action="store_true", help="show the benches and what they measure")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: whether it runs, not how fast")
    given = parser.parse_args()
    if given.list:
        for name, about in BENCHES.items():
            CONSOLE.print(f"{name:12} {about}")
        return 0
    unknown = sorted(set(given.names) - set(BENCHES))
    if unknown:
        parser.error(f"no such bench: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    broken = 0
    for name in given.names or BENCHES:
        CONSOLE.rule(name)
        report = Report(name)
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as work:
            importlib.import_module(f"bench.{name}").run(report, Path(work), quick=given.quick)
        CONSOLE.print(f"kept in {report.save(home_folder() / 'bench')}")
        broken += sum(not claim.holds for claim in report.claims)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
