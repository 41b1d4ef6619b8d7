"""What this server is: version, storage, health."""

from include.stack.lakefs import wire
from include.stack.lakefs.call import Call, Reply, answer, done
from include.stack.lakefs.model import Invalid
from include.stack.lakefs.options import API_VERSION
from include.stack.lakefs.router import Route
from include.stack.lakefs.routes.staging import LINK_LIFE_S
from include.stack.lakefs.service import Service


def get_config(service: Service, call: Call) -> Reply:
    """GET /config."""
    del call
    storage = _storage(service)
    return answer(
        200,
        {
            "version_config": _version(),
            "storage_config": storage,
            "storage_config_list": [],
            "ui_config": {"custom_viewers": []},
            "capabilities_config": {"async_ops": False},
        },
    )


def get_version(service: Service, call: Call) -> Reply:
    """GET /config/version."""
    del service, call
    return answer(200, _version())


def get_storage_config(service: Service, call: Call) -> Reply:
    """GET /config/storage."""
    del call
    return answer(200, _storage(service))


def get_collection_config(service: Service, call: Call) -> Reply:
    """GET /config/garbage-collection."""
    del service, call
    return answer(200, {"grace_period": LINK_LIFE_S})


def _version() -> dict[str, object]:
    return {"version": API_VERSION, "version_context": "headrace-embedded", "upgrade_recommended": False}


def _storage(service: Service) -> dict[str, object]:
    store = service.blockstore
    return {
        "blockstore_type": store.kind,
        "blockstore_namespace_example": store.namespace_example,
        "blockstore_namespace_ValidityRegex": store.namespace_pattern,
        "default_namespace_prefix": service.options.default_namespace,
        "pre_sign_support": store.presigns,
        "pre_sign_support_ui": store.presigns,
        "import_support": True,
        "import_validity_regex": store.namespace_pattern,
        "pre_sign_multipart_upload": store.presigns,
    }


def healthcheck(service: Service, call: Call) -> Reply:
    """GET /healthcheck."""
    del service, call
    return done()


def post_statistics(service: Service, call: Call) -> Reply:
    """POST /statistics: checked and dropped; nothing is sent to anyone."""
    del service
    for event in call.json(wire.Statistics).events:
        if not event.kind:
            raise Invalid("invalid value: class is required")
        if not event.name:
            raise Invalid("invalid value: name is required")
        if event.count < 0:
            raise Invalid("invalid value: count must be a non-negative integer")
    return done()


ROUTES = [
    Route("GET", "/config", get_config),
    Route("GET", "/config/version", get_version),
    Route("GET", "/config/storage", get_storage_config),
    Route("GET", "/config/garbage-collection", get_collection_config),
    Route("GET", "/healthcheck", healthcheck, open=True),
    Route("POST", "/statistics", post_statistics),
]
