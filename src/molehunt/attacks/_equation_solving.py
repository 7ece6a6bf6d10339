"""A linear model from its confidences: as many questions as pixels, and one."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor

from molehunt.arrays import Floats
from molehunt.attacks._stolen import Stolen, new_copy
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Queried, Reveals

_TINY = 1e-30  # of a confidence: below, its logarithm is not an equation


@dataclass(frozen=True)
class EquationSolving:
    """Logistic or softmax regression, solved from answers to orthogonal questions.

    Tramèr, Zhang, Juels, Reiter and Ristenpart (Stealing Machine Learning Models via
    Prediction APIs, USENIX Security 2016, section 4.1). The logarithm of two confidences' ratio
    is linear in the pixels, so each answer is one equation for each class but one: d + 1
    questions, a grey image and one changed pixel each, hold all of the model, where the paper
    counts a question for each number and asks c (d + 1). Rounded answers and more questions
    than d + 1 are fitted by maximum likelihood, which is convex.

    Parameters
    ----------
    queries : int, optional
        From d + 1; what is more is asked about random images.
    seed : int
        Of those.

    Examples
    --------
    >>> from molehunt.attacks import EquationSolving
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, build_classifier
    >>> digits = load_images("digits")
    >>> softmax = {"hidden": []}
    >>> model = build_classifier("mlp", digits.train, arguments=softmax, seed=0)
    >>> target = Queried(model)
    >>> stolen = EquationSolving().steal(target)
    >>> stolen.queries, stolen.agreement(target, digits.test.images)[0]
    (65, 1.0)
    """

    queries: int | None = None
    seed: int = 0

    def steal(self, target: Queried) -> Stolen:
        """Ask, solve, and return the copy.

        Raises
        ------
        InvalidRequestError
            If `queries` are fewer than d + 1.
        UnsuitableSubjectError
            If the target reveals no confidences.
        BudgetSpentError
            If the target's budget is smaller; then nothing was asked.
        """
        size = int(np.prod(target.input_shape))
        count = size + 1 if self.queries is None else self.queries
        if count <= size:
            raise InvalidRequestError(mismatch("queries", f"{size + 1} or more", count))
        started, asked = time.perf_counter(), target.queries
        points = self._points(target.input_shape, count)
        answers = target.confidences(points).double().cpu().numpy()
        rows = points.flatten(1).double().numpy()
        weights, seen = _solve(rows, answers)
        if target.reveals is Reveals.ROUNDED or count > size + 1 or not seen:
            weights = _fit(rows, answers, weights)
        model = new_copy(target, "mlp", {"hidden": []}, seed=0)
        layer = model.network.layers[-1]  # type: ignore[index]
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights[:, 1:]))  # type: ignore[union-attr]
            layer.bias.copy_(torch.from_numpy(weights[:, 0]))  # type: ignore[union-attr]
        note = "" if seen else "some confidences were 0, and equations with them were left out"
        return Stolen(model.freeze(), target.queries - asked, time.perf_counter() - started, note)

    def _points(self, shape: tuple[int, int, int], count: int) -> Tensor:
        """Return the questions, float32 [count, C, H, W]."""
        size = int(np.prod(shape))
        points = torch.full((size + 1, size), 0.5)
        points[1:].fill_diagonal_(1.0)
        generator = torch.Generator().manual_seed(self.seed)
        more = torch.rand(count - size - 1, size, generator=generator)
        return torch.cat([points, more]).view(count, *shape)


def _solve(rows: Floats, answers: Floats) -> tuple[Floats, bool]:
    """Return weights [K, 1 + d], solved or by least squares, and whether all equations served."""
    ones = np.hstack([np.ones((len(rows), 1)), rows])
    reference = int(answers.mean(0).argmax())
    logs = np.log(np.maximum(answers, _TINY))
    usable = answers > _TINY
    if usable.all():
        values = logs - logs[:, [reference]]
        if len(ones) == ones.shape[1]:
            return np.linalg.solve(ones, values).T, True
        return np.linalg.lstsq(ones, values, rcond=None)[0].T, True
    weights = np.zeros((answers.shape[1], ones.shape[1]))
    for each in range(len(weights)):
        both = usable[:, each] & usable[:, reference]
        if each != reference and both.any():
            values = (logs[:, each] - logs[:, reference])[both]
            weights[each] = np.linalg.lstsq(ones[both], values, rcond=None)[0]
    return weights, False


def _fit(rows: Floats, answers: Floats, weights: Floats) -> Floats:
    """Return the weights of largest likelihood of the answers, from those given."""
    ones = np.hstack([np.ones((len(rows), 1)), rows])
    shares = answers / np.maximum(answers.sum(1, keepdims=True), _TINY)

    def loss(flat: Floats) -> tuple[float, Floats]:
        logits = ones @ flat.reshape(weights.shape).T
        error = softmax(logits, axis=1) - shares
        value = -float((shares * log_softmax(logits, axis=1)).sum())
        return value + 1e-9 * float(flat @ flat), (error.T @ ones).ravel() + 2e-9 * flat

    found = minimize(loss, weights.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    return np.asarray(found.x, dtype=np.float64).reshape(weights.shape)
