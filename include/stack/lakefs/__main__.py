"""`python -m include.stack.lakefs --port P --data DIR`: the lake server, without the rest of headrace."""

import argparse
import sys
from pathlib import Path

from include.spec.errors import HeadraceError
from include.stack.lakefs.options import DEFAULT_PORT, read_options
from include.stack.lakefs.serve import serve


def main(arguments: list[str] | None = None) -> int:
    """Run the server; returns the exit status."""
    parser = argparse.ArgumentParser(prog="headrace lakefs", description=__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--data", type=Path, required=True, help="folder of the metadata")
    parser.add_argument("--blockstore", choices=("s3", "local"), default="s3")
    parser.add_argument("--quickstart", action="store_true", help="seed the repository quickstart")
    given = parser.parse_args(arguments)
    try:
        options = read_options(
            data_dir=given.data,
            port=given.port,
            host=given.host,
            blockstore=given.blockstore,
            quickstart=given.quickstart,
        )
        serve(options)
    except HeadraceError as error:
        sys.stderr.write(f"headrace lakefs: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
