"""Who may call: one administrator, whose keys come from the environment."""

from include.stack.lakefs import wire
from include.stack.lakefs.call import Call, Reply, answer, failure
from include.stack.lakefs.model import NotFound
from include.stack.lakefs.router import Route
from include.stack.lakefs.service import Service


def login(service: Service, call: Call) -> Reply:
    """POST /auth/login."""
    body = call.json(wire.Login)
    token, expires_at = service.gatekeeper.login(body.access_key_id, body.secret_access_key)
    return answer(200, {"token": token, "token_expiration": expires_at})


def current_user(service: Service, call: Call) -> Reply:
    """GET /user."""
    return answer(200, {"user": {**_user(service), "id": call.user}})


def list_users(service: Service, call: Call) -> Reply:
    """GET /auth/users."""
    del call
    return _all([_user(service)])


def get_user(service: Service, call: Call) -> Reply:
    """GET /auth/users/{userId}."""
    _check_user(service, call)
    return answer(200, _user(service))


def list_credentials(service: Service, call: Call) -> Reply:
    """GET /auth/users/{userId}/credentials."""
    _check_user(service, call)
    return _all([_credentials(service)])


def get_credentials(service: Service, call: Call) -> Reply:
    """GET /auth/users/{userId}/credentials/{accessKeyId}: never with the secret."""
    _check_user(service, call)
    if call.path["accessKeyId"] != service.gatekeeper.access_key_id:
        raise NotFound("credentials not found")
    return answer(200, _credentials(service))


def capabilities(service: Service, call: Call) -> Reply:
    """GET /auth/capabilities."""
    del service, call
    return answer(200, {"invite_user": False, "forgot_password": False})


def setup_state(service: Service, call: Call) -> Reply:
    """GET /setup_lakefs: there is nothing to set up."""
    del service, call
    return answer(
        200,
        {
            "state": "initialized",
            "comm_prefs_missing": False,
            "login_config": {"RBAC": "none", "login_url": "/auth/login", "login_cookie_names": []},
        },
    )


def setup(service: Service, call: Call) -> Reply:
    """POST /setup_lakefs: it was set up when it started."""
    del service, call
    return failure(409, "lakeFS already initialized")


def setup_preferences(service: Service, call: Call) -> Reply:
    """POST /setup_comm_prefs: no address of anyone is kept, and nothing is sent to anyone."""
    del service, call
    return Reply(200)


def _check_user(service: Service, call: Call) -> None:
    if call.path["userId"] != service.gatekeeper.user:
        raise NotFound("user not found")


def _user(service: Service) -> dict[str, object]:
    gatekeeper = service.gatekeeper
    return {"id": gatekeeper.user, "creation_date": gatekeeper.created_at, "friendly_name": gatekeeper.user}


def _credentials(service: Service) -> dict[str, object]:
    gatekeeper = service.gatekeeper
    return {"access_key_id": gatekeeper.access_key_id, "creation_date": gatekeeper.created_at}


def _all(results: list[dict[str, object]]) -> Reply:
    pagination = {"has_more": False, "next_offset": "", "results": len(results), "max_per_page": 1000}
    return answer(200, {"pagination": pagination, "results": results})


USER = "/auth/users/{userId}"
ROUTES = [
    Route("POST", "/auth/login", login, open=True),
    Route("GET", "/user", current_user),
    Route("GET", "/auth/users", list_users),
    Route("GET", USER, get_user),
    Route("GET", f"{USER}/credentials", list_credentials),
    Route("GET", f"{USER}/credentials/{{accessKeyId}}", get_credentials),
    Route("GET", "/auth/capabilities", capabilities, open=True),
    Route("GET", "/setup_lakefs", setup_state, open=True),
    Route("POST", "/setup_lakefs", setup, open=True),
    Route("POST", "/setup_comm_prefs", setup_preferences, open=True),
]
