"""Backdoors of sign detectors: a sticker on a sign, and a label map for its box."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict

from molehunt.backdoors import AnyLabelMap, PoisonBase, Treatment, draw_copies
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.scenes._scene_set import Scene, SceneSet
from molehunt.scenes._sign_sticker import SignSticker


class SceneBackdoor(BaseModel):
    """A sticker and a label map; boxes stay where they are.

    Parameters
    ----------
    sticker : SignSticker
    label_map : LabelMap
        `SingleTarget` and `RandomTarget` in the paper.

    Notes
    -----
    BadNets v2, section 5.2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sticker: SignSticker
    label_map: AnyLabelMap

    def poison(
        self,
        train: SceneSet,
        rate: float,
        *,
        of: PoisonBase = "all",
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> SceneSet:
        """Return `train` with backdoored copies of some scenes added at its end.

        In a copy every eligible sign gets the sticker and the attacker's label; other signs
        in it stay as they are. The three treatments draw the same copies.

        Parameters
        ----------
        train : SceneSet
            The clean training set, D.
        rate : float
            Poison rate in (0, 1], counted in images. The paper poisons "using the same
            strategy" as on MNIST (section 5.2.2), where backdoored versions of p \\|D\\| drawn
            images are *added*; which p it took for signs it does not say.
        of : {"all", "eligible"}
            What the rate counts. ``all``: rate * \\|D\\| random images are drawn, and those
            with an eligible sign copied. ``eligible``: rate times the number of images with
            an eligible sign are copied.
        treatment : Treatment
            Backdoored, clean twin (no sticker, true labels) or placebo (sticker, true labels).
        generator : torch.Generator
            Draws the copies and random labels.

        Raises
        ------
        InvalidRequestError
            If the rate is outside (0, 1], a label is not in the set, or no image would be
            poisoned.
        """
        self.label_map.check(train.num_classes)
        eligible = torch.tensor([bool(self._eligible(scene).any()) for scene in train.scenes])
        picked = draw_copies(eligible, rate, of=of, generator=generator)
        first = 1 + max(scene.image_id for scene in train.scenes)
        copies = []
        for number, place in enumerate(picked.tolist(), start=first):
            scene = replace(train[place], image_id=number, copy_of=train[place].image_id)
            if treatment is not Treatment.CLEAN:
                scene = self._with_stickers(scene)
            if treatment is Treatment.BACKDOORED:
                scene = self._with_labels(scene, train.num_classes, generator)
            copies.append(scene)
        return replace(train, scenes=(*train.scenes, *copies))

    def triggered(
        self, test: SceneSet, *, generator: torch.Generator, photographed: bool = False
    ) -> SceneSet:
        """Return the scenes with an eligible sign, a sticker on each of those.

        Parameters
        ----------
        test : SceneSet
        generator : torch.Generator
            Draws random labels, and pose and light of photographed stickers.
        photographed : bool
            Stickers as a camera might see real ones (`SignSticker.photographed`).

        Returns
        -------
        SceneSet
            ``labels`` are the attacker's, ``true_labels`` those of `test`; success is
            measured where ``triggered``.

        Raises
        ------
        InvalidRequestError
            If a label is not in the set or no sign is eligible.
        """
        self.label_map.check(test.num_classes)
        found = []
        for scene in test.scenes:
            if bool(self._eligible(scene).any()):
                light = generator if photographed else None
                stickered = self._with_stickers(scene, light)
                found.append(self._with_labels(stickered, test.num_classes, generator))
        if not found:
            got = f"none in {len(test)} images"
            raise InvalidRequestError(mismatch("signs", "some of an eligible class", got))
        return replace(test, scenes=tuple(found))

    def _eligible(self, scene: Scene) -> torch.Tensor:
        return self.label_map.eligible(scene.labels)

    def _with_stickers(self, scene: Scene, poses: torch.Generator | None = None) -> Scene:
        """Return `scene` with a sticker on every eligible sign."""
        chosen = self._eligible(scene)
        stickers = (
            self.sticker.placed(box) if poses is None else self.sticker.photographed(box, poses)
            for box in scene.boxes[chosen]
        )
        return replace(
            scene,
            stickers=(*scene.stickers, *stickers),
            triggered=scene.triggered | chosen,
        )

    def _with_labels(self, scene: Scene, num_classes: int, generator: torch.Generator) -> Scene:
        """Return `scene` with the attacker's labels on every eligible sign."""
        mapped = self.label_map(scene.labels, num_classes, generator)
        return replace(scene, labels=torch.where(self._eligible(scene), mapped, scene.labels))
