"""The names that users see: of the package, and of the namespaces inside it."""

import inspect
from typing import Any

import gmmx_eqx as gx


NAMESPACES = ("divergences", "extend", "families", "uncertainty", "univariate")


def public_objects() -> dict[str, Any]:
    """What users see, by the name after `gmmx_eqx.`."""
    modules = {"": gx} | {f"{name}.": getattr(gx, name) for name in NAMESPACES}
    return {
        prefix + name: value
        for prefix, module in modules.items()
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
