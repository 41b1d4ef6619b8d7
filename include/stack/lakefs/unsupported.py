"""What the lakeFS API has and this server has not: every operation here answers 501 and says so."""

from include.stack.lakefs.call import Call, NotSupported, Reply
from include.stack.lakefs.router import Handler, Route
from include.stack.lakefs.service import Service

ACCESS_CONTROL = (
    "users, groups and policies: there is one administrator, whose keys come from the environment"
)
PULLS = "pull requests"
DUMPS = "dumping and restoring refs: copy the data folder of a stopped server instead"
RANGES = "ranges as files: trees are kept in the metadata store"
EXTERNAL = "external identities"

OPERATIONS: dict[str, list[tuple[str, str]]] = {
    ACCESS_CONTROL: [
        ("POST", "/auth/users"),
        ("DELETE", "/auth/users/{userId}"),
        ("PUT", "/auth/users/{userId}/friendly_name"),
        ("PUT", "/auth/users/{userId}/password"),
        ("POST", "/auth/users/{userId}/credentials"),
        ("DELETE", "/auth/users/{userId}/credentials/{accessKeyId}"),
        ("GET", "/auth/users/{userId}/groups"),
        ("GET", "/auth/users/{userId}/policies"),
        ("PUT", "/auth/users/{userId}/policies/{policyId}"),
        ("DELETE", "/auth/users/{userId}/policies/{policyId}"),
        ("GET", "/auth/groups"),
        ("POST", "/auth/groups"),
        ("GET", "/auth/groups/{groupId}"),
        ("DELETE", "/auth/groups/{groupId}"),
        ("GET", "/auth/groups/{groupId}/acl"),
        ("POST", "/auth/groups/{groupId}/acl"),
        ("GET", "/auth/groups/{groupId}/members"),
        ("PUT", "/auth/groups/{groupId}/members/{userId}"),
        ("DELETE", "/auth/groups/{groupId}/members/{userId}"),
        ("GET", "/auth/groups/{groupId}/policies"),
        ("PUT", "/auth/groups/{groupId}/policies/{policyId}"),
        ("DELETE", "/auth/groups/{groupId}/policies/{policyId}"),
        ("GET", "/auth/policies"),
        ("POST", "/auth/policies"),
        ("GET", "/auth/policies/{policyId}"),
        ("PUT", "/auth/policies/{policyId}"),
        ("DELETE", "/auth/policies/{policyId}"),
    ],
    EXTERNAL: [
        ("POST", "/sts/login"),
        ("GET", "/oidc/callback"),
        ("POST", "/auth/external/principal/login"),
        ("GET", "/auth/external/principals"),
        ("POST", "/auth/users/{userId}/external/principals"),
        ("DELETE", "/auth/users/{userId}/external/principals"),
        ("GET", "/auth/users/{userId}/external/principals/ls"),
    ],
    PULLS: [
        ("GET", "/repositories/{repository}/pulls"),
        ("POST", "/repositories/{repository}/pulls"),
        ("GET", "/repositories/{repository}/pulls/{pull_request}"),
        ("PATCH", "/repositories/{repository}/pulls/{pull_request}"),
        ("PUT", "/repositories/{repository}/pulls/{pull_request}/merge"),
    ],
    DUMPS: [
        ("PUT", "/repositories/{repository}/refs/dump"),
        ("PUT", "/repositories/{repository}/refs/restore"),
        ("POST", "/repositories/{repository}/dump"),
        ("GET", "/repositories/{repository}/dump"),
        ("POST", "/repositories/{repository}/restore"),
        ("GET", "/repositories/{repository}/restore"),
    ],
    RANGES: [
        ("GET", "/repositories/{repository}/metadata/meta_range/{meta_range}"),
        ("GET", "/repositories/{repository}/metadata/range/{range}"),
        ("GET", "/repositories/{repository}/metadata/object/{type}/{object_id}"),
        ("POST", "/repositories/{repository}/branches/metaranges"),
        ("PUT", "/repositories/{repository}/branches/ranges"),
    ],
    "usage reports": [("GET", "/usage-report/summary")],
    "licences": [("GET", "/license")],
}


def _refuse(what: str) -> Handler:
    def refuse(service: Service, call: Call) -> Reply:
        del service, call
        raise NotSupported(f"not supported by this server: {what}")

    return refuse


ROUTES = [
    Route(method, path, _refuse(what))
    for what, operations in OPERATIONS.items()
    for method, path in operations
]
