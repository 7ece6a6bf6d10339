"""Settings that change while a model is trained."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Ramp(BaseModel):
    """A number that stays, goes in a straight line to another, and stays there.

    Parameters
    ----------
    first, last : float
    begin, end : float
        Shares of the training, in [0, 1], between which it goes from one to the other.

    Examples
    --------
    >>> ramp = Ramp(first=0.0, last=0.3, begin=0.2, end=0.6)
    >>> [round(ramp.at(share), 2) for share in (0, 0.3, 0.6, 1)]
    [0.0, 0.07, 0.3, 0.3]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: float
    last: float
    begin: float = Field(default=0.1, ge=0, le=1)
    end: float = Field(default=0.6, ge=0, le=1)

    def at(self, share: float) -> float:
        """Return the number after a share of the training."""
        way = (share - self.begin) / max(self.end - self.begin, 1e-9)
        return self.first + (self.last - self.first) * min(max(way, 0.0), 1.0)
