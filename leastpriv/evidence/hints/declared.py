"""What CloudFormation's resource types declare to need, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Declared:
    """What the handlers of some resource types need."""

    actions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Catalogue action -> the types whose handlers need it, sorted."""
    types: tuple[str, ...] = ()
    """The types that answered."""
    untold: tuple[str, ...] = ()
    """Types without a schema in the registry: those of transforms, and private ones."""
    unknown: tuple[str, ...] = ()
    """Names of actions that the catalogue lacks, as the schemas spell them: never offered."""
    failure: str = ""
    """Why it is not whole, in a sentence."""
