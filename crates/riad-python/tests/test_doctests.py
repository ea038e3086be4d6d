"""Every example in a docstring, run."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import riad
from conftest import Made

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def documented() -> Iterator[tuple[str, str]]:
    """All that is public, with its docstring: doctest's own search passes over properties of extensions."""
    yield "riad", riad.__doc__ or ""
    for module in (riad, riad.metrics, riad.losses):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value) or isinstance(value, str) or name == "Verdict":
                continue
            yield f"{module.__name__}.{name}", value.__doc__ or ""
            if inspect.isclass(value):
                for own, member in vars(value).items():
                    is_value = isinstance(member, (str, int, tuple, frozenset, dict, type(None)))
                    if not own.startswith("_") and not is_value and not hasattr(tuple, own):
                        yield f"{module.__name__}.{name}.{own}", getattr(member, "__doc__", None) or ""


@pytest.mark.parametrize("name", [name for name, _ in documented()])
def test_everything_public_says_what_it_does(name: str) -> None:
    doc = dict(documented())[name]
    assert doc.strip(), f"{name} has no docstring"


@pytest.mark.parametrize("name", [name for name, doc in documented() if ">>>" in doc])
def test_examples_do_what_they_say(name: str, made: Made, tmp_path: Path) -> None:
    names = {
        "riad": riad,
        "RUN": made.run,
        "PHOTO": made.good / "000.png",
        "GOOD": made.good,
        "FRESH": made.fresh,
        "BAD": made.bad,
        "OUT": tmp_path / "run",
        "COPY": tmp_path / "copy.safetensors",
    }
    test = doctest.DocTestParser().get_doctest(dict(documented())[name], names, name, None, None)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    said: list[str] = []
    runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
    assert runner.tries > 0
