"""Risks that one model and clean images are not enough for: the report says so."""

from __future__ import annotations

from abc import abstractmethod

from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.errors import InvalidRequestError


class _Unassessed(Assessor):
    share = 0.0

    @abstractmethod
    def obstacle(self, case: Case) -> str:
        """Return why."""

    def measure(self, case: Case, purse: Purse) -> Found:
        """Refuse: there is always an obstacle."""
        raise InvalidRequestError(self.obstacle(case))


class Poisoning(_Unassessed):
    """How much a few poisoned training images would do."""

    name = "poisoning"
    title = "Poison in the training data"
    measures = ("success",)

    def obstacle(self, case: Case) -> str:
        """It takes the training itself."""
        return (
            "the training recipe and data are not known, so the model cannot be trained again "
            "with poison; whether it hides a backdoor, molehunt scan says"
        )
