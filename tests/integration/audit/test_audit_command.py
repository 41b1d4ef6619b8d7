"""`headrace audit` on real stores: 0 where all is in order, 1 and the ids where violations are planted."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import lakefs
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lakefs.client import Client
from typer.testing import CliRunner

from include.audit.versions import bundle_digest
from include.audit.watermarks import snapshot_digest
from include.cli import app
from include.lake import Lake, publish, upload, write_watermark
from include.registry.store import Registry
from include.settings import settings as settings_of_process
from include.spec.refs import ModelRef, Position, Published
from include.spec.verdict import Verdict
from tests.conftest import own_registry
from tests.unit.audit.test_audit_versions import signed

pytestmark = pytest.mark.integration

START = datetime(2017, 1, 1)
DAY = timedelta(days=1)
TABLE, SET, PRODUCT = "raw/retail/campaign_descriptions", "training_sets/lapse/1", "lapse"
FILES = {"model.ubj": b"trees", "schema.json": b"{}"}
KEY, SECRET = "a key to sign releases with", "s3cr3t-of-the-source"
INVARIANTS = ["I1", "I1+", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10"]
NOT_REACHED = {"I1+", "I3"}


@dataclass(frozen=True)
class House:
    """Everything that an audit reads, in order.

    Args:
        lake: With rows, features, a training set and a manifest on main.
        registry: With one version, the champion.
        model: That version.
        home: The state folder.
        dsn: The source.
    """

    lake: Lake
    registry: Registry
    model: ModelRef
    home: Path
    dsn: str


@pytest.fixture(scope="module")
def registry_url(tmp_path_factory: pytest.TempPathFactory, postgres: Any, seaweedfs: Any) -> Iterator[str]:
    with own_registry(tmp_path_factory.mktemp("mlflow"), postgres, seaweedfs) as url:
        yield url


@pytest.fixture(scope="module")
def source(postgres: Any) -> Iterator[str]:
    """A database of the source's own, with two campaigns."""
    name = f"shop_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(postgres.dsn(database=name), autocommit=True) as connection:
        connection.execute("CREATE TABLE campaign_descriptions AS SELECT * FROM generate_series(1, 2)")
    yield postgres.dsn(database=name)
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def house(
    lake_server_local: Any, registry_url: str, source: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    environment = {
        "HOME": str(home),
        "LAKEFS_ENDPOINT": lake_server_local.endpoint,
        "LAKEFS_ACCESS_KEY_ID": lake_server_local.access_key_id,
        "LAKEFS_SECRET_ACCESS_KEY": lake_server_local.secret_access_key,
        "LAKE_REPOSITORY": f"lake-{uuid4().hex[:12]}",
        "LAKE_STORAGE_NAMESPACE": f"local://lake/{uuid4().hex}",
        "MLFLOW_TRACKING_URI": registry_url,
        "RETAIL_DSN": source,
        "SIGNING_KEY": KEY,
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(f"HEADRACE_{name}", value)
        settings_of_process.cache_clear()
        (home / "log").mkdir()
        (home / "log" / "lakefs.log").write_text("started\n")
        (home / "stack.env").touch(0o600)
        (home / "credentials.json").write_text(json.dumps({"source": {"password": SECRET}}))
        (home / "credentials.json").chmod(0o600)
        lake, registry = Lake.prepare(settings_of_process()), Registry.connect(settings_of_process())
        yield House(lake, registry, fill(lake, registry, tmp_path_factory.mktemp("made")), home, source)
    settings_of_process.cache_clear()


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def put(lake: Lake, folder: Path, stage: Callable[[Any], object] = lambda _: None) -> str:
    """Publish a folder that mirrors the lake; the commit."""

    def both(draft: Any) -> None:
        upload(lake, draft, folder, "")
        stage(draft)

    verdict = Verdict(True, "5" * 64, 3)
    published = publish(lake, uuid4().hex, "test", both, lambda _: verdict, f"Publish {folder.name}")
    assert isinstance(published, Published)
    return published.commit.commit


def feature_row(**changes: Any) -> dict[str, Any]:
    return {"household_id": 1, "event_timestamp": START, "created_timestamp": START, **changes}


def learning_rows(**changes: Any) -> list[dict[str, Any]]:
    rows = [
        {
            "household_id": number,
            "event_timestamp": START + number * 10 * DAY,
            "matured_timestamp": START + number * 10 * DAY + DAY,
            "split": split,
            "f__event_timestamp": START + number * 10 * DAY,
            "f__created_timestamp": START + number * 10 * DAY,
        }
        for number, split in enumerate(("train", "validation", "test"))
    ]
    return [{**rows[0], **changes}, *rows[1:]]


def fill(lake: Lake, registry: Registry, made: Path) -> ModelRef:
    """Rows, features, a training set, and a champion whose manifest is signed and names them."""
    raw = made / "raw"
    part = write(raw / TABLE / "snapshot" / "0.parquet", [{"campaign_id": 1}, {"campaign_id": 2}])
    named = {"name": "0.parquet", "rows": 2, "sha256": hashlib.sha256(part.read_bytes()).hexdigest()}
    manifest = {"contract": "c", "parts": [named]}
    (part.parent / "_manifest.json").write_text(json.dumps(manifest))
    position = Position("snapshot", snapshot_digest(manifest), "campaign_descriptions")
    data = put(lake, raw, lambda draft: write_watermark(lake, draft, "retail", position))

    features = made / "features"
    write(features / "features" / "feat_a" / "0.parquet", [feature_row()])
    (features / "features" / "feat_a" / "_table.json").write_text(json.dumps({"entity": ["household_id"]}))
    feature = put(lake, features)

    pinned = made / "pinned"
    write(pinned / SET / "rows.parquet", learning_rows())
    told = {"entity": ["household_id"], "as_of": (START + 30 * DAY).isoformat(), "tables": ["f"]}
    (pinned / SET / "training_set.json").write_text(json.dumps(told))
    training = put(lake, pinned)
    return release(lake, registry, made, {"data": data, "feature": feature, "training_set": training})


def release(lake: Lake, registry: Registry, made: Path, commits: dict[str, str]) -> ModelRef:
    bundle = made / "bundle"
    bundle.mkdir()
    for name, content in FILES.items():
        (bundle / name).write_bytes(content)
    digest = bundle_digest(FILES)
    model = registry.register(registry.log_candidate(PRODUCT, "task", bundle, digest, params={}), {})
    named = {f"{name}_commit": commit for name, commit in commits.items()}
    named |= {"training_set_id": "1", "code_commit": "code", "dbt_manifest_hash": "d", "digest": digest}
    manifest = {
        **named,
        "product": PRODUCT,
        "version": model.version,
        "run_id": model.run_id,
        "seed": 17,
        "suite_hashes": {"raw": "1"},
        "gate_passed": True,
    }
    path = f"releases/{PRODUCT}/{model.version}.json"
    (made / "release" / path).parent.mkdir(parents=True)
    (made / "release" / path).write_text(json.dumps(signed(manifest, KEY.encode())))
    at = put(lake, made / "release")
    told = {**named, "seed": "17", "suite_hashes": "raw=1", "signer": "release"}
    told |= {"manifest": path, "manifest_commit": at}
    registry.tag_version(model, {f"headrace.{name}": value for name, value in told.items()})
    registry.promote(model)
    return model


def audit(*arguments: str, code: int) -> str:
    done = CliRunner().invoke(app, ["audit", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def plant(house: House, made: Path) -> dict[str, str]:
    """Break each invariant that the flow reaches; by its number, the id that must be named."""
    lake, registry = house.lake, house.registry
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO campaign_descriptions VALUES (3), (4)")
    (house.home / "log" / "lakefs.log").write_text(f"connecting with {SECRET}\n")
    write(made / "features" / "feat_a" / "0.parquet", [feature_row(), feature_row()])
    late = {"f__created_timestamp": START + 5 * DAY}
    write(made / SET / "rows.parquet", learning_rows(**late))
    put(lake, made)
    by_hand = write_to_main(lake, write(made.parent / "more.parquet", [{"campaign_id": 4}]).read_bytes())
    registry.tag_version(house.model, {"headrace.seed": "18"})
    (made.parent / "other").mkdir()
    (made.parent / "other" / "model.ubj").write_bytes(b"other trees")
    digest = bundle_digest({"model.ubj": b"other trees"})
    other = registry.log_candidate(PRODUCT, "by hand", made.parent / "other", digest, params={})
    registry.promote(registry.register(other, {}))
    return {
        "I1": TABLE,
        "I2": f"features/feat_a?household_id=1, event_timestamp={START}, created_timestamp={START}",
        "I4": by_hand,
        "I5": by_hand,
        "I6": f"{by_hand}:raw/retail/_watermark.json",
        "I7": f"{PRODUCT}/{house.model.version}",
        "I8": SET,
        "I9": f"{PRODUCT}@champion",
        "I10": "log/lakefs.log",
    }


def write_to_main(lake: Lake, content: bytes) -> str:
    """A commit on main past all gates, by somebody with the keys."""
    known = settings_of_process()
    client = Client(
        host=lake.endpoint,
        username=known.lakefs_access_key_id,
        password=known.lakefs_secret_access_key.get_secret_value(),
    )
    lake.api.repositories_api.set_branch_protection_rules(lake.repository, [])
    main = lakefs.Repository(lake.repository, client=client).branch("main")
    main.object(f"{TABLE}/snapshot/1.parquet").upload(data=content, mode="wb")
    return str(main.commit("Past the gates").get_commit().id)


def test_stores_in_order_end_with_0_and_planted_violations_with_1(house: House, tmp_path: Path) -> None:
    before = {row["invariant"]: row for row in json.loads(audit("--json", code=0))}
    assert list(before) == INVARIANTS
    for number, row in before.items():
        wanted = "nothing to check" if number in NOT_REACHED else "kept"
        assert (row["outcome"], row["violations"]) == (wanted, []), row
        assert (row["checked"] > 0) == (wanted == "kept")
    printed = audit(code=0)
    assert "9 kept, 0 broken, 2 with nothing to check." in printed

    planted = plant(house, tmp_path / "made")
    assert set(planted) == set(INVARIANTS) - NOT_REACHED
    after = {row["invariant"]: row for row in json.loads(audit("--json", code=1))}
    for number, named in planted.items():
        assert after[number]["outcome"] == "broken", number
        assert named in [violation["id"] for violation in after[number]["violations"]], after[number]
    printed = audit(code=1)
    assert "0 kept, 9 broken, 2 with nothing to check." in printed
    rows = [line for line in printed.splitlines() if "│" in line]
    for number, named in planted.items():
        (row,) = [line for line in rows if line.split("│")[1].strip() == number]
        assert "broken (" in row
        assert any(line.startswith(f"{number} {named}: ") for line in printed.splitlines()), number
    assert SECRET not in printed
    alone = {row["invariant"]: row for row in json.loads(audit("--json", "--no-source", code=1))}
    assert TABLE not in [violation["id"] for violation in alone["I1"]["violations"]]


def test_rows_that_are_put_apart_are_counted_once(house: House, tmp_path: Path) -> None:
    """What is in quarantine and in the table, too, makes more rows than there were."""
    write(tmp_path / "made" / TABLE.replace("raw", "quarantine") / "0.parquet", [{"campaign_id": 1}] * 7)
    put(house.lake, tmp_path / "made")
    balance = {row["invariant"]: row for row in json.loads(audit("--json", code=1))}["I1+"]
    assert balance["outcome"] == "broken"
    assert [(violation["id"], violation["what"].split()[0]) for violation in balance["violations"]] == [
        (TABLE, "7"),
        (TABLE, "source"),
    ]


def test_a_store_that_does_not_answer_ends_with_2(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HEADRACE_MLFLOW_TRACKING_URI", "HEADRACE_LAKEFS_ENDPOINT"):
        with monkeypatch.context() as patched:
            patched.setenv(variable, "http://127.0.0.1:9")
            settings_of_process.cache_clear()
            assert "cannot be read" in audit(code=2)
    settings_of_process.cache_clear()
