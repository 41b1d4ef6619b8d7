"""Runs of hooks."""

from include.stack.lakefs.call import Call, Reply, answer, page
from include.stack.lakefs.router import Route
from include.stack.lakefs.service import Service


def list_runs(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/actions/runs: newest first."""
    repository = service.engine.get_repository(call.path["repository"]).id
    found = service.journal.runs(
        repository,
        branch=call.text("branch"),
        commit_id=call.text("commit"),
        after=call.text("after"),
        amount=call.amount(),
    )
    return page(found, found.results)


def get_run(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/actions/runs/{run_id}."""
    repository = service.engine.get_repository(call.path["repository"]).id
    return answer(200, service.journal.run(repository, call.path["run_id"]))


def list_run_hooks(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/actions/runs/{run_id}/hooks."""
    repository = service.engine.get_repository(call.path["repository"]).id
    found = service.journal.hook_runs(
        repository, call.path["run_id"], after=call.text("after"), amount=call.amount()
    )
    return page(found, found.results)


def get_run_hook_output(service: Service, call: Call) -> Reply:
    """GET /repositories/{repository}/actions/runs/{run_id}/hooks/{hook_run_id}/output."""
    repository = service.engine.get_repository(call.path["repository"]).id
    hook_run_id = call.path["hook_run_id"]
    output = service.journal.output(repository, call.path["run_id"], hook_run_id)
    name = "".join(letter for letter in hook_run_id if letter.isalnum() or letter == "_")
    return Reply(
        200,
        output.encode(),
        "application/octet-stream",
        [("Content-Disposition", f'attachment; filename="{name}.log"')],
    )


RUNS = "/repositories/{repository}/actions/runs"
ROUTES = [
    Route("GET", RUNS, list_runs),
    Route("GET", f"{RUNS}/{{run_id}}", get_run),
    Route("GET", f"{RUNS}/{{run_id}}/hooks", list_run_hooks),
    Route("GET", f"{RUNS}/{{run_id}}/hooks/{{hook_run_id}}/output", get_run_hook_output),
]
