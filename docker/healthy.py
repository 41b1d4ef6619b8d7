"""Health check of a container: a URL answers, and (when named) says that one component is healthy."""

import json
import sys
import urllib.request


def healthy(url: str, component: str = "") -> bool:
    """Whether the URL answers with success within five seconds, and says so of the component."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (the URL is the compose file's)
        return not component or json.load(answer)[component]["status"] == "healthy"


if __name__ == "__main__":
    try:
        well = healthy(*sys.argv[1:])
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    sys.exit(0 if well else f"{sys.argv[1]}: {sys.argv[2:]} not healthy")
