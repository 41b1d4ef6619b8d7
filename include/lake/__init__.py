"""Store 1: the versioned lake, through the official lakeFS SDK and S3.

lake = Lake.connect(settings())
draft = open_draft(lake, run_id, station)
upload(lake, draft, folder, "raw/retail/transactions")
with checkout(lake, draft, "raw/retail") as files:
    verdict = check(files.path("raw/retail/transactions"))
commit_draft(lake, draft, "Ingest retail", {}, verdict)
merge_draft(lake, draft)
"""

from include.lake.checkout import Checkout, checkout
from include.lake.collection import collect_objects, ensure_rules
from include.lake.connection import Lake
from include.lake.drafts import commit_draft, discard, open_draft, refuse
from include.lake.publish import merge_draft, publish
from include.lake.remove import remove
from include.lake.replace import Replaced, replace_tables
from include.lake.retention import Collected, collect_drafts, refused
from include.lake.runs import find_published
from include.lake.upload import Parting, Uploaded, upload
from include.lake.watermark import read_watermark, write_watermark

__all__ = [
    "Checkout",
    "Collected",
    "Lake",
    "Parting",
    "Replaced",
    "Uploaded",
    "checkout",
    "collect_drafts",
    "collect_objects",
    "commit_draft",
    "discard",
    "ensure_rules",
    "find_published",
    "merge_draft",
    "open_draft",
    "publish",
    "read_watermark",
    "refuse",
    "refused",
    "remove",
    "replace_tables",
    "upload",
    "write_watermark",
]
