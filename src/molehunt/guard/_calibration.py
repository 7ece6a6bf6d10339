"""Monitors with thresholds, from honest queries to a small file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from molehunt.errors import InvalidRequestError, from_validation, mismatch
from molehunt.files import check_replaceable, read_bytes, write_text
from molehunt.guard._canary import Canary
from molehunt.guard._hashed_windows import HashedWindows
from molehunt.guard._monitor import Monitor
from molehunt.guard._neighbours import NearestNeighbours
from molehunt.guard._prada import Prada

# A new monitor that files can hold is one more here.
AnyMonitor = Annotated[
    NearestNeighbours | HashedWindows | Prada | Canary, Field(discriminator="kind")
]
_LARGEST = 2**20
_MARKS = (b"{", b'"molehunt"', b'"guard"')


class Calibration(BaseModel):
    """Monitors whose thresholds honest queries seldom pass, and how seldom.

    The file holds the secret key of the hashed windows: only its owner may read it.

    Parameters
    ----------
    monitors : tuple of Monitor
    input_shape : (channels, height, width)
        Of the images that they were calibrated for.
    false_alarms : float
        Most honest queries, as a share, that may raise an alarm of any of them.
    images : int
        Honest queries that say so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    marks: ClassVar[tuple[bytes, ...]] = _MARKS

    molehunt: Literal["guard"] = "guard"
    version: Literal[1] = 1
    monitors: tuple[AnyMonitor, ...] = Field(min_length=1)
    input_shape: tuple[int, int, int]
    false_alarms: float = Field(gt=0, lt=1)
    images: int = Field(ge=1)

    def save(self, path: Path) -> None:
        """Write the file, which only its owner may read.

        Raises
        ------
        OutputError
            If it cannot be written, or holds something else already.
        """
        check_replaceable(path, "a calibration of a guard", _MARKS)
        if not path.exists() and path.parent.is_dir():
            path.touch(mode=0o600)  # what takes its place has its mode
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `save` wrote.

        Raises
        ------
        UnreadableFileError, InvalidRequestError
            If there is none, or it holds something else.
        """
        try:
            return cls.model_validate_json(read_bytes(path, _LARGEST))
        except ValidationError as error:
            raise from_validation(error, f"{path}: no calibration of a guard") from error


def usual_monitors(salt: int) -> tuple[Monitor, ...]:
    """Return nearest neighbours, hashed windows and the canary, without thresholds.

    `Prada` is not among them: its windows overlap, so thousands of honest queries are few looks,
    and it accused eight times as many honest queries as was asked of all (the study
    ``query-monitor``).

    Parameters
    ----------
    salt : int
        The secret key of the hashed windows: ``secrets.randbits(64)``.
    """
    return NearestNeighbours(), HashedWindows(salt=salt), Canary()


def calibrate(
    monitors: Sequence[Monitor], images: Tensor, labels: Tensor, *, false_alarms: float
) -> Calibration:
    """Give monitors thresholds such that together they seldom raise an alarm on honest queries.

    Each gets an equal part of the rate.

    Parameters
    ----------
    monitors : sequence of Monitor
    images : Tensor of float32, shape [N, C, H, W], in [0, 1]
        Honest queries in an order that one user could ask in, at least one a monitor for each
        false alarm: 4,000 for four monitors and a rate of 0.1 %.
    labels : Tensor of int64, shape [N]
        What the model takes them for.
    false_alarms : float

    Raises
    ------
    InvalidRequestError
        If there are too few images for so small a rate, or no monitors.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> honest = load_images("digits").train
    >>> monitors = [NearestNeighbours(neighbours=5, window=100), Canary()]
    >>> found = calibrate(monitors, honest.pixels(), honest.labels, false_alarms=0.01)
    >>> [monitor.kind for monitor in found.monitors], found.images
    (['neighbours', 'canary'], 1347)
    """
    if not monitors:
        raise InvalidRequestError(mismatch("monitors", "1 or more", "none"))
    part = false_alarms / len(monitors)
    return Calibration(
        monitors=tuple(
            monitor.calibrate(images, labels, false_alarms=part) for monitor in monitors
        ),
        input_shape=(images.shape[1], images.shape[2], images.shape[3]),
        false_alarms=false_alarms,
        images=len(images),
    )
