import importlib
from typing import Any


def load(module: str, name: str) -> Any:
    """An object of the outermost layer, found by name when it is called for.

    Lets a method of the mixture reach code that needs an optional package, without the
    lower layer importing the higher one.
    """
    return getattr(importlib.import_module(f"gmmx_eqx.{module}"), name)
