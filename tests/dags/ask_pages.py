"""Asks Airflow's own web application, with our plugins in it, for pages; prints what it answered as JSON.

Run in a process of its own, since Airflow reads its configuration once: `ask_pages.py RUN`, where RUN is a
file of what the tasks of a run handed on.
"""

import json
import sys
from pathlib import Path

from airflow import settings
from airflow.api_fastapi.app import create_app
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from fastapi.testclient import TestClient
from sqlalchemy import text

DAG, RUN = "build_features__shop", "manual__2026-01-01T00:00:00+00:00"
PAGES = ("/dbt", "/report", "/reports", "/reports/first.html", "/reports/none.html", "/reports/notes.txt")
ESCAPES = (
    "/reports/link.html",
    "/reports/..%2Fstack.env",
    "/reports/%2e%2e%2fstack.env",
    "/reports/../stack.env",
)
OF_RUN = ("", "/models", "/gate", "/commit", "/registry")


def mounted(app):
    return next(route.app for route in app.routes if getattr(route, "path", "") == "/headrace")


def answers(client, paths):
    found = {}
    for path in paths:
        answer = client.get(f"/headrace{path}", follow_redirects=False)
        found[path] = {
            "status": answer.status_code,
            "text": answer.text,
            "to": answer.headers.get("location", ""),
            "policy": answer.headers.get("content-security-policy", ""),
        }
    return found


def prepare_database(handed_on):
    import_all_models()
    Base.metadata.create_all(settings.engine)
    with create_session() as session:
        session.execute(text("PRAGMA foreign_keys = OFF"))  # the run itself and its DAG do not matter here
        for name, value in handed_on.items():
            task, _, key = name.partition(".")
            session.add(
                XComModel(
                    dag_run_id=1, dag_id=DAG, run_id=RUN, task_id=task, key=key, value=value, map_index=-1
                )
            )


def main():
    app = create_app("core")
    prepare_database(json.loads(Path(sys.argv[1]).read_text()))
    of_run = [f"/runs/{DAG}/{RUN}{page}".replace("+", "%2B") for page in OF_RUN]
    everything = [*PAGES, *ESCAPES, f"/commits/{'0' * 64}", *of_run]
    told = {}
    with TestClient(app, base_url="http://localhost") as client:
        told["anonymous"] = answers(client, everything)
        client.cookies.set("_token", "not.a.token")
        told["forged"] = answers(client, everything)
        client.cookies.clear()
        login = {"username": "admin", "password": "planted"}
        client.cookies.set("_token", client.post("/auth/token", json=login).json()["access_token"])
        told["user"] = answers(client, [*PAGES, *ESCAPES, "/commits/zz"])
        told["run"] = answers(client, of_run)
    told["routes"] = sorted({route.path for route in mounted(app).app.routes})
    print(json.dumps(told))


main()
