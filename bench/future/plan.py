"""The content of each history: shapes of apps, twelve runs each, fixed before any measurement.

The second plan is for histories that no rule was made from: it was fixed after the rules of
decision 30. A run deploys a state (release of the code, setting of a property, generation of the
names), or deletes everything. Renamed resources get a name that no run had before; after run 10 no
kind of change is new. The plan of branches deploys further stages beside `prod`, one of them in
another region, and takes each down. The plan of fresh names gives each stage a name that no run had
before. The plan of drafts keeps all names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHAPES = ("api", "site", "queue", "network", "pipeline")
"""Function and API; static site; queue and table; network and containers; data pipeline."""
RUNS = 12


def existing_folder(name: str) -> Path:
    """Returns the path of a folder of histories, for argparse."""
    path = Path(name)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{name!r} is no folder")
    return path


@dataclass(frozen=True, slots=True)
class Run:
    """One deploy."""

    release: int
    setting: int
    generation: int
    is_destroy: bool = False
    stage: str = ""
    """Part of all names, with the sign before it."""
    region: str = "us-east-1"
    also: tuple[str, ...] = ()
    """What the run does besides, as the app calls it."""

    @property
    def variables(self) -> dict[str, str]:
        """As the apps read them."""
        numbers = {
            "release": str(self.release),
            "setting": str(self.setting),
            "generation": str(self.generation),
        }
        return {**numbers, "stage": self.stage}


_FIRST = {
    "api": "first code setting name none destroy first code name setting code none",
    "site": "first code code setting name code destroy first name code setting code",
    "queue": "first code name setting destroy first code none name code setting code",
    "network": "first none code name setting code destroy first name code code setting",
    "pipeline": "first code setting code name none code name destroy first setting code",
}
_SECOND = {
    "api": "first setting code name destroy first code name code setting none code",
    "site": "first setting code name code name code destroy first code code setting",
    "queue": "first name code setting none name destroy first code setting code code",
    "network": "first code name setting code destroy first none name setting code code",
    "pipeline": "first name code destroy first setting code name none code setting code",
}
_BRANCHES = dict.fromkeys(
    SHAPES, "first code setting BRANCH1 BRANCH1,code name code EU -BRANCH1 -EU BRANCH2 -BRANCH2"
)
FRESH = {
    "awscli": ("streams", "cdn"),
    "boto3": ("etl", "identity"),
    "sam": ("events",),
    "terraform": ("containers", "database"),
}
"""Tool -> shapes that the plan of fresh names deploys."""
_STEPS = (
    "first STAGE1 setting,code -STAGE1 STAGE2 STAGE2,code -STAGE2 name STAGE3 -STAGE3 STAGE4"
    " -STAGE4"
)
_FRESH = {shape: _STEPS for shapes in FRESH.values() for shape in shapes}
_DRAFT = dict.fromkeys(
    (*SHAPES, *FRESH["sam"]), "first setting code none code setting destroy first"
)
NAMED = {
    "words": "prod login login,code -login search prod,code -search refunds -refunds prod,setting"
    " checkout -checkout",
    "previews": "prod pr-58 pr-58,code -pr-58 prod,code pr-61 pr-64 -pr-61 -pr-64 prod,setting"
    " pr-107 -pr-107",
    "regions": "prod prod@eu pr-12 prod,code prod@eu,code -pr-12 pr-15 -pr-15 prod,setting"
    " prod@eu,setting pr-23 -pr-23",
    "stages": "dev stage prod dev,code stage,code prod,code dev,setting stage,setting prod,setting"
    " dev,code stage,code prod,code",
    "short": "prd b7 b7,code -b7 b12 prd,code -b12 b19 -b19 prd,setting b23 -b23",
    "hashed": "prod pr-8 pr-8,code -pr-8 pr-11 prod,code -pr-11 pr-14 -pr-14 prod,setting pr-20"
    " -pr-20",
    "monthly": "job job,code job job job job job job job,code job job job",
    "camel": "prod pr-31 pr-31,code -pr-31 prod,code pr-35 -pr-35 prod,setting pr-40 -pr-40 pr-44"
    " -pr-44",
    "suffix": "prod demo demo,code -demo prod,code trial -trial fair prod,setting -fair show -show",
    "branches": "main feat-login-form feat-login-form,code main,code -feat-login-form"
    " fix-cart-total main,setting -fix-cart-total chore-deps feat-new-header -chore-deps"
    " -feat-new-header",
    "tickets": "live proj812 proj812,code -proj812 live,code proj840 proj851 -proj840 -proj851"
    " live,setting proj907 -proj907",
    "tiny": "d p d,code p,code t7 t7,code -t7 t9 d,setting -t9 t12 -t12",
    "nightly": "job job job,code job job job job,setting job job job job job",
    "pets": "prod brave-otter brave-otter,code -brave-otter prod,code calm-heron wise-newt"
    " -calm-heron -wise-newt prod,setting shy-ibis -shy-ibis",
    "waves": "blue green -blue blue,code -green green,code -blue blue,setting -green green,code"
    " -blue blue",
    "cells": "prod prod@eu pr5 prod,code -pr5 prod@eu,code pr9 prod,setting -pr9 prod@eu,setting"
    " pr14 -pr14",
    "people": "prod alice alice,code prod,code bob alice,setting -bob carol prod,setting -alice"
    " dave -carol",
    "full": "prod prod@eu pr-3 pr-3,code prod,code -pr-3 pr-4@eu -pr-4@eu prod@eu,code pr-6 -pr-6"
    " prod,setting",
    "paths": "production feat-a1 feat-a1,code -feat-a1 production,code fix-b2 -fix-b2 feat-c3"
    " production,setting -feat-c3 feat-d4 -feat-d4",
    "digests": "prod login login,code -login prod,code search mail -search -mail prod,setting theme"
    " -theme",
    "versions": "v1 v2,code -v1 v3,code -v2 v4,code -v3 v5,code -v4 v6,code -v5 v7,code",
}
"""Shape -> the copy of each run, with a minus where it is taken down; the apps differ in how they
name their resources."""
PLANS = {
    "": _FIRST,
    "-second": _SECOND,
    "-branches": _BRANCHES,
    "-fresh": _FRESH,
    "-draft": _DRAFT,
    "-named": NAMED,
}
"""End of a history's name -> what changes in each run; `first`: nothing is there, `none`: nothing
changes. A stage in capitals is deployed by this run, one with a minus is deleted."""
_FRESH_STAGES = {
    "streams": ("pr-12", "pr-31", "pr-57", "pr-63"),
    "cdn": ("login-page", "search", "new-header", "footer"),
    "etl": ("qa", "uat", "demo", "load"),
    "identity": ("feature-7", "hotfix-2", "feature-19", "spike"),
    "events": ("alice", "bob", "carol", "dave"),
    "containers": ("pr-204", "pr-219", "pr-230", "pr-231"),
    "database": ("blue", "green", "grey", "red"),
}
_STAGE_NAMES = {
    "api": ("pr-31", "pr-47"),
    "site": ("qa", "uat"),
    "queue": ("login-page", "search"),
    "network": ("qa", "demo"),
    "pipeline": ("feature-7", "hotfix"),
}
"""Branch names of each shape, the last one first seen in run 11."""
_EU = "eu-central-1"


def plan(shape: str, plan_name: str = "") -> tuple[Run, ...]:
    """The runs of a shape by one of `PLANS`."""
    if plan_name == "-named":
        return tuple(copies(NAMED[shape]))
    runs: list[Run] = []
    release = setting = generation = 1
    if plan_name == "-fresh":
        names = {f"STAGE{number}": name for number, name in enumerate(_FRESH_STAGES[shape], 1)}
    else:
        branches = _STAGE_NAMES.get(shape, ("", ""))
        names = {"BRANCH1": branches[0], "BRANCH2": branches[1], "EU": "eu"}
    for step in PLANS[plan_name][shape].split():
        release += "code" in step
        setting += "setting" in step
        generation += step == "name"
        stage = step.strip("-").partition(",")[0]
        has_stage = plan_name in ("-branches", "-fresh")
        runs.append(
            Run(
                release,
                setting,
                generation=1 if stage in names else generation,
                is_destroy=step == "destroy" or step.startswith("-"),
                stage=f"-{names.get(stage, 'prod')}" if has_stage else "",
                region=_EU if stage == "EU" else "us-east-1",
            )
        )
    return tuple(runs)


def copies(steps: str) -> Iterator[Run]:
    """Yields the runs of a plan that names the copy of each run, as those of `NAMED`."""
    release, setting = 1, 1
    for step in steps.split():
        place, *words = step.strip("-").split(",")
        release += "code" in words
        setting += "setting" in words
        copy, _, region = place.partition("@")
        yield Run(
            release,
            setting,
            generation=1,
            is_destroy=step.startswith("-"),
            stage=f"-{copy}",
            region=_EU if region else "us-east-1",
            also=tuple(word for word in words if word not in {"code", "setting"}),
        )
