"""Type stubs: what they say is true, and suffices in strict mode."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import riad

PACKAGE = Path(riad.__file__).parent
PROGRAM = Path(__file__).parent / "typed_program.py"
CONFIG = Path(__file__).parent.parent / "pyproject.toml"


def check(*command: str | Path) -> None:
    # Pyright asks the first Python that it finds where packages lie.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    command_line = [sys.executable, "-m", *map(str, command)]
    done = subprocess.run(command_line, capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@needs("mypy")
def test_mypy_is_strict_and_content() -> None:
    check("mypy", "--config-file", CONFIG, "--strict", "-p", "riad")
    check("mypy", "--config-file", CONFIG, "--strict", PROGRAM)


@needs("mypy")
def test_stubs_are_what_the_extension_has() -> None:
    check("mypy.stubtest", "riad._riad", "--mypy-config-file", CONFIG)


@needs("pyright")
def test_pyright_is_strict_and_content() -> None:
    check("pyright", "--pythonpath", sys.executable, "-p", CONFIG, PACKAGE, PROGRAM)


@needs("pyright")
def test_all_that_is_public_has_a_type() -> None:
    check("pyright", "--ignoreexternal", "--verifytypes", "riad")


def test_the_program_runs(made: object) -> None:
    from typed_program import all_of_it

    assert all_of_it(made.run, made.bad / "200.png", made.fresh, made.bad) > 0  # type: ignore[attr-defined]
