"""An attack on another model, tried on the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from molehunt.attacks._evasion import EvasionAttack, Norm
from molehunt.networks import Classifier, Queried, Reveals


@dataclass(frozen=True)
class Transferred:
    """Images that were changed for a substitute; the target is asked nothing.

    Parameters
    ----------
    attack : EvasionAttack
        What is run on the substitute.
    substitute : Classifier
        A model of the same task whose weights the attacker has.

    Examples
    --------
    >>> from molehunt.attacks import ProjectedGradient, evade
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits, vgg = load_images("digits"), {"width": 4, "stages": [1, 1]}
    >>> mine, theirs = (
    ...     build_classifier("vgg", digits.train, arguments=vgg, seed=seed) for seed in (0, 1)
    ... )
    >>> attack = Transferred(ProjectedGradient(epsilon=0.1, steps=5), mine)
    >>> evade(Queried(theirs, reveals=Reveals.LABELS), digits.test, attack).queries
    0
    """

    name: ClassVar[str] = "transferred"
    needs: ClassVar[Reveals] = Reveals.LABELS

    attack: EvasionAttack
    substitute: Classifier

    @property
    def norm(self) -> Norm | None:
        """As of the attack."""
        return self.attack.norm

    @property
    def epsilon(self) -> float | None:
        """As of the attack."""
        return self.attack.epsilon

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images; see `EvasionAttack`."""
        source = Queried(self.substitute, reveals=self.attack.needs)
        return self.attack.perturb(source, images, labels, targets, generator)
