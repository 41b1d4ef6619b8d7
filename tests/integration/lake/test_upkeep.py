"""The steps of `maintain_lake` on real servers: what goes, what stays, beside live runs and when they die."""

import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import pytest

from include.lake import checkout, collection, open_draft, publish, refused, upload
from include.lake.connection import MODELS
from include.lake.drafts import commit_draft
from include.lake.errors import NotFound
from include.lake.names import draft_branch
from include.lake.objects import list_objects, read_bytes
from include.lake.publish import merge_draft
from include.lake.record import RunRecord
from include.spec.refs import Published
from tests.integration.lake.samples import ORDERS, PASSED, REFUSED, STATION, paths, write_orders
from tests.integration.lake.workers import FORKSERVER, keep_up, publish_folder, read_again

pytestmark = pytest.mark.integration

DAY_S = 86_400


@pytest.fixture
def upkeep(settings, monkeypatch, tmp_path):
    """The module of the steps, with the settings of the test's lake, and the form's own ages."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    from include.orchestration import maintenance

    monkeypatch.setattr(maintenance, "settings", lambda: settings)
    defaults = {name: param.value for name, param in maintenance.PARAMS.items()}

    def step(name, **params):
        return getattr(maintenance, name)({**defaults, **params})

    return SimpleNamespace(step=step, defaults=defaults, module=maintenance)


def plant(lake, run, *, days_ago, refuse=False):
    """The draft of a run that died so long ago."""
    head = lake.head().commit
    name = draft_branch(STATION, run)
    lake.api.branches_api.create_branch(lake.repository, MODELS.BranchCreation(name=name, source=head))
    record = RunRecord("opened", run, STATION, head, "code", attempt=run)
    if refuse:
        record = record.judged("refused", REFUSED)
    creation = MODELS.CommitCreation(
        message=run,
        metadata=record.to_metadata(),
        allow_empty=True,
        date=int(time.time()) - round(days_ago * DAY_S),
    )
    lake.api.commits_api.commit(lake.repository, name, creation)
    return name


def branches(lake):
    return {item.id for item in lake.pages(lake.api.branches_api.list_branches)}


def put(lake, folder, prefix, run):
    return publish(lake, run, STATION, lambda d: upload(lake, d, folder, prefix), lambda _: PASSED, run)


def test_drafts_go_by_their_age_and_the_ages_are_the_forms(lake, orders, upkeep):
    put(lake, orders(), ORDERS, "done")
    old = {plant(lake, "abandoned", days_ago=8), plant(lake, "refused", days_ago=31, refuse=True)}
    young = {plant(lake, "resting", days_ago=6), plant(lake, "looked at", days_ago=29, refuse=True)}
    live = open_draft(lake, "live", STATION)
    upload(lake, live, orders(), ORDERS)
    dry = upkeep.step("collect_drafts", dry_run=True)
    assert (dry.count, dry.dry_run) == (2, True)
    assert old <= branches(lake)
    done = upkeep.step("collect_drafts")
    assert {name.partition(":")[0] for name in done.names} == old
    assert branches(lake) == {"main", live.branch, *young}
    assert [item.run_id for item in refused(lake)] == ["looked at"]
    assert upkeep.step("collect_drafts").count == 0


def test_the_form_admits_no_age_that_a_run_or_an_upload_can_have(lake, upkeep):
    params, run_h = upkeep.module.PARAMS, upkeep.module.LONGEST_RUN_H
    assert params["abandoned_after_days"].schema["minimum"] * 24 > 2 * run_h
    assert params["leftover_after_hours"].schema["minimum"] > run_h
    linkable_s = lake.api.config_api.api_client.call_api(
        "/config/garbage-collection",
        "GET",
        response_types_map={"200": "object"},
        auth_settings=["basic_auth"],
        _return_http_data_only=True,
    )["grace_period"]
    assert params["unreferenced_after_hours"].schema["minimum"] * 3600 >= linkable_s


def test_objects_that_nothing_names_go_and_what_a_run_is_about_to_name_stays(lake, orders, upkeep):
    published = put(lake, orders(2), ORDERS, "done")
    live = open_draft(lake, "live", STATION)
    for content in (b"first try", b"second try"):
        lake.api.objects_api.upload_object(lake.repository, live.branch, "raw/a.bin", content=content)
    backing = lake.api.staging_api.get_physical_address
    in_flight = backing(lake.repository, live.branch, "raw/b.bin", presign=True)
    sent = lake.wire.send("PUT", in_flight.presigned_url, b"in flight", 9)
    time.sleep(1.1)  # S3 tells times in whole seconds

    assert upkeep.step("collect_objects").count == 0, "younger than a day"
    dry = upkeep.step("collect_objects", unreferenced_after_hours=0, dry_run=True)
    done = upkeep.step("collect_objects", unreferenced_after_hours=0)
    assert (dry.count, dry.size_bytes, dry.dry_run) == (1, len(b"first try"), True)
    assert (done.count, done.size_bytes, done.dry_run) == (1, len(b"first try"), False)
    assert upkeep.step("collect_objects", unreferenced_after_hours=0).count == 0

    linked = MODELS.StagingMetadata(staging=in_flight, checksum=sent.etag, size_bytes=9)
    lake.api.staging_api.link_physical_address(
        lake.repository, live.branch, "raw/b.bin", staging_metadata=linked
    )
    assert read_bytes(lake, live, "raw/a.bin") == b"second try"
    assert read_bytes(lake, live, "raw/b.bin") == b"in flight"
    with checkout(lake, published.commit, ORDERS, deep=True) as files:
        assert len(files.objects) == 2


def test_what_an_expired_draft_alone_held_goes_and_the_history_of_main_stays(lake, orders, upkeep):
    first = put(lake, orders(1, 1), ORDERS, "first").commit
    put(lake, orders(1, 2), ORDERS, "second")
    name = plant(lake, "abandoned", days_ago=40)
    lake.api.objects_api.upload_object(lake.repository, name, "raw/theirs.bin", content=b"theirs")
    creation = MODELS.CommitCreation(
        message="of a month ago",
        metadata=lake.commit(name).metadata,
        date=int(time.time()) - 39 * DAY_S,
    )
    commit = lake.api.commits_api.commit(lake.repository, name, creation).id
    assert upkeep.step("collect_objects").count == 0, "its branch is there"
    assert upkeep.step("collect_drafts").count == 1
    assert upkeep.step("collect_objects").count == 1
    with pytest.raises(NotFound):
        lake.call(lambda: lake.api.objects_api.get_object(lake.repository, commit, "raw/theirs.bin"))
    assert collection.find_rules(lake) == collection.Rules(30, (("main", collection.FOR_EVER_DAYS),))
    with checkout(lake, first, ORDERS, deep=True) as files:
        assert len(files.objects) == 1


def test_rules_that_somebody_set_stay(lake, upkeep):
    theirs = collection.Rules(3, (("main", 5),))
    assert collection.ensure_rules(lake, theirs) == theirs
    upkeep.step("collect_objects")
    assert collection.find_rules(lake) == theirs


def test_a_server_that_does_not_collect_is_told_of_and_skipped(lake, upkeep, monkeypatch):
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.setattr(collection, "OUR_SERVER", "another")
    with pytest.raises(AirflowSkipException, match="a job of its own"):
        upkeep.step("collect_objects")
    assert collection.find_rules(lake) is not None


def test_the_cache_is_cut_to_its_bound_but_for_what_is_being_read(
    lake, settings, orders, upkeep, monkeypatch
):
    commits = [put(lake, orders(1, 200 + n), f"raw/retail/t{n}", f"run-{n}").commit for n in range(3)]
    for number, commit in enumerate(commits):
        checkout(lake, commit, f"raw/retail/t{number}").close()
    small = settings.model_copy(update={"cache_size_bytes": 1})
    monkeypatch.setattr(upkeep.module, "settings", lambda: small)
    with checkout(lake, commits[0], "raw/retail/t0") as held:
        assert upkeep.step("trim_cache", dry_run=True).count == 2
        done = upkeep.step("trim_cache")
        assert (done.count, done.size_bytes > 0) == (2, True)
        assert held.path("raw/retail/t0/part-000000.parquet").read_bytes()[:4] == b"PAR1"
        again = checkout(lake, commits[0], "raw/retail/t0")
        assert again.fetched_bytes == 0
        again.close()
    assert upkeep.step("trim_cache").count == 1


def test_leftovers_of_the_home_are_cleared(settings, upkeep):
    left = settings.home / "tmp" / "dbt" / "build-x"
    left.mkdir(parents=True)
    assert upkeep.step("clear_leftovers").count == 0
    assert upkeep.step("clear_leftovers", leftover_after_hours=0, dry_run=True).names == ("tmp/dbt/build-x",)
    assert upkeep.step("clear_leftovers", leftover_after_hours=0).count == 1
    assert not left.exists()


def test_runs_lose_nothing_to_an_upkeep_that_never_rests(lake, settings, upkeep, tmp_path):
    """Publishers and readers in processes of their own, while drafts, objects and the cache are cleared."""
    folders = [write_orders(tmp_path / f"orders-{n}", files=3, rows=50, first=n) for n in range(10)]
    jobs = [(f"run-{n}", {f"raw/retail/table_{n}": folder}) for n, folder in enumerate(folders)]
    stop, took = threading.Event(), {"collect_drafts": 0, "collect_objects": 0, "trim_cache": 0}
    small = settings.model_copy(update={"cache_size_bytes": 1})

    def maintain() -> None:
        upkeep.module.settings = lambda: small
        rounds = 0
        while not stop.is_set() or rounds < 3:
            plant(lake, f"died-{rounds}", days_ago=8)
            draft = open_draft(lake, "retried", STATION)
            lake.api.objects_api.upload_object(lake.repository, draft.branch, "raw/x", content=b"%d" % rounds)
            for name in took:
                took[name] += upkeep.step(name, unreferenced_after_hours=4 / 3600).count
            rounds += 1
            time.sleep(0.2 if stop.is_set() else 0.0)

    with ProcessPoolExecutor(2, mp_context=FORKSERVER) as processes:
        thread = threading.Thread(target=maintain)
        thread.start()
        try:
            results = list(processes.map(publish_folder, [settings] * 10, *zip(*jobs, strict=True)))
            wrong = list(processes.map(read_again, [settings] * 2, [lake.head()] * 2, [8] * 2))
        finally:
            stop.set()
            thread.join()
    assert wrong == [0, 0]
    assert all(isinstance(result, Published) and result.changed for result in results)
    assert took["collect_drafts"] >= 3
    assert took["trim_cache"] > 0
    with checkout(lake, lake.head(), "raw", deep=True) as files:
        assert len(files.objects) == 10 * 3
    assert branches(lake) == {"main", draft_branch(STATION, "retried")}


def test_an_upkeep_that_dies_before_any_request_is_taken_up_by_the_next(lake, settings, orders, upkeep):
    published = put(lake, orders(2), ORDERS, "done").commit
    live = open_draft(lake, "live", STATION)
    upload(lake, live, orders(1, 7, first=100), "raw/retail/baskets")
    exitcode: int | None = None
    requests = 0
    while exitcode != 0 and requests < 60:
        if branches(lake) == {"main", live.branch}:
            plant(lake, f"died-{requests}", days_ago=8)
        process = FORKSERVER.Process(target=keep_up, args=(settings, upkeep.defaults, requests))
        process.start()
        process.join(60)
        exitcode = process.exitcode
        assert exitcode in {0, -signal.SIGKILL}
        requests += 1
    assert exitcode == 0, "it never came to its end"
    assert requests > 6, "fewer requests than an upkeep has"
    assert branches(lake) == {"main", live.branch}
    assert paths(lake, published) == [stat.path for stat in list_objects(lake, lake.head())]
    commit_draft(lake, live, "Goes on", {}, PASSED)
    merged = merge_draft(lake, live)
    with checkout(lake, merged.commit, "raw", deep=True) as files:
        assert len(files.objects) == 3
