"""Takes the pictures of Airflow's UI from a running stack, by a Chromium without a window.

    HEADRACE_HOME=... .venv/bin/python docs/pictures/take.py [FOLDER] [--only NAME ...]

The stack must have finished the flow once (`make demo`). Chromium is driven over its DevTools protocol; it
logs in with the stack's own password, which is in no picture.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from websockets.sync.client import ClientConnection, connect

from include.settings import Settings, settings

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 1400, 820
DEADLINE_S = 60.0
LARGEST_BYTES = 300_000
# All nodes of a graph, with some room around.
NODES = """(() => {
  const boxes = [...document.querySelectorAll('.react-flow__node')].map(node => node.getBoundingClientRect());
  const left = Math.min(...boxes.map(box => box.left)) - 8, top = Math.min(...boxes.map(box => box.top)) - 12;
  const right = Math.max(...boxes.map(box => box.right)), bottom = Math.max(...boxes.map(box => box.bottom));
  return [left, top, right - left + 8, bottom - top + 12];
})()"""
PRODUCT, SOURCE = "coupon_redemption", "retail"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0"),
)


@dataclass(frozen=True)
class Picture:
    """One picture.

    Args:
        name: Of the file.
        path: Of the page, from the root of Airflow's web server.
        shows: Text that is on the page when it is complete.
        stored: What the page remembers of its user, such as which view is open.
        height: Of the picture.
        part: Script that gives the rectangle to be taken, as `[x, y, width, height]`; empty for all.
    """

    name: str
    path: str
    shows: str
    stored: Mapping[str, str]
    height: int = HEIGHT
    part: str = ""


class Airflow:
    """The web server's API, logged in.

    Args:
        known: Where it is, and the password.
    """

    def __init__(self, known: Settings) -> None:
        self.url = known.airflow_url
        login = {
            "username": known.airflow_username,
            "password": known.airflow_password.get_secret_value(),
        }
        answer = httpx.post(f"{self.url}/auth/token", json=login, timeout=DEADLINE_S).raise_for_status()
        self.token = str(answer.json()["access_token"])

    def get(self, path: str, **parameters: str) -> Any:
        """What the API answers."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.get(f"{self.url}{path}", params=parameters, headers=headers, timeout=DEADLINE_S)
        return answer.raise_for_status().json()

    def has(self, path: str) -> bool:
        """Whether a page is there to be seen."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=DEADLINE_S).status_code == 200

    def newest_run(self, dag: str, task: str) -> str:
        """The newest run in which a task succeeded.

        Raises:
            SystemExit: There is none.
        """
        found = self.get(
            f"/api/v2/dags/{dag}/dagRuns/~/taskInstances",
            task_id=task,
            state="success",
            order_by="-start_date",
            limit="1",
        )["task_instances"]
        if not found:
            raise SystemExit(f"{dag}: {task} has succeeded in no run yet; run the flow first (`make demo`).")
        return str(found[0]["dag_run_id"])


class Page:
    """A tab of the browser.

    Args:
        socket: To the tab.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sent = 0

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol.

        Raises:
            RuntimeError: The browser refuses.
        """
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=DEADLINE_S))
            if answer.get("id") == self._sent:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression on the page."""
        result = self("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def wait(self, shows: str) -> None:
        """Wait until the page shows a text and has come to rest.

        Raises:
            SystemExit: It does not in time.
        """
        until = time.monotonic() + DEADLINE_S
        before = None
        while time.monotonic() < until:
            now = self.evaluate("document.body ? document.body.innerText : ''") or ""
            if shows in now and now == before:
                return
            before = now
            time.sleep(0.7)
        raise SystemExit(f"The page does not show {shows!r}; it shows: {str(before)[:500]}")

    def take(self, picture: Picture, url: str) -> bytes:
        """The picture of a page, as PNG."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=WIDTH,
            height=picture.height,
            deviceScaleFactor=1,
            mobile=False,
        )
        remembered = "".join(
            f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)});"
            for key, value in picture.stored.items()
        )
        self("Page.navigate", url=f"{url}/api/v2/version")
        self.wait("version")
        self.evaluate(f"localStorage.clear(); {remembered}")
        self("Page.navigate", url=f"{url}{picture.path}")
        self.wait(picture.shows)
        clip = {}
        if picture.part:
            x, y, width, height = self.evaluate(picture.part)
            clip = {"clip": {"x": x, "y": y, "width": width, "height": height, "scale": WIDTH / width}}
        return base64.b64decode(self("Page.captureScreenshot", format="png", **clip)["data"])


@contextmanager
def browser() -> Iterator[Page]:
    """A browser with one empty tab; it and its folder are gone afterwards."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("There is no Chromium on this machine.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = _port(Path(folder) / "DevToolsActivePort", process)
            tabs = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=DEADLINE_S).json()
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            with connect(address, max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    """Where the browser listens, once it does."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until and process.poll() is None:
        if file.is_file() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.1)
    raise SystemExit("Chromium did not start.")


def pictures(airflow: Airflow) -> tuple[Picture, ...]:
    """What is there to be taken of this stack."""
    train, build = f"train__{PRODUCT}", f"build_features__{SOURCE}"
    trained, built = airflow.newest_run(train, "release"), airflow.newest_run(build, "build")
    ingest = f"ingest_batch__{SOURCE}"
    judged = airflow.newest_run(ingest, "gate")
    assets = airflow.get("/api/v2/assets", name_pattern=f"features/{SOURCE}")["assets"]
    run = f"/dags/{train}/runs/{quote(trained, safe='')}"
    about_build = f"/headrace/runs/{build}/{quote(built, safe='')}"
    found = [
        Picture("dags", "/dags", train, {"dags_list_display": '"table"'}, height=850),
        Picture("grid", run, "release", {f"dag_view-{train}": '"grid"', "default_dag_view": '"grid"'}),
        Picture("graph", run, "release", {f"dag_view-{train}": '"graph"', "default_dag_view": '"graph"'}),
        Picture("assets", f"/assets/{assets[0]['id']}", f"features/{SOURCE}", {}, part=NODES),
        Picture(
            "links", f"/dags/{build}/runs/{quote(built, safe='')}/tasks/build/details", "models and tests", {}
        ),
        Picture("models", f"{about_build}/models", "Models and tests", {}),
        Picture("gate", f"/headrace/runs/{ingest}/{quote(judged, safe='')}/gate", "Gate results", {}),
        Picture("dbt-docs", "/headrace/dbt#!/model/model.headrace.feat_household__baskets", "Details", {}),
    ]
    if airflow.has("/headrace/report"):
        found.append(Picture("report", "/headrace/report", PRODUCT, {}, height=1200))
    return tuple(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the pictures into a folder."""
    parser = argparse.ArgumentParser(description="Take the pictures of Airflow's UI from a running stack.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="*", default=(), metavar="NAME")
    chosen = parser.parse_args(arguments)
    airflow = Airflow(settings())
    with browser() as page:
        page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
        host = urlsplit(airflow.url).hostname
        page("Network.setCookie", name="_token", value=airflow.token, domain=host, path="/", httpOnly=True)
        for picture in pictures(airflow):
            if chosen.only and picture.name not in chosen.only:
                continue
            file = chosen.folder / f"{picture.name}.png"
            file.write_bytes(page.take(picture, airflow.url))
            size = file.stat().st_size
            note = f"  (more than {LARGEST_BYTES:,})" if size > LARGEST_BYTES else ""
            print(f"{file.name}: {size:,} bytes{note}")


if __name__ == "__main__":
    main()
