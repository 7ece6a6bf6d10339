"""How far each image is from a model's decision boundary, and what lies there."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from molehunt.attacks import Norm, SecurityCurve, curve_of, evade, new_attack
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier, Queried, Reveals
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval
from molehunt.testing._asking import check_images, labels_of
from molehunt.testing._changes import round_to_bytes

_HALVINGS = 10  # of a line; 8-bit images have no more steps on most


class BoundaryMethod(StrEnum):
    """How points behind the boundary are looked for."""

    GRADIENTS = "gradients"  # in any direction, by a minimum-norm attack
    LINES = "lines"  # on lines to other images, by labels only


@dataclass(frozen=True, eq=False)
class Boundary:
    """The nearest known point of another class, for each image.

    Parameters
    ----------
    distances : Tensor of float, shape [N]
        In L2, for pixels in [0, 1], of the saved 8-bit images: upper bounds. 0 for images that
        the model gets wrong, infinity where no such point was found.
    images : Tensor of uint8, shape [N, C, H, W]
        Those points.
    predictions : Tensor of int64, shape [N]
        What the model takes them for.
    method : BoundaryMethod
    """

    distances: Tensor
    images: Tensor
    predictions: Tensor
    method: BoundaryMethod

    @property
    def curve(self) -> SecurityCurve:
        """The accuracy that is left at every distance, with intervals."""
        return SecurityCurve(Norm.L2, self.distances)


def find_boundary(
    model: Classifier,
    clean: ImageSet,
    *,
    method: BoundaryMethod | str | None = None,
    neighbours: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> Boundary:
    """Find the nearest point of another class for each image.

    Parameters
    ----------
    model : Classifier
    clean : ImageSet
        Of the model's shape and classes.
    method : BoundaryMethod, optional
        By default gradients (FMN in L2, of the extra ``attacks``) where the model gives them
        and the extra is installed, else lines. Lines find points that are much farther away.
    neighbours : int
        How many of the nearest images of other classes a line goes to.
    seed : int
    progress : Progress
        In images.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        If the images do not fit the model, it gives no gradients for that method, or an answer
        is not finite.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> softmax = {"hidden": []}
    >>> model = build_classifier("mlp", digits.train, arguments=softmax, seed=0)
    >>> found = find_boundary(model, digits.test.take(torch.arange(50)), method="lines")
    >>> found.method.value, tuple(found.images.shape)
    ('lines', (50, 1, 12, 12))
    """
    check_images(model, clean)
    if method is not None and method not in [*BoundaryMethod]:
        raise InvalidRequestError(mismatch("method", " or ".join(BoundaryMethod), repr(method)))
    if neighbours < 1:
        raise InvalidRequestError(mismatch("neighbours", "1 or more", neighbours))
    if method is None:
        near = Access.GRADIENTS in model.gives and importlib.util.find_spec("foolbox") is not None
        method = BoundaryMethod.GRADIENTS if near else BoundaryMethod.LINES
    if method == BoundaryMethod.LINES:
        return _by_lines(model, clean, neighbours, progress)
    target = Queried(model, reveals=Reveals.WEIGHTS)
    found = evade(target, clean, new_attack("fmn", norm=Norm.L2), seed=seed, progress=progress)
    sizes = curve_of([found], Norm.L2).sizes
    return Boundary(sizes, found.images, found.predictions, BoundaryMethod.GRADIENTS)


def _by_lines(model: Classifier, clean: ImageSet, neighbours: int, progress: Progress) -> Boundary:
    """Halve lines to the nearest images that the model gives another label."""
    answers = labels_of(model, clean.images)
    rows = clean.pixels().flatten(1)
    distances = torch.full((len(clean),), torch.inf)
    images, predictions = clean.images.clone(), answers.clone()
    distances[answers != clean.labels] = 0
    right = (answers == clean.labels).nonzero().flatten()
    for part in right.split(100) if len(right) else ():  # type: ignore[no-untyped-call]
        far = torch.cdist(rows[part], rows)
        far[answers[part][:, None] == answers[None]] = torch.inf
        for rank in range(min(neighbours, len(clean))):
            away, places = far.kthvalue(rank + 1, dim=1)
            known = away.isfinite()
            mine, others = part[known], places[known]
            if not len(mine):
                continue
            ends = _halve(model, clean.images[mine], clean.images[others], clean.labels[mine])
            size = Norm.L2.of((ends.float() - clean.images[mine].float()) / 255)
            nearer = size < distances[mine]
            best = mine[nearer]
            distances[best], images[best] = size[nearer], ends[nearer]
        progress(int(part[-1]) + 1, len(clean))
    changed = distances.isfinite() & (distances > 0)
    if bool(changed.any()):
        predictions[changed] = labels_of(model, images[changed])
    return Boundary(distances, images, predictions, BoundaryMethod.LINES)


def _halve(model: Classifier, near: Tensor, far: Tensor, labels: Tensor) -> Tensor:
    """Return 8-bit images between `near` and `far` just where the label is another."""
    low, high = torch.zeros(len(near)), torch.ones(len(near))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        same = labels_of(model, _between(near, far, middle)) == labels
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return _between(near, far, high)


def _between(near: Tensor, far: Tensor, share: Tensor) -> Tensor:
    mixed = torch.lerp(near.float() / 255, far.float() / 255, share.view(-1, 1, 1, 1))
    return round_to_bytes(mixed)


@dataclass(frozen=True, eq=False)
class Lines:
    """What a model sees on lines between images of different classes.

    Parameters
    ----------
    starts, ends : Tensor of uint8, shape [P, C, H, W]
        Images that the model gets right.
    classes : Tensor of int64, shape [P, S]
        The model's label at S points from start to end.
    """

    starts: Tensor
    ends: Tensor
    classes: Tensor

    @property
    def third(self) -> Tensor:
        """Lines, bool [P], on which the model sees a class of neither end."""
        first, last = self.classes[:, :1], self.classes[:, -1:]
        return ((self.classes != first) & (self.classes != last)).any(1)

    @property
    def third_rate(self) -> tuple[float, tuple[float, float]]:
        """The share of such lines, with its exact 95 % interval."""
        hits, of = int(self.third.sum()), len(self.classes)
        return hits / of, rate_interval(hits, of)

    def pictures(self, line: int) -> Tensor:
        """Return the images on a line, uint8 [S, C, H, W]."""
        points = self.classes.shape[1]
        near, far = self.starts[line].expand(points, -1, -1, -1), self.ends[line]
        return _between(near, far.expand_as(near), torch.linspace(0, 1, points))


def walk_lines(
    model: Classifier, clean: ImageSet, *, lines: int = 100, points: int = 21, seed: int = 0
) -> Lines:
    """Ask a model about points on lines between images of different classes.

    Parameters
    ----------
    model : Classifier
    clean : ImageSet
        Of the model's shape and classes. Lines join images that the model gets right.
    lines, points : int
        Lines, drawn with replacement, and points on each, both ends among them.
    seed : int

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        If the images do not fit the model, it gets images of one class right at most, or an
        answer is not finite.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> model = build_classifier("mlp", digits.train, arguments={"hidden": []}, seed=1)
    >>> walk_lines(model, digits.test, lines=5).classes.shape
    torch.Size([5, 21])
    """
    check_images(model, clean)
    if lines < 1 or points < 3:
        got = f"{lines} lines, {points} points"
        raise InvalidRequestError(mismatch("lines and points", "from 1, from 3", got))
    right = clean.take(labels_of(model, clean.images) == clean.labels)
    classes = right.labels.unique()  # type: ignore[no-untyped-call]
    if len(classes) < 2:
        allowed = "images of two classes that the model gets right"
        raise InvalidRequestError(mismatch("lines", allowed, f"{len(classes)} classes"))
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(right), (lines,), generator=generator)
    # Of all images with other labels, one by chance.
    chances = (right.labels[first][:, None] != right.labels[None]).float()
    last = torch.multinomial(chances, 1, generator=generator).flatten()
    starts, ends = right.images[first], right.images[last]
    seen = [
        labels_of(model, _between(starts, ends, torch.full((lines,), float(share))))
        for share in torch.linspace(0, 1, points)
    ]
    return Lines(starts, ends, torch.stack(seen, dim=1))
