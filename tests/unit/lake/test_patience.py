"""What is tried again, for how long, and what never is: against a server that answers as it is told."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from include.lake.connection import Lake
from include.lake.errors import (
    Busy,
    CorruptObject,
    Forbidden,
    HookRefused,
    NotFound,
    ServerRefused,
    Unreachable,
    WrongKeys,
)
from include.lake.patience import Patience, TransientAnswer, is_transient
from include.settings import Settings

QUICK = Patience(deadline_s=2.0, first_wait_s=0.01, longest_wait_s=0.05)


class Script:
    """A server that gives the answers it was told, in order, and then 200."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[tuple[str, float]] = []

    def say(self, status: int, body: bytes = b'{"message": "told to"}', **headers: str) -> None:
        self.answers.append((status, {key.replace("_", "-"): value for key, value in headers.items()}, body))

    def next(self, method: str) -> tuple[int, dict[str, str], bytes]:
        self.requests.append((method, time.monotonic()))
        return self.answers.pop(0) if self.answers else (200, {}, b"")


@pytest.fixture
def script() -> Iterator[tuple[Script, str]]:
    told = Script()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = told.next(self.command)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def told(script: tuple[Script, str]) -> Script:
    return script[0]


@pytest.fixture
def lake(script, tmp_path) -> Lake:
    settings = Settings(
        home=tmp_path,
        lakefs_endpoint=script[1],
        lakefs_access_key_id="key",
        lakefs_secret_access_key=SecretStr("not-to-be-shown"),
    )
    return Lake(settings, patience=QUICK, pre_sign=True)


def delete(lake: Lake) -> None:
    lake.call(lambda: lake.api.branches_api.delete_branch(lake.repository, "branch"))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 423, 408])
def test_an_overloaded_server_is_asked_again(lake, told, status):
    told.say(status)
    told.say(status)
    delete(lake)
    assert len(told.requests) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ServerRefused),
        (401, WrongKeys),
        (403, Forbidden),
        (404, NotFound),
        (409, ServerRefused),
        (410, NotFound),
        (412, HookRefused),
        (501, ServerRefused),
    ],
)
def test_a_refusal_is_final_and_says_what_the_server_said(lake, told, status, kind):
    told.say(status)
    with pytest.raises(kind) as caught:
        delete(lake)
    assert len(told.requests) == 1
    assert caught.value.status == status
    assert "not-to-be-shown" not in str(caught.value)
    if status != 401:
        assert "told to" in str(caught.value)


def test_patience_ends_at_the_deadline(lake, told):
    for _ in range(1000):
        told.say(503)
    started = time.monotonic()
    with pytest.raises(Busy, match="HTTP 503"):
        delete(lake)
    assert 1.5 < time.monotonic() - started < 10
    assert 10 < len(told.requests) < 1000


def test_the_server_may_say_how_long_to_wait(lake, told):
    told.say(429, Retry_After="0.6")
    delete(lake)
    (_, first), (_, second) = told.requests
    assert second - first >= 0.6


def test_a_date_to_wait_for_is_no_error(lake, told):
    told.say(503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")
    delete(lake)
    assert len(told.requests) == 2


def test_a_status_that_means_done_is_no_error(lake, told):
    told.say(404)
    done = lake.call(lambda: lake.api.branches_api.delete_branch(lake.repository, "b"), done_at=(404,))
    assert done is None


def test_a_request_that_must_not_happen_twice_is_checked_before_it_is_repeated(lake, told):
    told.say(502)  # it arrived, and the answer was lost
    result = lake.call(
        lambda: lake.api.branches_api.delete_branch(lake.repository, "b"), check=lambda: "it arrived"
    )
    assert result == "it arrived"
    assert len(told.requests) == 1


def test_bytes_are_streamed_with_the_same_patience(lake, told, script):
    told.say(503, b"<Error><Code>SlowDown</Code></Error>")
    told.say(200, b"the bytes")

    def read() -> bytes:
        with lake.wire.get(script[1] + "/bucket/key?X-Amz-Signature=secret") as response:
            return bytes(response.read())

    assert lake.call(read) == b"the bytes"
    assert len(told.requests) == 2


@pytest.mark.parametrize(("status", "kind"), [(403, ServerRefused), (404, CorruptObject)])
def test_a_store_that_refuses_is_named_without_the_signed_address(lake, told, script, status, kind):
    told.say(status, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")

    def read() -> bytes:
        with lake.wire.get(script[1] + "/bucket/key?X-Amz-Signature=secret") as response:
            return bytes(response.read())

    with pytest.raises(kind, match="SignatureDoesNotMatch") as caught:
        lake.call(read)
    assert "secret" not in str(caught.value)
    assert script[1] in str(caught.value)
    assert len(told.requests) == 1


def test_an_answer_cut_short_is_read_again(lake, told, script):
    told.say(200, b"the by", Content_Length="9", Connection="close")
    told.say(200, b"the bytes")

    def read() -> bytes:
        with lake.wire.get(script[1] + "/bucket/key") as response:
            return b"".join(response.stream(4))

    assert lake.call(read) == b"the bytes"


def test_a_store_that_is_away_is_named(lake):
    def read() -> bytes:
        with lake.wire.get("http://127.0.0.1:1/bucket/key?X-Amz-Signature=secret") as response:
            return bytes(response.read())

    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer") as caught:
        lake.call(read)
    assert "secret" not in str(caught.value)


def test_our_own_mistakes_are_not_tried_again():
    assert is_transient(TransientAnswer("away", 0))
    for error in (ValueError(), KeyError(), CorruptObject("x"), TimeoutError()):
        assert not is_transient(error)
