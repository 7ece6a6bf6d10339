"""Greedy attacks on any learner: pixels change one by one towards the decision boundary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molehunt.attacks._evasion import Norm
from molehunt.attacks._greedy_asked import Asked
from molehunt.attacks._greedy_dense import search_dense
from molehunt.attacks._greedy_sparse import search_sparse
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import BudgetSpentError, Queried, Reveals


@dataclass(frozen=True, eq=False)
class GreedyAttack:
    """Change pixels greedily until the model errs; it takes answers only, of any learner.

    *Sparse* (L0) wants few pixels, of any value. By labels it starts from the nearest images of
    other classes and gives pixels their old values back, groups first, while the model still
    errs. By scores it ranks blocks of pixels, then the pixels of the best blocks, by what each
    alone does to the score, changes the best ones, and walks back from there.

    *Dense* (L∞) wants a small change of every pixel. It starts from the direction of an image
    of another class and flips the sign of groups of pixels, each group half as large as the
    last, where that brings the boundary nearer (labels) or the score down (scores).

    Parameters
    ----------
    norm : Norm
        L0 for the sparse variant, L∞ for the dense one.
    epsilon : float, optional
        The most changed pixels (L0) or the largest change of a pixel (L∞). An image within it
        is not improved further; one that stays outside is given back as it was. Without it
        the attack looks for the smallest change.
    scores : bool
        Ask for confidences, rounded ones too, in place of labels.
    queries : int
        Most questions about an image; a question about a start is shared by all images.
    restarts : int
        From how many images of other classes it starts.
    starts : Tensor of float32, shape [M, C, H, W], in [0, 1], optional
        Images that the attacker has, to start from; without it the attacked images serve.
        Black, white and noise images join them.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range.

    Notes
    -----
    The sparse search by labels is the greedy reversal of Schott et al. ("Towards the first
    adversarially robust neural network model on MNIST", ICLR 2019, pointwise attack) with
    groups of pixels in place of single ones: they are split in two as in group testing
    (Hwang, "A method for detecting all defective members in a population by group testing",
    1972). The dense search by labels is near RaySearch (Chen and Gu, "RayS", KDD 2020), by
    scores near SignHunter (Al-Dujaili and O'Reilly, "Sign bits are all you need", ICLR 2020);
    here both are one search, which starts from images of other classes and counts radii in
    parts of what a saved pixel can say.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from molehunt.attacks import evade
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import wrap_estimator
    >>> digits = load_images("digits")
    >>> rows = digits.train.pixels().flatten(1).numpy()
    >>> learner = LogisticRegression().fit(rows, digits.train.labels.numpy())
    >>> target = Queried(wrap_estimator(learner, digits.train.shape), reveals=Reveals.LABELS)
    >>> result = evade(target, digits.test.take(torch.arange(20)), GreedyAttack())
    >>> result.success_rate[0], float(result.sizes(Norm.L0).median()) < 8
    (1.0, True)
    """

    norm: Norm = Norm.L0
    epsilon: float | None = None
    scores: bool = False
    queries: int = 1000
    restarts: int = 3
    starts: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("queries", "restarts"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(mismatch(name, "1 or more", getattr(self, name)))
        if self.norm is Norm.L2:
            allowed = "l0 (sparse) or linf (dense)"
            raise InvalidRequestError(mismatch("norm of a greedy attack", allowed, "l2"))

    @property
    def name(self) -> str:
        """As in `ATTACKS`."""
        return "greedy-scores" if self.scores else "greedy"

    @property
    def needs(self) -> Reveals:
        """The least that a target must reveal."""
        return Reveals.ROUNDED if self.scores else Reveals.LABELS

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images; see `EvasionAttack`.

        Raises
        ------
        InvalidRequestError
            If the starts have another shape.
        BudgetSpentError
            With what was found until then.
        """
        pool = images if self.starts is None else self.starts.float()
        if pool.shape[1:] != images.shape[1:] or pool.ndim != 4:
            allowed = f"images of shape {tuple(images.shape[1:])}"
            raise InvalidRequestError(mismatch("starts", allowed, tuple(pool.shape)))
        asked = Asked(target, labels, targets, scores=self.scores, most=self.queries)
        found, enough = images.clone(), self.epsilon or 0.0
        try:
            starts, fit = asked.starts(images, pool, self.restarts, generator)
            if self.norm is Norm.L0:
                search_sparse(asked, found, starts, fit, int(enough), generator)
            else:
                search_dense(asked, found, starts, fit, enough)
        except BudgetSpentError as error:
            error.found = self._within(found, images)
            raise
        return self._within(found, images)

    def _within(self, found: Tensor, images: Tensor) -> Tensor:
        if self.epsilon is not None:
            outside = self.norm.of(found - images) > self.epsilon + 1e-4
            found[outside] = images[outside]
        return found
