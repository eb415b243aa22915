"""Imports scripts of `tools/` and `bench/`, which are in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).parents[2]


def load(path: str) -> ModuleType:
    """The module of a script, such as `tools/demo.py`, executed again; dataclasses need the entry
    in `sys.modules`.
    """
    spec = importlib.util.spec_from_file_location(Path(path).stem, _ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
