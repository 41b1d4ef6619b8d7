"""The whole audit: everything is read once, then each invariant is judged."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.audit import balance, changes, commits, held, leaks, rows, training_sets, versions, watermarks
from include.audit.lake_reader import MAIN, Commit, LakeReader
from include.audit.origins import database_rows, landed_rows, origins_of
from include.audit.registry_reader import Registered, RegistryReader
from include.audit.result import Checked, Result, combined
from include.audit.tables import connected, count, downloaded, table_files
from include.settings import Settings

DOCUMENTS = {"features": "_table.json", "training_sets": "training_set.json"}
LONGEST_DOCUMENT_BYTES = 1 << 20
NO_QUARANTINE = "no quarantine yet"


@dataclass
class Tables:
    """What a pass over all tables of main found.

    Args:
        parts: I1, of snapshots.
        keys: I2.
        times: I8.
        rows: Rows of each table, by its path.
        unkeyed: Tables whose key nobody knows.
        apart: Rows in quarantine that came from each file.
    """

    parts: list[Checked] = field(default_factory=list)
    keys: list[Checked] = field(default_factory=list)
    times: list[Checked] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    unkeyed: list[str] = field(default_factory=list)
    apart: dict[str, int] = field(default_factory=dict)


@dataclass
class Logs:
    """What a pass over all change logs of main found.

    Args:
        order: I3.
        held: Changes of each log that are published, by its path.
        apart: Changes of each log that are put apart.
    """

    order: list[Checked] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    apart: dict[str, int] = field(default_factory=dict)


def audit(settings: Settings, *, with_source: bool = True) -> list[Result]:
    """Every invariant, as far as the flow has reached, on main as it is now.

    Args:
        settings: Where the stores are.
        with_source: Whether rows are compared with the sources, which must not have moved on since.

    Raises:
        StoreUnreadable: A store does not answer; nothing can be said then.
    """
    lake = LakeReader.connect(settings)
    with lake.http, RegistryReader.connect(settings).http as http:
        chain = lake.main_chain()
        head = chain[0]["id"] if chain else MAIN
        objects = lake.objects(head)
        registered = RegistryReader(http).read()
        landings = watermarks.read_landings(lake, chain)
        tables = _check_tables(lake, head, [item["path"] for item in objects])
        newest = _newest(landings)
        source = _source_rows(settings, newest) if with_source else {}
        released, whole = _models(settings, lake, chain, registered)
        logs = _check_logs(lake, head, [item["path"] for item in objects])
        return [
            _no_lost_row(source, tables, newest, with_source=with_source),
            _balance(source, tables, chain, logs),
            combined(
                "I2", "no key is there twice", _summed(tables.keys), _listed("no key known", tables.unkeyed)
            ),
            combined(
                "I3",
                "the order of changes per key is kept",
                _summed(logs.order),
                "" if logs.order else "no change log yet",
            ),
            combined("I4", "every commit on main passed a named suite", [commits.check_verdicts(chain)]),
            combined(
                "I5",
                "main changes only by whole merges of judged drafts",
                [
                    commits.check_merges(chain, lake.commit),
                    commits.check_protection(lake.protected(), lake.uncommitted()),
                ]
                if commits.published(chain)
                else [],
            ),
            combined(
                "I6",
                "a watermark lies with its rows, never ahead",
                [watermarks.check_watermarks(landings), *_slots(settings, lake, head, newest, with_source)],
            ),
            released,
            combined("I8", "nothing was learnt that was not yet known", _summed(tables.times)),
            whole,
            _leaks(settings, lake, chain, registered, objects),
        ]


def _check_tables(lake: LakeReader, ref: str, paths: Sequence[str]) -> Tables:
    """One pass: each table is downloaded, checked, and dropped before the next."""
    found = Tables()
    with TemporaryDirectory(prefix="headrace-audit-") as made, connected(Path(made)) as connection:
        for path, files in table_files(paths).items():
            kind = path.partition("/")[0]
            named = DOCUMENTS.get(kind)
            document = lake.document(ref, f"{path}/{named}") if named else None
            with downloaded(lake, ref, path, files, Path(made)) as table:
                found.rows[path] = count(connection, f"FROM {table.relation}")
                if kind == "quarantine":
                    found.apart |= balance.rows_by_origin(connection, table)
                    continue
                keys = rows.check_unique(connection, table, document)
                if keys is None:
                    found.unkeyed.append(path)
                else:
                    found.keys.append(keys)
                if kind == "training_sets":
                    found.times.append(training_sets.check_training_set(connection, table, document))
                if kind == "raw":
                    manifest = lake.document(ref, f"{path}/{watermarks.SNAPSHOT}") or {}
                    found.parts.append(rows.check_parts(table, rows.part_rows(table), manifest))
    return found


def _newest(landings: Sequence[watermarks.Landing]) -> dict[str, watermarks.Landing]:
    """The last landing of each source, by its name."""
    return {landing.source: landing for landing in reversed(landings)}


def _source_rows(settings: Settings, newest: Mapping[str, watermarks.Landing]) -> dict[str, int]:
    """Rows of tables and of files at their sources, by lake table and by file."""
    found: dict[str, int] = {}
    for source, landing in newest.items():
        positions = (landing.watermark or {}).get("positions", ())
        held = [item["table"] for item in positions if item["kind"] == "snapshot"]
        dsn = getattr(settings, f"{source}_dsn", None)
        if dsn is not None and dsn.get_secret_value():
            counted = database_rows(dsn.get_secret_value(), held)
            found |= {f"raw/{source}/{table}": number for table, number in counted.items()}
        for item in positions:
            if item["kind"] == "files":
                manifest = landing.manifests.get(item["table"], {})
                found |= landed_rows(settings, sorted(origins_of(manifest)))
    return found


def _no_lost_row(
    source: Mapping[str, int],
    tables: Tables,
    newest: Mapping[str, watermarks.Landing],
    *,
    with_source: bool,
) -> Result:
    files: dict[str, int] = {}
    for landing in newest.values():
        for manifest in landing.manifests.values():
            files |= origins_of(manifest)
    against = rows.check_source_rows(
        source, {**files, **tables.rows}, {**tables.apart, **_quarantined(tables)}
    )
    note = "" if with_source else "the sources were left out"
    return combined("I1", "no row is lost", [against, *_summed(tables.parts)], note)


def _balance(
    source: Mapping[str, int], tables: Tables, chain: Sequence[Commit], logs: Logs | None = None
) -> Result:
    apart, logs = _quarantined(tables), logs or Logs()
    known = {table: number for table, number in source.items() if table in apart}
    parts = [
        balance.check_statements(chain),
        balance.check_held(chain, tables.rows, apart),
        balance.check_logs(chain, logs.held, logs.apart),
        rows.check_source_rows(known, tables.rows, apart),
    ]
    note = "" if apart or any(logs.apart.values()) else NO_QUARANTINE
    return combined("I1+", "rows in = rows published + rows in quarantine", parts, note)


def _quarantined(tables: Tables) -> dict[str, int]:
    return {
        "raw/" + path.removeprefix("quarantine/"): number
        for path, number in tables.rows.items()
        if path.startswith("quarantine/")
    }


def _check_logs(lake: LakeReader, ref: str, paths: Sequence[str]) -> Logs:
    """One pass over the change logs, and over what was put apart of them."""
    found = Logs()
    with TemporaryDirectory(prefix="headrace-audit-") as made:
        places: dict[str, list[held.Place | None]] = {}
        for path, files in held.held_files(paths).items():
            with downloaded(lake, ref, path, files, Path(made)) as table:
                places[path] = held.places(table)
        for path, files in changes.change_files(paths).items():
            kind, _, name = path.partition("/")
            with downloaded(lake, ref, path, files, Path(made)) as log:
                found.order.append(changes.check_order(log))
                whole = held.whole_changes(log, places.get(f"quarantine/{name}", ()))
            counted = found.held if kind == "raw" else found.apart
            counted[f"raw/{name}{balance.LOG}"] = whole
        for path, own in places.items():
            log_path = f"raw/{path.partition('/')[2]}{balance.LOG}"
            found.apart[log_path] = found.apart.get(log_path, 0) + len(own)
    return found


def _slots(
    settings: Settings, lake: LakeReader, ref: str, sources: Iterable[str], with_source: bool
) -> list[Checked]:
    """What the databases still keep of the logs that main has positions of."""
    held, addresses = {}, {}
    for source in sources if with_source else ():
        watermark = lake.document(ref, f"{watermarks.RAW}{source}/{changes.WATERMARK}") or {}
        for position in watermark.get("positions", ()):
            if position["kind"] == "lsn":
                held[source] = position
                named = (getattr(settings, f"{source}{kind}_dsn", None) for kind in ("_live", ""))
                known = [dsn.get_secret_value() for dsn in named if dsn is not None]
                addresses[source] = next(filter(None, known), "")
    return [changes.check_slots(held, addresses)]


def _models(
    settings: Settings, lake: LakeReader, chain: Sequence[Commit], registered: Registered
) -> tuple[Result, Result]:
    key = settings.signing_key.get_secret_value().encode()
    verified = [versions.verify_version(version, lake.read, key) for version in registered.versions]
    main = {commit["id"] for commit in chain}
    released = combined(
        "I7",
        "every model version is signed, and names what it was made from",
        [versions.check_versions(verified)],
    )
    whole = combined(
        "I9",
        "the chain of evidence is unbroken",
        [
            commits.check_chain(chain, lake.commit),
            versions.check_origins(verified, main),
            versions.check_champions(registered, verified),
        ],
    )
    return released, whole


def _leaks(
    settings: Settings,
    lake: LakeReader,
    chain: Sequence[Commit],
    registered: Registered,
    objects: Sequence[Mapping[str, Any]],
) -> Result:
    secrets = leaks.secrets_of(settings.home, settings)
    head = chain[0]["id"] if chain else MAIN
    said = ((item["id"], json.dumps([item["message"], item.get("metadata")])) for item in chain)
    documents = (
        (item["path"], (lake.read(head, item["path"]) or b"").decode(errors="replace"))
        for item in objects
        if not item["path"].endswith(".parquet") and item["size_bytes"] <= LONGEST_DOCUMENT_BYTES
    )
    parts = [
        leaks.check_files(settings.home, secrets),
        leaks.check_modes(settings.home),
        leaks.check_texts(said, secrets, "commits"),
        leaks.check_texts(documents, secrets, "lake documents"),
        leaks.check_texts(registered.told, secrets, "tags and parameters"),
    ]
    return combined("I10", "no secret where people read", parts, "" if secrets else "no secret is known here")


def _summed(parts: Sequence[Checked]) -> list[Checked]:
    """Checks of one subject as one."""
    subjects = list(dict.fromkeys(part.subject for part in parts))
    return [
        Checked(
            subject,
            sum(part.count for part in parts if part.subject == subject),
            tuple(fault for part in parts if part.subject == subject for fault in part.violations),
        )
        for subject in subjects
    ]


def _listed(said: str, names: Sequence[str]) -> str:
    return f"{said}: {', '.join(names)}" if names else ""
