"""The web application that Airflow's server mounts; imported there only, at the first request.

Plugins' applications are open to everyone unless they ask for a user themselves: each route here does, by
Airflow's own rules, and pages about a run want the right to read its DAG.
"""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
from airflow.models.xcom import XComModel
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import select
from starlette.responses import HTMLResponse, Response

from include.lake.errors import UnknownRef
from include.orchestration.links import PREFIX, run_page
from include.orchestration.pages import view
from include.orchestration.pages.handed_on import HandedOn
from include.spec.errors import HeadraceError

TEMPLATES = Path(__file__).parent / "templates"

# Ours run no script and load nothing. What dbt and the report wrote does run its own, in an origin apart
# from Airflow's, whose session it must not use; what it links to opens in a tab with its own origin again.
OURS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
THEIRS = {
    "Content-Security-Policy": (
        "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads;"
        " default-src 'none'; img-src data:;"
        " font-src data:; script-src 'unsafe-inline' 'unsafe-eval';"
        " style-src 'unsafe-inline'; frame-ancestors 'self'"
    ),
    "Cache-Control": "no-store",
}

pages = APIRouter(dependencies=[Depends(requires_access_view(AccessView.WEBSITE))])
runs = APIRouter(
    prefix="/runs/{dag_id}/{run_id}",
    dependencies=[
        Depends(requires_access_dag("GET", DagAccessEntity.RUN)),
        Depends(requires_access_dag("GET", DagAccessEntity.XCOM)),
    ],
)


def make_app() -> FastAPI:
    """The application, to be mounted at `PREFIX`."""
    app = FastAPI(title="Headrace", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(pages)
    app.include_router(runs)
    app.add_exception_handler(HeadraceError, _unreadable)
    app.add_exception_handler(HTTPException, _refused)
    return app


def handed_on(dag_id: str, run_id: str, session: SessionDep) -> HandedOn:
    """What the tasks of the run handed on."""
    query = select(XComModel.task_id, XComModel.key, XComModel.value).where(
        XComModel.dag_id == dag_id, XComModel.run_id == run_id
    )
    return HandedOn({(task, key): value for task, key, value in session.execute(query)})


Handed = Annotated[HandedOn, Depends(handed_on)]


@pages.get("/dbt")
def dbt_docs() -> Response:
    """The documentation of the feature models, as the newest build wrote it."""
    return _file(view.page_file(view.DBT_DOCS, "index.html"), "No features have been built yet.")


@pages.get("/report")
def newest_report() -> Response:
    """The newest report."""
    found = view.reports()
    return _file(found[0] if found else None, "There is no report yet: `headrace report` writes one.")


@pages.get("/reports")
def all_reports() -> Response:
    """The list of reports."""
    return _page("reports.html", title="Reports", reports=view.reports())


@pages.get("/reports/{name}")
def report(name: str) -> Response:
    """One report."""
    return _file(view.page_file(view.REPORTS, name), "There is no such report.")


@pages.get("/commits/{commit}")
def lake_commit(commit: Annotated[str, InPath(pattern="^[0-9a-f]{12,64}$")]) -> Response:
    """A commit of the lake, with what it changed."""
    return _page("commit.html", title=f"Lake commit {commit[:12]}", commit=view.commit_of(commit))


@runs.get("")
def run(dag_id: str, run_id: str, handed: Handed) -> Response:
    """All that is to be seen of a run, on one page."""
    return _run_page(
        "run.html",
        "Run",
        dag_id,
        run_id,
        commits=handed.commits,
        gate=view.gate_of(handed),
        candidate=handed.candidate,
        registry_run=handed.registry_run,
        results=view.model_results(dag_id, run_id),
    )


@runs.get("/models")
def models(dag_id: str, run_id: str) -> Response:
    """Models and tests of a feature build."""
    results = _needed(view.model_results(dag_id, run_id), "This run has built no models yet.")
    return _run_page("models.html", "Models and tests", dag_id, run_id, results=results)


@runs.get("/gate")
def gate(dag_id: str, run_id: str, handed: Handed) -> Response:
    """The gate's results, rule by rule; of a refused run, too."""
    found = _needed(view.gate_of(handed), "The gate of this run has not decided yet.")
    return _run_page("gate.html", "Gate results", dag_id, run_id, gate=found, candidate=handed.candidate)


@runs.get("/commit")
def run_commit(handed: Handed) -> Response:
    """To the commit that the run made."""
    made = [found for found in handed.commits if found.made]
    commit = _needed(made[-1] if made else None, "This run has committed nothing to the lake yet.").commit
    return RedirectResponse(f"{PREFIX}/commits/{commit.commit}")


@runs.get("/registry")
def registry_run(handed: Handed) -> Response:
    """To the run of the registry that holds the candidate."""
    found = _needed(handed.registry_run, "This run has fitted no candidate yet.")
    return RedirectResponse(view.registry_address(found))


def _run_page(template: str, title: str, dag_id: str, run_id: str, **values: Any) -> Response:
    links = {
        "overview": run_page(dag_id, run_id),
        "airflow": f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
    }
    return _page(template, title=title, dag_id=dag_id, run_id=run_id, links=links, **values)


def _page(template: str, *, status: int = 200, **values: Any) -> Response:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template(template).render(prefix=PREFIX, **values)
    return HTMLResponse(html, status_code=status, headers=OURS)


def _file(path: Path | None, absent: str) -> Response:
    return FileResponse(_needed(path, absent), headers=THEIRS)


def _needed(value: Any, absent: str) -> Any:
    if value is None:
        raise HTTPException(404, absent)
    return value


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _page("nothing.html", title="Nothing to show", said=error.detail, status=error.status_code)


def _unreadable(_: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, UnknownRef) else 502
    return _page("nothing.html", title="The lake could not be read", said=str(error), status=status)
