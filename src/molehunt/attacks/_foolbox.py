"""The one door to foolbox 3.3.4: its attacks as evasion attacks of Molehunt.

The library's attacks run on `Queried.module`, so each image that they ask about counts and they
see no more than is revealed. What an attack found is what fooled the target when it was asked,
not what the library returns (`Record`), pushed until its 8 bits hold (`settle`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from molehunt.attacks._evasion import Norm
from molehunt.attacks._library import Record, find_starts, push_away, seed_globals, settle
from molehunt.errors import InvalidRequestError, mismatch, need_extra
from molehunt.networks import BudgetSpentError, Queried, Reveals

_LAST_PUSH = 1.05
_MOST_NUMBERS = 25_000_000  # that HopSkipJump may draw at once, 100 MB


@dataclass(frozen=True)
class Recipe:
    """How an attack is made of the library's classes, by norm; `steps` are the usual ones."""

    classes: Mapping[Norm, str]
    steps: int
    settings: Callable[[int], dict[str, Any]]
    needs: Reveals = Reveals.WEIGHTS
    bounded: bool = False
    from_start: bool = False
    targeted: bool = True


_PGD = {
    Norm.LINF: "LinfProjectedGradientDescentAttack",
    Norm.L2: "L2ProjectedGradientDescentAttack",
}

RECIPES: dict[str, Recipe] = {
    # Goodfellow et al. 2015; as one step of PGD, because foolbox's own takes no target.
    "fgsm": Recipe(
        _PGD, 1, lambda _: {"steps": 1, "rel_stepsize": 1.0, "random_start": False}, bounded=True
    ),
    # Madry et al. 2018, steps of 2.5 epsilon / steps.
    "pgd": Recipe(_PGD, 40, lambda n: {"steps": n, "rel_stepsize": 2.5 / n}, bounded=True),
    # Rony et al. 2019.
    "ddn": Recipe({Norm.L2: "DDNAttack"}, 100, lambda n: {"steps": n}),
    # Pintor et al. 2021.
    "fmn": Recipe(
        {Norm.LINF: "LInfFMNAttack", Norm.L2: "L2Minimum", Norm.L0: "L0Minimum"},
        100,
        lambda n: {"steps": n},
    ),
    # Chen et al. 2018: L1 and L2 together; 5 rounds for the constant between them.
    "ead": Recipe(
        {Norm.L2: "EADAttack"},
        100,
        lambda n: {"steps": n, "binary_search_steps": 5, "initial_const": 0.1},
    ),
    # Carlini and Wagner 2017. Pixels are squashed: fewer or smaller steps never leave black.
    "carlini-wagner": Recipe(
        {Norm.L2: "L2CarliniWagnerAttack"},
        200,
        lambda n: {"steps": n, "binary_search_steps": 5, "initial_const": 0.1, "stepsize": 0.05},
    ),
    # Moosavi-Dezfooli et al. 2016.
    "deepfool": Recipe(
        {Norm.L2: "L2DeepFoolAttack", Norm.LINF: "LinfDeepFoolAttack"},
        50,
        lambda n: {"steps": n},
        targeted=False,
    ),
    # Chen et al. 2020; about 100 steps^1.5 / 1.5 questions an image.
    "hopskipjump": Recipe(
        {Norm.L2: "HopSkipJumpAttack", Norm.LINF: "HopSkipJumpAttack"},
        10,
        lambda n: {"steps": n},
        needs=Reveals.LABELS,
        from_start=True,
    ),
    # Brendel et al. 2018; about 1.1 questions a step.
    "boundary": Recipe(
        {Norm.L2: "BoundaryAttack"},
        2000,
        lambda n: {"steps": n},
        needs=Reveals.LABELS,
        from_start=True,
    ),
    # More and more pixels black or white at random; a question a step.
    "salt-and-pepper": Recipe(
        {Norm.L2: "SaltAndPepperNoiseAttack"},
        200,
        lambda n: {"steps": n},
        needs=Reveals.LABELS,
        targeted=False,
    ),
}


@dataclass(frozen=True, eq=False)
class FoolboxAttack:
    """An attack of foolbox, by its name here.

    Attacks that walk along the boundary start from the nearest image, of the batch or of
    `starts`, that fools the target already, else from noise; images without such a start stay
    as they are.

    Parameters
    ----------
    name : str
        One of `RECIPES`.
    norm : Norm
    epsilon : float, optional
        The radius of PGD and FGSM. The others look for the smallest change; with `epsilon`,
        larger ones are given up.
    steps : int, optional
        Of the attack; a usual number when not given.
    starts : Tensor of float32, shape [M, C, H, W], in [0, 1], optional
        More images that the attacker has, such as some of the class that is wanted.
    settings : dict
        Of the library's class, in place of ours.

    Raises
    ------
    MissingExtraError
        If foolbox is not installed.
    InvalidRequestError
        If `steps` is below 1.
    """

    name: str
    norm: Norm
    epsilon: float | None = None
    steps: int | None = None
    starts: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise InvalidRequestError(mismatch("steps", "1 or more", self.steps))
        self._new()

    @property
    def needs(self) -> Reveals:
        """The least that a target must reveal."""
        return RECIPES[self.name].needs

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images, float32 [N, C, H, W]; as `EvasionAttack` says.

        Raises
        ------
        BudgetSpentError
            With what was found until then.
        """
        images, labels = images.to(target.device), labels.to(target.device)
        targets = None if targets is None else targets.to(target.device)
        found, starts = images.clone(), None
        rows = torch.arange(len(images), device=images.device)
        try:
            with seed_globals(generator, target.device):
                if RECIPES[self.name].from_start:
                    starts, has = find_starts(target, images, labels, targets, self.starts)
                    rows = rows[has]
                # Of nothing, `split` makes one empty part.
                parts = rows.split(self._at_once(images)) if len(rows) else ()  # type: ignore[no-untyped-call]
                for part in parts:
                    self._attack(target, images, labels, targets, starts, part, found)
        except BudgetSpentError as error:
            # There is no question left to find out how far rounding lets them go back.
            error.found = push_away(found, images, _LAST_PUSH, self.norm, self.epsilon)
            raise
        return found

    def _attack(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        starts: Tensor | None,
        rows: Tensor,
        found: Tensor,
    ) -> None:
        """Attack the images `rows` and write what came of it to `found`."""
        images, labels = images[rows], labels[rows]
        targets = None if targets is None else targets[rows]
        record = Record(target, images, labels, targets, self.norm)
        how: dict[str, Any] = {} if starts is None else {"starting_points": starts[rows]}
        if RECIPES[self.name].bounded:
            how["epsilon"] = self.epsilon
        try:
            last = self._run(record, images, labels, targets, how)
        finally:
            found[rows] = self._near_enough(record, images)
        ball = (self.norm, self.epsilon)
        if RECIPES[self.name].bounded:
            # Whoever fooled the target on the way, and not at the end, is tried second; who
            # never did is returned as it was at the end.
            held, done = settle(target, last, images, labels, targets, *ball, push=False)
            tried = done | record.sizes.isinf()
            found[rows[tried]] = held[tried]
            rows, images, labels = rows[~done], images[~done], labels[~done]
            targets = None if targets is None else targets[~done]
        held, _ = settle(target, found[rows], images, labels, targets, *ball)
        found[rows] = held

    def _near_enough(self, record: Record, images: Tensor) -> Tensor:
        most = torch.inf if self.epsilon is None else self.epsilon + 1e-6
        return torch.where((record.sizes <= most).view(-1, 1, 1, 1), record.best, images)

    def _run(
        self,
        record: Record,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        how: Mapping[str, Any],
    ) -> Tensor:
        foolbox = _import_foolbox()
        if targets is None:
            wanted = foolbox.Misclassification(labels)
        else:
            wanted = foolbox.TargetedMisclassification(targets)
        model = foolbox.PyTorchModel(record, bounds=(0, 1), device=images.device)
        try:
            result: Tensor = self._new().run(model, images, wanted, **how)
        except (AssertionError, ValueError):
            # A target that answers at random contradicts the start or the step before.
            if not RECIPES[self.name].from_start:
                raise
            return record.best
        return result

    def _new(self) -> Any:
        """Return a new attack of the library."""
        recipe = RECIPES[self.name]
        _import_foolbox()
        settings = recipe.settings(self.steps or recipe.steps)
        if self.name == "hopskipjump":
            settings["constraint"] = self.norm.value
        return _class_of(recipe.classes[self.norm])(**{**settings, **self.settings})

    def _at_once(self, images: Tensor) -> int:
        """Return how many images fit into memory with all that the attack draws for them."""
        if self.name != "hopskipjump":
            return max(1, len(images))
        steps = self.steps or RECIPES[self.name].steps
        return max(1, int(_MOST_NUMBERS / (100 * steps**0.5 * images[0].numel())))


def _import_foolbox() -> ModuleType:
    # Its model zoo, which nothing here uses, wants a git that may not be there.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    return need_extra("attacks", "foolbox", "an attack of foolbox")


def _class_of(name: str) -> Any:
    own = importlib.import_module("molehunt.attacks._fmn")
    return getattr(own, name, None) or getattr(_import_foolbox().attacks, name)
