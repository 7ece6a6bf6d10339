"""What becomes of one request's images: the model, the guard, and what is revealed."""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molehunt.errors import InvalidRequestError, MolehuntError, mismatch
from molehunt.guard._guard import Guard, Reply, answer_wrongly
from molehunt.guard._metrics import Metrics
from molehunt.guard._monitor import Alarm
from molehunt.guard._refusal import RefusedError
from molehunt.guard._store import StoreError
from molehunt.networks import Classifier

_log = logging.getLogger("molehunt.guard")
_DECIMALS = 2
_MOST_NOTED = 10_000  # accounts


class Answering(StrEnum):
    """What a server reveals, the most first; it is the name of its output, too."""

    LOGITS = "logits"
    CONFIDENCES = "confidences"
    ROUNDED = "rounded"  # confidences with two decimals
    LABELS = "labels"  # 1 for the class, 0 for all others


class Desk:
    """Answers requests one after another; it is not made for several threads.

    Parameters
    ----------
    model : Classifier
        Also one that asks another endpoint.
    guard : Guard, optional
        Without one nothing is watched.
    answering : Answering
    pause : float
        Seconds an image that a throttled account waits before it may ask again.
    metrics : Metrics, optional

    Raises
    ------
    InvalidRequestError
        If the model's answers hold less than shall be revealed.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> desk = Desk(model, answering=Answering.LABELS)
    >>> desk.answer("ann", digits.test.pixels()[:2].numpy()).sum(axis=1).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        model: Classifier,
        guard: Guard | None = None,
        *,
        answering: Answering = Answering.CONFIDENCES,
        pause: float = 1.0,
        metrics: Metrics | None = None,
    ) -> None:
        if model.answers.doubt and answering is not Answering.LABELS:
            allowed = f"labels ({model.answers.doubt})"
            raise InvalidRequestError(mismatch("`answers`", allowed, answering.value))
        self.model = model.freeze()
        self.guard = guard
        self.answering = Answering(answering)
        self._pause = pause
        self._metrics = metrics
        self._until: OrderedDict[str, float] = OrderedDict()
        self._warned: OrderedDict[str, float] = OrderedDict()

    def answer(self, account: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what is revealed, float32 [N, K], for pixels [N, C, H, W] in [0, 1].

        Raises
        ------
        RefusedError
            403 for a blocked account, 429 for a throttled one, 502 if the model does not
            answer, 503 if the guard's store does not.
        """
        try:
            self._check_may_ask(account)
            pixels = torch.from_numpy(images)
            logits = self._ask(pixels)
            if self.guard is not None:
                logits = self._judge(self.guard, account, pixels, logits)
        except StoreError as error:
            _log.error("%s", error)
            raise RefusedError(503, "the guard does not answer", {"Retry-After": "5"}) from None
        if self._metrics is not None:
            self._metrics.count_images(len(images))
        return self._reveal(logits)

    def _check_may_ask(self, account: str) -> None:
        if self.guard is not None and self.guard.refuses(account):
            raise RefusedError(403, "this account is blocked")
        left = self._until.get(account, 0.0) - time.monotonic()
        if left > 0:
            seconds = math.ceil(left)
            message = f"this account asks too fast: once more in {seconds} s"
            raise RefusedError(429, message, {"Retry-After": str(seconds)})

    def _ask(self, pixels: Tensor) -> Tensor:
        try:
            with torch.inference_mode():
                logits: Tensor = self.model(pixels.to(self.model.mean.device)).float().cpu()
        except MolehuntError as error:
            _log.error("%s", error)
            raise RefusedError(502, "the model does not answer") from None
        if not bool(torch.isfinite(logits).all()):
            raise RefusedError(502, "the model's answer to these images is not finite")
        return logits

    def _judge(self, guard: Guard, account: str, pixels: Tensor, logits: Tensor) -> Tensor:
        """Return the answers as the guard lets them go."""
        decisions = guard.ask(account, pixels, logits.argmax(1))
        for alarm in (alarm for decision in decisions for alarm in decision.alarms):
            self._note(account, alarm)
        replies = [decision.reply for decision in decisions]
        if Reply.REFUSE in replies:
            raise RefusedError(403, "this account is blocked")
        if Reply.WAIT in replies:
            _put(self._until, account, time.monotonic() + self._pause * len(replies))
        misled = torch.tensor([reply is Reply.MISLEAD for reply in replies])
        if bool(misled.any()):
            logits = torch.where(misled[:, None], answer_wrongly(logits), logits)
        return logits

    def _note(self, account: str, alarm: Alarm) -> None:
        """Count an alarm; the first of an account is a warning in the log."""
        level = logging.INFO if account in self._warned else logging.WARNING
        score = f"{alarm.score:.4g}, threshold {alarm.threshold:.4g}"
        _log.log(level, "account %s: alarm of %s (%s)", account, alarm.monitor, score)
        _put(self._warned, account, 0.0)
        if self._metrics is not None:
            self._metrics.count_alarm(alarm.monitor)

    def _reveal(self, logits: Tensor) -> NDArray[np.float32]:
        revealed = logits
        if self.answering is Answering.LABELS:
            classes = logits.shape[1]
            revealed = torch.nn.functional.one_hot(logits.argmax(1), classes).float()
        elif self.answering is not Answering.LOGITS:
            revealed = logits.softmax(1)
            if self.answering is Answering.ROUNDED:
                revealed = revealed.round(decimals=_DECIMALS)
        answers: NDArray[np.float32] = revealed.numpy()
        return answers


def _put(noted: OrderedDict[str, float], account: str, value: float) -> None:
    """Note something of an account, and forget the oldest of too many."""
    noted[account] = value
    noted.move_to_end(account)
    if len(noted) > _MOST_NOTED:
        noted.popitem(last=False)
