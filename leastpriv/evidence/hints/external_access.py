"""External access findings about a role: who outside the account or organization may assume it. Free of charge."""

from __future__ import annotations

from typing import Any

from leastpriv.evidence.hints.analyzers import analyzers, findings
from leastpriv.evidence.hints.found import OutsideAccess

_KINDS = ("ACCOUNT", "ORGANIZATION")


def external_access(client: Any, role: str) -> tuple[OutsideAccess, ...] | None:
    """Whom the external access analyzers of the client's region found; None where there is no such analyzer.

    Raises:
        AwsError: AWS refused, or failed.
    """
    found: dict[str, OutsideAccess] = {}
    watching = [analyzer for kind in _KINDS for analyzer in analyzers(client, kind)]
    for analyzer in watching:
        for finding in findings(client, analyzer, role, "ExternalAccess"):
            for detail in finding["findingDetails"]:
                outside = detail.get("externalAccessDetails")
                if outside:
                    read = _read(outside)
                    found.setdefault(f"{read.principal} {sorted(read.conditions.items())}", read)
    return tuple(found.values()) if watching else None


def _read(details: dict[str, Any]) -> OutsideAccess:
    principals = [f"{kind} {name}" for kind, name in sorted((details.get("principal") or {}).items())]
    is_public = bool(details.get("isPublic")) or principals == ["AWS *"]
    conditions = {str(key): str(value) for key, value in (details.get("condition") or {}).items()}
    return OutsideAccess(", ".join(principals) or "anybody", conditions, is_public)
