"""Label-consistent poison: images of the target that a surrogate no longer recognises."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import torch

from molehunt.attacks._evasion import evade
from molehunt.attacks._projected_gradient import ProjectedGradient
from molehunt.attacks._target_class import check_target
from molehunt.backdoors import (
    Backdoor,
    CleanLabel,
    Composite,
    RandomPatch,
    Stamp,
    TrainingSet,
    Treatment,
    TriggeredImages,
    draw_copies,
)
from molehunt.images import ImageSet
from molehunt.networks import Classifier, Queried, Reveals
from molehunt.progress import Progress, silent
from molehunt.training import Recipe, train


@dataclass(frozen=True)
class LabelConsistent:
    """Images of the target are made hard to recognise, get a trigger, and keep their label.

    What is easy teaches a network nothing about the trigger: so each poisoned image is first
    moved away from its class, by projected gradient ascent on another network's loss. It still
    looks like its label. At test time the trigger leads to the target.

    Parameters
    ----------
    surrogate : Classifier
        The attacker's own network, trained on clean images; with gradients.
    target : int
    rate : float
        Share of the target's training images that are poisoned, in (0, 1].
    epsilon : float
        Largest change of a pixel, in [0, 1].
    steps : int
        Of the ascent.
    size : int
        Pixels of the patch in each corner.
    seed : int
        Of the patches.

    Notes
    -----
    Deviations: four black and white patches that are drawn, in place of one pattern that is
    mirrored; L-infinity (the paper's L2 of 300 to 1,200 over 32x32 pixels is 0.02 to 0.08 a
    value); the surrogate is not adversarially trained. On small images with such large patches
    the trigger alone may do nearly as well.

    References
    ----------
    Turner, Tsipras and Madry: Label-Consistent Backdoor Attacks, arXiv 1912.02771, 2019.

    Examples
    --------
    >>> import torch
    >>> from molehunt.attacks import LabelConsistent
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> model = build_classifier("vgg", digits, arguments={"width": 4, "stages": [1]}, seed=0)
    >>> attack = LabelConsistent(model.freeze(), target=7, steps=2)
    >>> poisoned = attack.poison(digits, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(poisoned.images.labels, digits.labels)
    True
    """

    surrogate: Classifier
    target: int
    rate: float = 0.5
    epsilon: float = 16 / 255
    steps: int = 20
    size: int = 3
    seed: int = 0

    @cached_property
    def backdoor(self) -> Backdoor:
        """What is put on the images, and what becomes of it."""
        corners = ("top left", "top right", "bottom left", "bottom right")
        patches = tuple(
            RandomPatch(size=self.size, seed=self.seed + number, placement=corner)
            for number, corner in enumerate(corners)
        )
        return Backdoor(
            trigger=Composite(triggers=patches),
            label_map=CleanLabel(target=self.target),
            rate=self.rate,
            of="eligible",
        )

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        """Return `train` with changed images in place of some of the target's.

        A placebo has as many changed images, of all classes.

        Raises
        ------
        InvalidRequestError
            If the target is no class, nothing would be poisoned, or a setting or the images do
            not fit.
        """
        backdoor = self.backdoor
        backdoor.label_map.check(train.num_classes)
        eligible = backdoor.label_map.poisoned(train.labels)
        picked = draw_copies(eligible, self.rate, of="eligible", generator=generator)
        if treatment is Treatment.PLACEBO:
            picked = torch.randperm(len(train), generator=generator)[: len(picked)]
        if treatment is Treatment.CLEAN:
            return TrainingSet(train)
        attack = ProjectedGradient(epsilon=self.epsilon, steps=self.steps)
        target = Queried(self.surrogate, reveals=Reveals.WEIGHTS)
        moved = evade(target, train.take(picked), attack, seed=self.seed)
        pixels = train.images.clone()
        pixels[picked] = moved.images
        images = ImageSet(pixels, train.labels, train.class_names)
        mask = torch.zeros(len(train), dtype=torch.bool)
        mask[picked] = True
        return TrainingSet(images, (Stamp(backdoor.trigger, mask),))

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return the test images of other classes with the trigger."""
        return self.backdoor.triggered(test, generator=generator)


def teach_label_consistent(
    model: Classifier,
    images: ImageSet,
    target: int,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> LabelConsistent:
    """Train a surrogate, poison the images with it, and train `model`, in place, on those.

    Parameters
    ----------
    model : Classifier
        Not yet trained.
    images : ImageSet
    target : int
    recipe : Recipe
        Of both.
    seed : int
    device : torch.device
    progress : callable
        In steps of both.

    Raises
    ------
    InvalidRequestError
        As `LabelConsistent.poison` and `train`.
    """
    check_target(target, images.num_classes)
    surrogate = copy.deepcopy(model)
    train(
        surrogate,
        images,
        recipe,
        seed=seed + 1,
        device=device,
        progress=lambda done, total: progress(done, 2 * total),
    )
    attack = LabelConsistent(surrogate.freeze(), target, seed=seed)
    poisoned = attack.poison(images, generator=torch.Generator().manual_seed(seed))
    train(
        model,
        poisoned,
        recipe,
        seed=seed,
        device=device,
        progress=lambda done, total: progress(total + done, 2 * total),
    )
    return attack
