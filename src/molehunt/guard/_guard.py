"""Monitors in front of a model, and what is done about an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.guard._monitor import Alarm, Monitor
from molehunt.guard._store import MemoryStore, Standing, Store


class Action(StrEnum):
    """What is done to an account from its first alarm on."""

    LOG = "log"  # nothing else
    THROTTLE = "throttle"  # each answer comes after a pause
    BLOCK = "block"  # no answer
    WRONG = "wrong"  # answers with the two best classes exchanged


class Reply(StrEnum):
    """What a query gets."""

    ANSWER = "answer"
    WAIT = "wait"
    REFUSE = "refuse"
    MISLEAD = "mislead"


_REPLIES = {
    Action.LOG: Reply.ANSWER,
    Action.THROTTLE: Reply.WAIT,
    Action.BLOCK: Reply.REFUSE,
    Action.WRONG: Reply.MISLEAD,
}


@dataclass(frozen=True)
class Decision:
    """What becomes of a query.

    Parameters
    ----------
    reply : Reply
    alarms : tuple of Alarm
        Those that this query raised.
    """

    reply: Reply
    alarms: tuple[Alarm, ...] = ()


class Guard:
    """Watch the queries of accounts.

    Parameters
    ----------
    monitors : sequence of Monitor
        With thresholds, one of a kind.
    store : Store, optional
        Of what is remembered; in this process' memory when not given.
    action : Action
        From the query on that raises an account's first alarm; until `pardon`.

    Raises
    ------
    InvalidRequestError
        Without monitors, with two of a kind, or with one that has no threshold.

    Examples
    --------
    >>> import torch
    >>> from molehunt.guard import NearestNeighbours
    >>> guard = Guard([NearestNeighbours(neighbours=2, window=10, threshold=-0.1)])
    >>> images, labels = torch.zeros(3, 1, 8, 8), torch.zeros(3, dtype=torch.int64)
    >>> [decision.reply.value for decision in guard.ask("ann", images, labels)]
    ['answer', 'answer', 'refuse']
    >>> guard.standing("ann").flagged_at
    3
    """

    def __init__(
        self,
        monitors: Sequence[Monitor],
        store: Store | None = None,
        *,
        action: Action = Action.BLOCK,
    ) -> None:
        kinds = [monitor.kind for monitor in monitors]
        if not kinds or len(set(kinds)) < len(kinds):
            got = ", ".join(kinds) or "none"
            raise InvalidRequestError(mismatch("monitors of a guard", "one of a kind", got))
        for monitor in monitors:
            if monitor.threshold is None:
                wanted = "a threshold (calibrate it)"
                raise InvalidRequestError(mismatch(f"monitor {monitor.kind}", wanted, "none"))
        self.monitors = tuple(monitors)
        self.store: Store = MemoryStore() if store is None else store
        self.action = Action(action)
        self._most = {monitor.kind: monitor.memory for monitor in monitors}

    def ask(self, account: str, images: Tensor, labels: Tensor) -> list[Decision]:
        """Judge queries of one account in their order, and remember them.

        Parameters
        ----------
        account : str
        images : Tensor of float32, shape [N, C, H, W], in [0, 1]
        labels : Tensor of int64, shape [N]
            What the model takes them for.

        Returns
        -------
        list of Decision
            One a query. What is refused is not remembered, but for the query that raised the
            first alarm.
        """
        flagged = self.refuses(account)
        if flagged or not len(images):
            return [Decision(Reply.REFUSE)] * len(images)
        digests = {monitor.kind: monitor.digest(images, labels) for monitor in self.monitors}
        past = self.store.recall(account, self._most)
        raised: list[list[Alarm]] = [[] for _ in range(len(images))]
        for monitor in self.monitors:
            new, old = digests[monitor.kind], past[monitor.kind]
            for place, alarm in enumerate(monitor.judge(old if len(old) else new[:0], new)):
                if alarm is not None:
                    raised[place].append(alarm)
        hits = [place for place, alarms in enumerate(raised) if alarms]
        first = None if not hits else (hits[0] + 1, raised[hits[0]][0].monitor)
        heard = hits[0] + 1 if hits and self.action is Action.BLOCK else len(images)
        standing = self.store.record(
            account,
            {name: rows[:heard] for name, rows in digests.items()},
            self._most,
            queries=heard,
            alarms=sum(place < heard for place in hits),
            first=first,
        )
        start = standing.queries - heard
        clean = len(images) if standing.flagged_at is None else standing.flagged_at - 1 - start
        later = _REPLIES[self.action]
        return [
            Decision(
                Reply.ANSWER if place < clean else later, tuple(raised[place]) * (place < heard)
            )
            for place in range(len(images))
        ]

    def refuses(self, account: str) -> bool:
        """Tell whether an account gets no more answers, so that none need be computed."""
        return self.action is Action.BLOCK and self.store.standing(account).is_flagged

    def standing(self, account: str) -> Standing:
        """Return what is known of an account."""
        return self.store.standing(account)

    def pardon(self, account: str) -> None:
        """Forget an account with its alarms, as after a look by a human."""
        self.store.forget(account)


def answer_wrongly(answers: Tensor) -> Tensor:
    """Return logits or probabilities [N, K] with the best class and the next one exchanged.

    Who repeats a question gets the same wrong answer.

    Examples
    --------
    >>> import torch
    >>> answer_wrongly(torch.tensor([[0.7, 0.1, 0.2]]))
    tensor([[0.2000, 0.1000, 0.7000]])
    """
    best = answers.topk(2, dim=1)
    return answers.scatter(1, best.indices, best.values.flip(1))
