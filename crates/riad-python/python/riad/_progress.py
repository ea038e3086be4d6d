"""How long work is shown: with tqdm where it is installed, or else as lines."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Protocol, Union

if TYPE_CHECKING:
    Event = dict[str, Any]

log = logging.getLogger("riad")

Progress = Union[bool, Callable[["dict[str, Any]"], object]]
"""Whether progress is shown, or what is called with each event: a dictionary whose entry ``event`` says what happened."""


class _Shown(Protocol):
    def begin(self, name: str, unit: str, done: int, total: int) -> None: ...
    def tell(self, done: int, words: str) -> None: ...
    def line(self, words: str) -> None: ...
    def end(self) -> None: ...


class _Bar:
    """A bar of tqdm's."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]

        self._tqdm: Any = tqdm
        self._bar: Any = None

    def begin(self, name: str, unit: str, done: int, total: int) -> None:
        self._bar = self._tqdm(desc=name, unit=unit, initial=done, total=total, leave=False)

    def tell(self, done: int, words: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(words, refresh=False)
            self._bar.update(done - self._bar.n)

    def line(self, words: str) -> None:
        self._tqdm.write(words)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    """Lines on standard error, one in ten seconds at most."""

    EVERY = 10.0

    def __init__(self) -> None:
        self._name, self._total, self._unit = "", 0, ""
        self._told = 0.0

    def begin(self, name: str, unit: str, done: int, total: int) -> None:
        self._name, self._unit, self._total = name, unit, total
        self._told = time.monotonic()

    def tell(self, done: int, words: str) -> None:
        now = time.monotonic()
        if now - self._told >= self.EVERY:
            self._told = now
            self.line(f"{self._name}: {self._unit} {done} of {self._total}" + (f", {words}" if words else ""))

    def line(self, words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    def end(self) -> None:
        pass


def _shown() -> _Shown:
    try:
        return _Bar()
    except ImportError:
        return _Lines()


def teller(progress: Progress) -> Callable[[Event], None]:
    """What the library's events are handed to.

    Faults and remarks go to the logger ``riad`` as well, whether or not progress is shown.
    """
    shown = _shown() if progress is True else None
    call = progress if callable(progress) else None

    def tell(event: Event) -> None:
        _log(event)
        if call is not None:
            call(event)
        if shown is not None:
            _show(event, shown)

    return tell


def _log(event: Event) -> None:
    what = event["event"]
    if what == "fault":
        log.warning("%s", event["message"])
    elif what == "left out":
        log.warning("%s: left out: %s", event["what"], event["message"])
    elif what == "twice":
        log.warning("%s is the same picture as %s; it counts once", event["path"], event["other"])
    elif what == "suspects":
        names = ", ".join(event["names"][:5])
        log.warning(
            "look at %d of %d images: %s; %s names them all", len(event["names"]), event["looked_at"], names,
            event["list"],
        )  # fmt: skip
    elif what == "too few to calibrate":
        log.warning(
            "%d images are too few to hold out enough for a threshold: training needs %d to hold out enough for a rate of 0.05; give the "
            "model good images that it was not trained with later (riad.calibrate), or hold out more now (calibration=SHARE)",
            event["images"],
            event["needed"],
        )


def _show(event: Event, shown: _Shown) -> None:
    what = event["event"]
    if what == "began":
        shown.begin(event["work"], event["unit"], event["done"], event["total"])
    elif what == "progress":
        shown.tell(event["done"], "")
    elif what == "step":
        shown.tell(event["done"], f"epoch {event['epoch']}, loss {event['loss']:.4f}")
    elif what == "ended":
        shown.end()
    elif what == "chosen":
        shown.line(f"the method is {event['method']}: the alignment of the training images is {max(event['alignment'], 0.0):.3f}")
    elif what == "training":
        shown.line(
            f"training {event['category']} in {event['folder']} with {event['train']} images, {event['validation']} for validation, "
            f"{event['calibration']} for calibration"
        )
    elif what == "epoch":
        loss = event["train"] if event["validation"] is None else event["validation"]
        shown.line(f"epoch {event['epoch']} of {event['last']}: loss {loss:.4f}" + (", best so far" if event["best"] else ""))
    elif what == "finished":
        shown.line(f"training has finished: epoch {event['kept']} of {event['epochs']} is kept")
    elif what == "stopped":
        shown.line(f"stopped after {event['epochs']} epochs; the same call goes on from here")
    elif what == "calibrated":
        shown.line(f"calibrated with {event['reach']}")
