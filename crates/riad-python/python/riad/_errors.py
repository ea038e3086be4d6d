"""What can go wrong."""

from __future__ import annotations


class Error(Exception):
    """What every exception of this package is. Its message names the file, the cause and the way out, as the program does.

    >>> import riad
    >>> try:
    ...     riad.Detector("no-such-model")
    ... except riad.Error as error:
    ...     print(error.path)
    no-such-model
    """

    path: str | None
    """The file or folder that is at fault, if it is one."""

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class RequestError(Error, ValueError):
    """Something was asked for that has no meaning, or settings contradict each other."""


class NotCalibratedError(RequestError):
    """A model has no threshold for a false-positive rate. The message says how many good images it takes.

    ``riad.calibrate`` gives a model good images that it was not trained with.
    """


class ImageError(Error):
    """An image cannot be read or scored. Others are not concerned."""


class ModelError(Error):
    """A file is no model, or is not the one that it was."""


class FileError(Error, OSError):
    """The system refused to read or write a file."""


class RunError(Error):
    """A run cannot be started or go on: it has other settings or images, its files are damaged, or its images have faults."""
