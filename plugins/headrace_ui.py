"""Headrace in Airflow's UI: pages about what runs made, links to them from tasks, and entries of the menu."""

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.orchestration.links import LINKS, PREFIX

_Message = MutableMapping[str, Any]


class _Pages:
    """The web application, made at its first request: tasks and parsers load plugins, but serve nothing."""

    @cached_property
    def app(self) -> Any:
        from include.orchestration.pages.app import make_app

        return make_app()

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        await self.app(scope, receive, send)


class HeadraceUi(AirflowPlugin):
    """Registers pages, links and menu entries."""

    name = "headrace_ui"
    fastapi_apps = [{"app": _Pages(), "url_prefix": PREFIX, "name": "Headrace"}]  # noqa: RUF012  # as above it
    external_views = [  # noqa: RUF012
        {"name": "dbt docs", "href": f"{PREFIX}/dbt", "destination": "nav", "url_route": "dbt_docs"},
        # Without a route it opens in a tab of its own, where its links lead on.
        {"name": "Report", "href": f"{PREFIX}/report", "destination": "nav"},
        {
            "name": "Headrace",
            "href": f"{PREFIX}/runs/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "headrace",
        },
    ]
    global_operator_extra_links = list(LINKS)  # noqa: RUF012
