"""A model behind a guard, as attackers with one or many accounts meet it."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.guard._front import Front
from molehunt.guard._guard import Guard, Reply, answer_wrongly
from molehunt.networks import BudgetSpentError, Classifier


class BlockedError(BudgetSpentError):
    """The guard refuses all accounts that the attacker has."""


class Guarded(Front):
    """A classifier that answers as its guard lets it.

    Put it into `Queried`, and every attack runs through the guard. The attacker's accounts ask
    in turn; what one of them is refused, the next one asks again, until all are refused: then
    attacks end as they do with a spent budget, and keep what they have found. Who measures
    (`Queried.judge`) asks the model itself.

    Parameters
    ----------
    model : Classifier
    guard : Guard
        Its pauses are not waited for.
    accounts : int
        Of the attacker.

    Attributes
    ----------
    asked : int
        Images that the accounts sent, refused ones included.
    flagged : dict
        From each account that was flagged to how many images all had sent by then.

    Examples
    --------
    >>> from molehunt.attacks import RandomPoints, evade
    >>> from molehunt.guard import Guard, NearestNeighbours
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> guard = Guard([NearestNeighbours(neighbours=3, window=50, threshold=-0.6)])
    >>> guarded = Guarded(model, guard, accounts=2)
    >>> found = evade(Queried(guarded), digits.test, RandomPoints(epsilon=0.01), batch_size=1)
    >>> sorted(guarded.flagged), "refuses" in found.note
    (['attacker-0', 'attacker-1'], True)
    """

    def __init__(self, model: Classifier, guard: Guard, *, accounts: int = 1) -> None:
        if accounts < 1:
            raise InvalidRequestError(mismatch("accounts of an attacker", "1 or more", accounts))
        super().__init__(model)
        self._guard = guard
        self._live = [f"attacker-{number}" for number in range(accounts)]
        self._next = 0
        self.asked = 0
        self.flagged: dict[str, int] = {}

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] for pixels [N, C, H, W] in [0, 1], as far as the guard lets it.

        Raises
        ------
        BlockedError
            When the guard refuses every account.
        """
        answers: Tensor = self.behind(images)
        labels = answers.argmax(1)
        waiting = list(range(len(images)))
        while waiting:
            waiting = self._send(images, labels, answers, waiting)
        return answers

    def _send(
        self, images: Tensor, labels: Tensor, answers: Tensor, waiting: list[int]
    ) -> list[int]:
        """Send images from the accounts in turn; return those that were refused."""
        if not self._live:
            raise BlockedError(
                f"the guard refuses all {len(self.flagged)} accounts after {self.asked} queries"
            )
        shares: dict[str, list[int]] = {}
        sent: dict[int, int] = {}
        for place in waiting:
            account = self._live[self._next % len(self._live)]
            shares.setdefault(account, []).append(place)
            self._next += 1
            self.asked += 1
            sent[place] = self.asked
        refused: list[int] = []
        for account, places in shares.items():
            decisions = self._guard.ask(account, images[places], labels[places])
            for place, decision in zip(places, decisions, strict=True):
                if decision.alarms and account not in self.flagged:
                    self.flagged[account] = sent[place]
                if decision.reply is Reply.REFUSE:
                    refused.append(place)
                    if account in self._live:
                        self._live.remove(account)
                elif decision.reply is Reply.MISLEAD:
                    answers[place] = answer_wrongly(answers[place][None])[0]
        return sorted(refused)
