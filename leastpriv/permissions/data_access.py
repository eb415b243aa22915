"""The actions that read data: what people or programs store, not how a resource is set up."""

from __future__ import annotations

import re
from functools import lru_cache

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches

_OF_SETTINGS = re.compile(r":(?:Describe|List)|(?:Attributes|Url|Tags|Tagging|Policy|Acl)$")
"""Names of reads of settings, which CloudTrail records as data events too, as of SQS."""
_OBJECTS = "objects, items or messages"


@lru_cache(maxsize=4_096)
def data_read(action: str) -> str:
    """Returns what an action reads, `secrets`, to end the sentence "it reads ..."; empty where it
    reads no data.

    By the table `data_reads.tsv`, else by AWS: an access level of Read whose use CloudTrail records
    as a data event. Lists of names (access level List) are no data.
    """
    for row in table("data_reads"):
        if action_matches(row["pattern"], action):
            return row["what"]
    if _OF_SETTINGS.search(action):
        return ""
    levels = {level.strip() for level in catalog.access_level(action).split(",")}
    is_data_event = visibility(action).visibility is Visibility.DATA
    return _OBJECTS if is_data_event and "Read" in levels else ""
