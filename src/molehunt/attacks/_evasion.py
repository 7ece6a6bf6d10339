"""Evasion: change images so that a model errs, and measure it on what was saved."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor

from molehunt.errors import (
    InvalidRequestError,
    MolehuntError,
    UnsuitableSubjectError,
    mismatch,
)
from molehunt.images import ImageSet
from molehunt.networks import BudgetSpentError, Queried, Reveals
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval


class Norm(StrEnum):
    """How the size of a change is measured, over pixels in [0, 1]."""

    L0 = "l0"  # pixels that differ in any channel
    L2 = "l2"
    LINF = "linf"

    def of(self, change: Tensor) -> Tensor:
        """Return the size of each change, float [N], of [N, C, H, W].

        Examples
        --------
        >>> change = torch.zeros(1, 3, 4, 4)
        >>> change[0, :, 0, 0] = 0.5
        >>> [round(float(norm.of(change)), 3) for norm in Norm]
        [1.0, 0.866, 0.5]
        """
        if self is Norm.L0:
            return (change != 0).any(1).flatten(1).sum(1).float()
        flat = change.flatten(1)
        return flat.norm(dim=1) if self is Norm.L2 else flat.abs().amax(1)


class EvasionAttack(Protocol):
    """What `evade` runs.

    Attributes
    ----------
    name : str
    needs : Reveals
        The least that a target must reveal.
    norm : Norm or None
        In which `epsilon` bounds the changes; None for changes that no norm bounds.
    epsilon : float or None
        The most that a change may be; None where the attack looks for the smallest one.
    """

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> Reveals: ...
    @property
    def norm(self) -> Norm | None: ...
    @property
    def epsilon(self) -> float | None: ...

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images, float32 [N, C, H, W] in [0, 1].

        Parameters
        ----------
        target : Queried
            Each image that it is asked about counts.
        images : Tensor of float32, shape [N, C, H, W], in [0, 1]
        labels : Tensor of int64, shape [N]
            What the images show.
        targets : Tensor of int64, shape [N], optional
            What each image shall be taken for; without it any error will do.
        generator : torch.Generator
            Of all random draws.

        Raises
        ------
        BudgetSpentError
            If the budget ran out; its `found` are the changed images until then, if any.
        """
        ...


@dataclass(frozen=True)
class Evaded:
    """What came of an attack, recomputed from the 8-bit images that are saved.

    Parameters
    ----------
    originals, images : Tensor of uint8, shape [N, C, H, W]
        Before and after.
    labels, before, predictions : Tensor of int64, shape [N]
        What the images show, and what the model takes them for before and after.
    targets : Tensor of int64, shape [N], optional
    attacked : Tensor of bool, shape [N]
        Images that the attack ran on: those that the model takes for what they show, and not
        for the target, as far as the budget went.
    queries : int
        Images that the attack asked the target about.
    seconds : float
        On the clock.
    note : str
        Why images were left out, in one sentence; empty where none was.
    """

    originals: Tensor
    images: Tensor
    labels: Tensor
    before: Tensor
    predictions: Tensor
    targets: Tensor | None
    attacked: Tensor
    queries: int
    seconds: float
    note: str = ""

    @property
    def success(self) -> Tensor:
        """Whether each image, bool [N], was attacked and is now taken for what was wanted."""
        if self.targets is not None:
            return self.attacked & (self.predictions == self.targets)
        return self.attacked & (self.predictions != self.labels)

    @property
    def success_rate(self) -> tuple[float, tuple[float, float]]:
        """The share of attacked images that succeeded, with its exact 95 % interval."""
        return _rate(int(self.success.sum()), int(self.attacked.sum()))

    @property
    def clean_accuracy(self) -> tuple[float, tuple[float, float]]:
        """The share of images that the model gets right before, with its interval."""
        return _rate(int((self.before == self.labels).sum()), len(self.labels))

    @property
    def robust_accuracy(self) -> tuple[float, tuple[float, float]]:
        """The share of all images that the model gets right before and after.

        Images that the budget did not reach count as right, so it is an upper bound then.
        """
        right = (self.before == self.labels) & (self.predictions == self.labels)
        return _rate(int(right.sum()), len(self.labels))

    def sizes(self, norm: Norm) -> Tensor:
        """Return the sizes of the successful changes, float [number of successes]."""
        change = self.images[self.success].float() - self.originals[self.success].float()
        return norm.of(change / 255)


def _rate(hits: int, of: int) -> tuple[float, tuple[float, float]]:
    return (hits / of if of else float("nan")), rate_interval(hits, of)


def to_bytes(
    images: Tensor, originals: Tensor, norm: Norm | None = None, epsilon: float | None = None
) -> Tensor:
    """Return changed images as they are saved, uint8, without leaving the ball by rounding.

    Parameters
    ----------
    images : Tensor of float32, shape [N, C, H, W]
        Brought into [0, 1] first.
    originals : Tensor of uint8, shape [N, C, H, W]
    norm, epsilon : optional
        In the ball of radius `epsilon` around the originals changes are rounded towards
        nothing where they would leave it, so success may be lost.

    Examples
    --------
    >>> originals = torch.zeros(1, 1, 1, 2, dtype=torch.uint8)
    >>> to_bytes(torch.tensor([[[[0.1, 0.05]]]]), originals, Norm.LINF, 0.1).tolist()
    [[[[25, 13]]]]
    """
    change = images.detach().float().clamp(0, 1) * 255 - originals.float()
    rounded = change.round()
    # A float cannot say 8/255 exactly.
    if norm is Norm.LINF and epsilon is not None:
        most = int(epsilon * 255 + 1e-4)
        rounded = rounded.clamp(-most, most)
    elif norm is Norm.L2 and epsilon is not None:
        outside = norm.of(rounded / 255) > epsilon + 1e-6
        rounded[outside] = change[outside].trunc()
    return (originals.float() + rounded).clamp(0, 255).to(torch.uint8)


def evade(
    target: Queried,
    clean: ImageSet,
    attack: EvasionAttack,
    *,
    targets: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 100,
    progress: Progress = silent,
) -> Evaded:
    """Attack images, save them with 8 bits, and measure what the model takes those for.

    Only images are attacked that the model gets right and does not take for the target. A
    budget that runs out, or an answer that is not finite, ends the attack with what was found
    until then.

    Parameters
    ----------
    target : Queried
    clean : ImageSet
        Of the target's shape and classes.
    attack : EvasionAttack
    targets : Tensor of int64, shape [N], optional
        What each image shall be taken for.
    seed : int
        Of all random draws.
    batch_size : int
        Images that are attacked at once; each batch draws from a generator of its own.
    progress : Progress
        In images.

    Raises
    ------
    InvalidRequestError
        If images, targets or the attack's radius do not fit.
    UnsuitableSubjectError
        If the target reveals too little, or its first answers are not finite.
    """
    check_attack(target, clean, attack, targets)
    before = target.judge(clean.images).cpu()
    eligible = before == clean.labels
    if targets is not None:
        eligible &= before != targets
    changed, attacked = clean.images.clone(), torch.zeros(len(clean), dtype=torch.bool)
    places, note = eligible.nonzero().flatten(), ""
    queries, start = target.queries, time.perf_counter()
    # Of nothing, `split` makes one empty batch.
    parts = places.split(batch_size) if len(places) else ()  # type: ignore[no-untyped-call]
    for number, part in enumerate(parts):
        originals = clean.images[part]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        stop: MolehuntError | None = None
        try:
            found: Tensor | None = attack.perturb(
                target,
                originals.float().div_(255),
                clean.labels[part],
                None if targets is None else targets[part],
                generator,
            )
        except BudgetSpentError as error:
            stop, found = error, error.found
        except UnsuitableSubjectError as error:
            if not bool(attacked.any()):
                raise
            stop, found = error, None
        if stop is not None:
            done = int(attacked.sum())
            note = f"{stop}; {done} of {len(places)} images were attacked to the end"
        if found is not None:
            changed[part] = to_bytes(found.cpu(), originals, attack.norm, attack.epsilon)
            attacked[part] = True
            progress(int(attacked.sum()), len(places))
        if stop is not None:
            break
    return Evaded(
        clean.images,
        changed,
        clean.labels,
        before,
        target.judge(changed).cpu(),
        targets,
        attacked,
        target.queries - queries,
        time.perf_counter() - start,
        note,
    )


def check_attack(
    target: Queried, clean: ImageSet, attack: EvasionAttack, targets: Tensor | None = None
) -> None:
    """Refuse an attack that does not fit the target, the images or the targets.

    Raises
    ------
    InvalidRequestError
    """
    if clean.shape != target.input_shape:
        raise InvalidRequestError(mismatch("images", f"shape {target.input_shape}", clean.shape))
    if clean.num_classes != target.num_classes:
        got = clean.num_classes
        raise InvalidRequestError(mismatch("classes of the images", target.num_classes, got))
    if targets is not None:
        fits = targets.shape == clean.labels.shape and targets.dtype == torch.int64
        if not fits or not bool(((targets >= 0) & (targets < target.num_classes)).all()):
            allowed = f"{len(clean)} classes from 0 to {target.num_classes - 1}"
            raise InvalidRequestError(mismatch("targets", allowed, f"shape {tuple(targets.shape)}"))
    if attack.epsilon is not None and attack.norm is not None:
        pixels = target.input_shape[1] * target.input_shape[2]
        channels = target.input_shape[0]
        largest = {Norm.L0: pixels, Norm.L2: (pixels * channels) ** 0.5, Norm.LINF: 1.0}
        if not 0 < attack.epsilon <= largest[attack.norm]:
            allowed = f"above 0, at most {largest[attack.norm]:.4g} for pixels in [0, 1]"
            raise InvalidRequestError(mismatch("epsilon", allowed, attack.epsilon))
    if not target.reveals.allows(attack.needs):
        raise InvalidRequestError(
            mismatch(
                f"attack {attack.name}", f"a target that reveals {attack.needs}", target.reveals
            )
        )
