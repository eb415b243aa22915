"""What each history consists of: five shapes of apps, twelve runs each, fixed before anything was measured.

A run deploys a state (release of the code, setting of a property, generation of the names), or takes all down. Renamed
things get a name that no run had before; after run 10 nothing happens that no run before it has done in its way.
"""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = ("api", "site", "queue", "network", "pipeline")
"""Function and API; static site; queue and table; network and containers; data pipeline."""
RUNS = 12


@dataclass(frozen=True, slots=True)
class Run:
    """One deploy."""

    release: int
    setting: int
    generation: int
    is_destroy: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """As the apps read them."""
        return {"release": str(self.release), "setting": str(self.setting), "generation": str(self.generation)}


_STEPS = {
    "api": "first code setting name none destroy first code name setting code none",
    "site": "first code code setting name code destroy first name code setting code",
    "queue": "first code name setting destroy first code none name code setting code",
    "network": "first none code name setting code destroy first name code code setting",
    "pipeline": "first code setting code name none code name destroy first setting code",
}
"""What changes in each run; `first`: nothing is there, `none`: nothing changes."""


def plan(shape: str) -> tuple[Run, ...]:
    """The runs of a shape."""
    runs: list[Run] = []
    release, setting, generation = 1, 1, 1
    for step in _STEPS[shape].split():
        release += step == "code"
        setting += step == "setting"
        generation += step == "name"
        runs.append(Run(release, setting, generation, step == "destroy"))
    return tuple(runs)
