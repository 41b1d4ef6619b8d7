"""Tries killed by SIGKILL at every boundary of every station: no part shows, and the next try ends well.

A step dies at one point after another, as often as it has points, and then is let be: harder than a death
alone, since each try finds what all the tries before it left.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from include.lake.history import log
from include.lake.retention import refused
from include.orchestration.lineage import load_released
from include.sources.retail import SOURCE
from include.spec.refs import Judged
from include.spec.verdict import Finding, Verdict
from tests.integration.dag_runs.conftest import COUPON, LAPSE, World, outcomes
from tests.integration.dag_runs.steps import Death, Done, Step, serve

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(900)]

INGEST = "include.orchestration.ingest:BatchIngestion"
BUILD = "include.orchestration.features:FeatureBuilding"
TRAIN = "include.orchestration.training:Training"
SCORE = "include.orchestration.scoring:Scoring"
MONITOR = "include.orchestration.monitoring:Monitoring"
PASSED = Judged(Verdict(True, "ab" * 32, 7), 0.0, 0)
BROKEN = Verdict(False, "ab" * 32, 7, (Finding("predictions/household_lapse", "planted", "1 of 1"),))
# In the middle of publishing: before and after the draft's commit, merged but not said so, and said so but
# with the branch still there.
UNMERGED = ("commit_draft", False), ("commit_draft", True)
MERGED = Death("include.lake.publish:_merge"), Death("include.lake.runs:delete_branch", after=False)
# A step that writes and publishes finds these in one module, one that publishes another's draft elsewhere.
PUBLISHING = *(Death(f"include.lake.publish:{name}", after) for name, after in UNMERGED), *MERGED
MERGING = *(Death(f"include.lake:{name}", after) for name, after in UNMERGED), *MERGED


class Tries:
    """The process that tries steps."""

    def __init__(self, world: World) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(theirs, dict(world.environment)), daemon=True)
        self._process.start()
        theirs.close()
        self._ours.recv()

    def end(self) -> None:
        self._ours.send(None)
        self._process.join()

    def once(self, step: Step, death: Death | None = None, raises: str = "") -> Done:
        self._ours.send((step, death))
        done: Done = self._ours.recv()
        assert (raises in done.error) if raises else not done.error, done.error
        assert done.killed == (death is not None), f"{step.name} never came to {death}"
        return done

    def __call__(self, step: Step, deaths: Sequence[Death] = ()) -> Done:
        """Kill a step at each point in turn, then let it come to its end."""
        for death in deaths:
            self.once(step, death)
        return self.once(step)


@pytest.fixture(scope="module")
def tries(world: World) -> Iterator[Tries]:
    process = Tries(world)
    yield process
    process.end()


def published(world: World, station: str, run_id: str) -> int:
    """How often a run is on main."""
    records = [one.record for one in log(world.lake) if one.record is not None]
    return [(one.station, one.run_id) for one in records].count((station, run_id))


def branches(world: World, run_id: str) -> list[str]:
    found = world.lake.api.branches_api.list_branches(world.lake.repository, amount=1000).results
    return [one.id for one in found if run_id in one.id]


def ingestion(world: World, tries: Tries, run_id: str, deaths: Sequence[Death] = ()) -> dict[str, Any]:
    """The steps of an ingestion up to its gate; the landing of the database dies at the points."""
    draft = tries(Step(INGEST, SOURCE.name, "open_draft", run_id)).returned
    landings = []
    for origin, points in zip(SOURCE.origins, (deaths, ()), strict=True):
        step = Step(INGEST, SOURCE.name, "land", run_id, {"draft": draft, "origin": origin})
        landings.append(tries(step, points).returned)
    return {"draft": draft, "landings": landings}


def test_landing_and_publishing_of_an_ingestion(world, tries, built):
    """Also with the watermark, which is written between the gate and the commit."""
    head, station = world.lake.head(), f"ingest_batch__{SOURCE.name}"
    world.shop("UPDATE products SET package_size = '23 LB' WHERE product_id = 25671")
    landing = (Death("include.ingestion.batch:upload", after=False), Death("include.ingestion.batch:upload"))
    found = ingestion(world, tries, "kill-ingest", landing)
    publish = Step(INGEST, SOURCE.name, "publish", "kill-ingest", {**found, "judged": PASSED})
    for death in (Death("include.ingestion.batch:record_positions"), *MERGING[:2]):
        tries.once(publish, death)
        assert world.lake.head() == head
    done = tries(publish, MERGING[2:])
    assert done.pushed["published"].changed
    assert published(world, station, "kill-ingest") == 1
    changed = world.lake.api.refs_api.diff_refs(
        world.lake.repository, head.commit, "main", amount=1000
    ).results
    assert {one.path.split("/")[2] for one in changed} == {"products", "_watermark.json"}
    assert branches(world, "kill-ingest") == []


def test_the_gate(world, tries, ingested):
    found = ingestion(world, tries, "kill-gate")
    gate = Step(INGEST, SOURCE.name, "gate", "kill-gate", found)
    # In the evidence's upload, and once the verdict is there but not handed on.
    points = (Death("include.validation.draft:judge_draft"), Death("include.orchestration.publication:push"))
    done = tries(gate, points)
    assert done.returned == "publish"
    assert done.pushed["judged"].verdict.passed


def test_a_build(world, tries, built):
    """What killed tries have uploaded changes nothing: the draft is that of a build that nobody killed."""
    head = world.lake.head()
    step = Step(BUILD, SOURCE.name, "build", "kill-build")
    unharmed = tries(replace(step, run_id="unharmed-build"))
    points = Death("include.lake.replace:upload"), Death("include.lake:replace_tables")
    done = tries(step, points)
    assert done.pushed["built"].changed == unharmed.pushed["built"].changed
    kept = features_on(world, done.returned.branch)
    assert kept == features_on(world, unharmed.returned.branch)
    made = {table.split("/")[1] for table in done.pushed["built"].tables}
    assert made
    assert made <= {path.split("/")[1] for path in kept}
    assert world.lake.head() == head
    assert len(branches(world, "kill-build")) == 1


def features_on(world: World, branch: str) -> dict[str, str]:
    """Checksum of each feature file, without the evidence of gates."""
    listed = world.lake.api.objects_api.list_objects(
        world.lake.repository, branch, prefix="features/", amount=1000
    ).results
    return {one.path: one.checksum for one in listed if "/_gate" not in one.path}


def test_a_pin_a_fit_a_judgement_and_a_release(world, tries, built, monkeypatch):
    """The champion's alias moves last: before, nobody serves the version; after, all of it is there."""
    monkeypatch.setattr("include.orchestration.lineage.settings", lambda: world.settings)
    run_id, client = "kill-train", world.registry.client
    step = Step(TRAIN, COUPON.name, "", run_id, as_of="2017-10-15T00:00:00")
    pinned = tries(replace(step, name="pin"), PUBLISHING).returned
    assert published(world, f"train__{COUPON.name}", run_id) == 1

    fit = replace(step, name="fit", arguments={"training_set": pinned})
    store = "include.registry.store:Registry"
    candidate = tries(fit, [Death(f"{store}._open_run"), Death(f"{store}._log_bundle")]).returned
    experiment = client.get_experiment_by_name(COUPON.name)
    assert experiment is not None
    key = f"tags.`headrace.run_key` = 'train__{COUPON.name}/{run_id}'"
    assert len(client.search_runs([experiment.experiment_id], key)) == 1

    judge = replace(step, name="judge", arguments={"training_set": pinned, "candidate": candidate})
    judged = tries(judge, [Death(f"{store}.write_document")]).pushed["judged"]
    passed = replace(judged, verdict=replace(judged.verdict, passed=True, findings=()))
    release = replace(step, name="release", arguments={"judged": passed})
    before = world.registry.champion(COUPON.name)
    for death in (
        Death("mlflow:MlflowClient.create_model_version"),
        *PUBLISHING,
        Death(f"{store}.tag_version"),
    ):
        tries.once(release, death)
        assert world.registry.champion(COUPON.name) == before
    tries.once(release, Death(f"{store}.promote"))
    model = world.registry.champion(COUPON.name)
    assert model is not None
    load_released(world.lake, world.registry, model)
    assert tries.once(release).returned == model
    assert [one.run_id for one in world.registry.versions(COUPON.name)].count(candidate.run_id) == 1
    assert published(world, "release", f"train__{COUPON.name}/{run_id}") == 1
    assert client.get_run(candidate.run_id).info.status == "FINISHED"


def test_scores_and_their_publication(world, tries, scored):
    station = f"score__{LAPSE.name}"
    step = Step(SCORE, LAPSE.name, "score", "kill-score", as_of="2017-11-04T00:00:00")
    done = tries(step, [Death("include.serving.batch:score"), Death("include.lake:upload")])
    handed = {"draft": done.returned, "scored": done.pushed["scored"], "judged": PASSED}
    publish = Step(SCORE, LAPSE.name, "publish", "kill-score", handed)
    head = world.lake.head()
    for death in MERGING[:2]:
        tries.once(publish, death)
        assert world.lake.head() == head
    merged = [tries.once(publish, death) and world.lake.head() for death in MERGING[2:]]
    assert len({head, *merged}) == 2
    assert tries.once(publish).pushed["published"].commit == world.lake.head()
    assert published(world, station, "kill-score") == 1
    assert branches(world, "kill-score") == []


def test_a_refusal(world, tries, scored):
    head = world.lake.head()
    draft = tries(Step(SCORE, LAPSE.name, "score", "kill-refuse", as_of="2017-11-05T00:00:00")).returned
    refuse = Step(
        SCORE,
        LAPSE.name,
        "refuse",
        "kill-refuse",
        {"draft": draft, "judged": replace(PASSED, verdict=BROKEN)},
    )
    for death in (Death("include.lake:refuse", after=False), Death("include.lake:refuse")):
        tries.once(refuse, death)
    tries.once(refuse, raises="Main is as it was")
    (kept,) = [one for one in refused(world.lake) if one.run_id == "kill-refuse"]
    assert kept.verdict == BROKEN
    assert world.lake.head() == head


def test_a_watch(world, tries, scored):
    step = Step(MONITOR, LAPSE.name, "watch", "kill-watch", as_of="2017-12-03T00:00:00")
    done = tries(step, [Death("include.monitoring.drift:measure_drift"), *PUBLISHING])
    assert done.pushed["monitored"].matured_rows > 400
    assert published(world, f"monitor__{LAPSE.name}", "kill-watch") == 1
    assert branches(world, "kill-watch") == []


def test_a_cleared_training_makes_another_version_and_leaves_the_first_alone(world, tries, built):
    first = cleared(world, tries, 0, "2017-11-20T00:00:00")
    tags = world.registry.version_tags(first)
    second = cleared(world, tries, 1, "2017-12-20T00:00:00")
    assert second.version != first.version
    assert world.registry.version_tags(first) == tags
    for model in (first, second):
        world.registry.load(model)


def cleared(world: World, tries: Tries, times: int, as_of: str) -> Any:
    step = Step(TRAIN, COUPON.name, "", "cleared", as_of=as_of, cleared=times)
    pinned = tries(replace(step, name="pin")).returned
    candidate = tries(replace(step, name="fit", arguments={"training_set": pinned})).returned
    judge = replace(step, name="judge", arguments={"training_set": pinned, "candidate": candidate})
    judged = tries(judge).pushed["judged"]
    passed = replace(judged, verdict=replace(judged.verdict, passed=True, findings=()))
    return tries(replace(step, name="release", arguments={"judged": passed})).returned


def test_after_all_deaths_the_auditor_finds_nothing(world, tries, scored):
    code, found = outcomes(world)
    assert code == 0, [fault for one in found.values() for fault in one["violations"]]
