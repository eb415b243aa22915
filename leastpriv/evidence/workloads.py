"""Recognizes the logins of workloads, which run all the time and not in deployments: functions, tasks and pods."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

from leastpriv.permissions.fact_tables import table

_PACKAGE = __name__.rpartition(".")[0]


@cache
def workload_services() -> frozenset[str]:
    """Returns the services that assume a role for a workload."""
    return frozenset(row["name"] for row in table("workloads", _PACKAGE) if row["login"] == "service")


@cache
def is_workload(provider: str) -> bool:
    """Whether STS issues the keys of a workload for identities of this provider, or for this service."""
    return any(fnmatchcase(provider, row["name"]) for row in table("workloads", _PACKAGE))
