"""The page of mistakes is what the library says to them."""

import os
import pathlib
import subprocess
import sys

import pytest


ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.x32
def test_mistakes_are_explained():
    """Every message names the argument, what was expected and what was given, and the
    page is up to date."""
    # In a process of its own: tests run with a checker of types, users do not.
    done = subprocess.run(
        [sys.executable, "-m", "tests.mistakes", "--check"],
        cwd=ROOT,
        env=os.environ | {"JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
