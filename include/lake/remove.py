"""Objects taken off a draft: what a newer snapshot of a table replaces."""

from collections.abc import Sequence

from include.lake.connection import MODELS, Lake
from include.lake.errors import ServerRefused
from include.lake.runs import needed_head
from include.spec.refs import DraftRef

# As many as one request may name.
PAGE = 1000


def remove(lake: Lake, draft: DraftRef, paths: Sequence[str]) -> None:
    """Take objects off the draft; commits keep what they hold, and a path that is not there is fine.

    Raises:
        DraftGone: There is no such draft.
        ServerRefused: Some could not be removed.
    """
    needed_head(lake, draft)
    delete = lake.api.objects_api.delete_objects
    for first in range(0, len(paths), PAGE):
        named = MODELS.PathList(paths=list(paths[first : first + PAGE]))
        done = lake.call(lambda named=named: delete(lake.repository, draft.branch, named))  # type: ignore[misc]
        if done.errors:
            kept = done.errors[0]
            raise ServerRefused(
                f"{len(done.errors)} objects could not be taken off the draft: {kept.message}",
                status=kept.status_code,
                path=kept.path,
                branch=draft.branch,
            )
