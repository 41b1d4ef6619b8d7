"""Action files: what `_lakefs_actions/*.yaml` of a tree says about hooks.

Source: lakeFS documentation, "Actions and Hooks"; the hook type `webhook` is the one supported here.
"""

import fnmatch
import re
from typing import Any

import msgspec

from include.stack.lakefs.model import LakeError

FOLDER = "_lakefs_actions/"
MAX_FILE_BYTES = 2**20
MAX_NODES = 100_000
MAX_DEPTH = 50

EVENTS = frozenset(
    {
        *(
            f"{when}-{what}"
            for when in ("pre", "post")
            for what in ("commit", "merge", "revert", "cherry-pick")
        ),
        *(
            f"{when}-{what}-{kind}"
            for when in ("pre", "post")
            for what in ("create", "delete")
            for kind in ("branch", "tag")
        ),
        "prepare-commit",
    }
)

ACTION_NAME = re.compile(r"^\w[\w\-. ]+$")
HOOK_ID = re.compile(r"^[_a-zA-Z][\-_a-zA-Z0-9]{1,255}$")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class BadAction(LakeError):
    """An action file that cannot be used; the event it would judge does not happen."""

    status = 412


class ActionOn(msgspec.Struct):
    """When an action runs; no branches means all."""

    branches: list[str] | None = None


class WebhookProperties(msgspec.Struct, forbid_unknown_fields=True):
    """What a webhook calls, and how."""

    url: str
    timeout: str | None = None
    query_params: dict[str, str | list[str]] | None = None
    headers: dict[str, str] | None = None


class Hook(msgspec.Struct):
    """One hook of an action."""

    id: str
    type: str
    properties: dict[str, Any]
    description: str | None = None
    condition: str | None = msgspec.field(name="if", default=None)


class Action(msgspec.Struct):
    """One action file."""

    name: str
    on: dict[str, ActionOn | None]
    hooks: list[Hook]
    description: str | None = None

    def fits(self, event: str, branch: str) -> bool:
        """Whether it runs on an event of a branch; branch patterns are globs."""
        if event not in self.on:
            return False
        when = self.on[event]
        if when is None or not when.branches:
            return True
        return any(fnmatch.fnmatchcase(branch, pattern) for pattern in when.branches)


def parse_action(path: str, data: bytes) -> Action:
    """Read an action file.

    Args:
        path: Its path, for messages.
        data: Its bytes, YAML.

    Raises:
        BadAction: It is not YAML, or not an action, or has a hook of an unsupported type.
    """
    import yaml

    try:
        # YAML 1.1 reads the key `on` as true.
        raw = yaml.safe_load(data)
        _check_size(raw)
        if isinstance(raw, dict) and True in raw:
            raw["on"] = raw.pop(True)
        action = msgspec.convert(raw, Action)
    except (yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
        raise BadAction(f"parsing file {path}: {error}") from error
    _check(path, action)
    return action


def _check_size(raw: object) -> None:
    """Refuse what aliases make huge, or endless, before anything walks through it.

    Raises:
        ValueError: It is.
    """
    sizes: dict[int, int] = {}

    def size(node: object, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        if not isinstance(node, (dict, list)):
            return 1
        if id(node) not in sizes:
            children = [*node, *node.values()] if isinstance(node, dict) else node
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in children)
        return sizes[id(node)]

    if size(raw, 0) > MAX_NODES:
        raise ValueError("too large")


def _check(path: str, action: Action) -> None:
    if not ACTION_NAME.match(action.name):
        raise BadAction(f"parsing file {path}: 'name' is invalid: invalid action")
    if not action.on:
        raise BadAction(f"parsing file {path}: 'on' is required: invalid action")
    for event, when in action.on.items():
        if event not in EVENTS:
            raise BadAction(f"parsing file {path}: event '{event}' is not supported: invalid action")
        if event.endswith("tag") and when is not None and when.branches:
            raise BadAction(f"parsing file {path}: 'branches' is not supported in tag event types")
    seen: set[str] = set()
    for index, hook in enumerate(action.hooks):
        if not HOOK_ID.match(hook.id):
            raise BadAction(f"parsing file {path}: hook[{index}] missing ID: invalid action")
        if hook.id in seen:
            raise BadAction(f"parsing file {path}: hook[{index}] duplicate ID '{hook.id}': invalid action")
        if hook.type != "webhook":
            raise BadAction(
                f"parsing file {path}: hook[{index}] type '{hook.type}' is not supported: use webhook"
            )
        seen.add(hook.id)


def webhook_properties(hook: Hook) -> WebhookProperties:
    """The typed properties of a webhook.

    Raises:
        BadAction: One is missing, unknown or of another type.
    """
    try:
        return msgspec.convert(hook.properties, WebhookProperties)
    except msgspec.ValidationError as error:
        raise BadAction(f"hook '{hook.id}': webhook wrong format: {error}") from error


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `1m30s`.

    Raises:
        BadAction: It is not one.
    """
    found = DURATION.findall(text)
    if not found or "".join(number + unit for number, unit in found) != text:
        raise BadAction(f"webhook request duration: {text!r} is not a duration such as 1m30s")
    return sum(float(number) * SECONDS[unit] for number, unit in found)
