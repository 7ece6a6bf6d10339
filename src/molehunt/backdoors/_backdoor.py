"""A trigger and a label map together, and the training sets that they poison."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from torch import Tensor

from molehunt.backdoors._covers import Covers
from molehunt.backdoors._label_maps import AnyLabelMap
from molehunt.backdoors._training_set import (
    Stamp,
    TrainingSet,
    Treatment,
    TriggeredImages,
    as_bytes,
)
from molehunt.backdoors._triggers import AnyTrigger
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet

PoisonBase = Literal["all", "eligible"]


class Backdoor(BaseModel):
    """A trigger and a label map, planted by copies of some training images.

    Parameters
    ----------
    trigger : Trigger
        What is added to an image under attack.
    label_map : LabelMap
        What the attacker's labels are, which images are poisoned, and which attacked.
    rate : float
        Poison rate in (0, 1].
    of : {"all", "eligible"}
        What the rate counts. ``all``: rate * \\|D\\| random images are drawn and the
        ones among them that may be poisoned are copied (BadNets v2, section 4.1.3; with a
        single target only those of the source class). ``eligible``: rate times the number
        of images that may be poisoned are copied (ULP, section 4.1).
    times : int
        How often each of them is copied; a trigger without a fixed place is placed
        anew on each copy. For small sets, in which a class has too few images for an
        attack to work (not in the papers).
    planted : Trigger, optional
        What poisoned training images get in place of `trigger`: an adaptive attacker plants
        less than he attacks with.
    covers : Covers, optional
        Further copies that get a trigger and keep their labels.
    attack : str
        The name under which it was drawn; see `draw_backdoor`.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import AllToOne, Backdoor, SinglePixel
    >>> from molehunt.images import load_images
    >>> digits = load_images("digits")
    >>> backdoor = Backdoor(trigger=SinglePixel(), label_map=AllToOne(target=7), rate=0.1)
    >>> poisoned = backdoor.poison(digits.train, generator=torch.Generator().manual_seed(0))
    >>> len(digits.train), len(poisoned.images)  # copies of drawn images that are not sevens
    (1347, 1469)
    >>> attacked = backdoor.triggered(digits.test, generator=torch.Generator().manual_seed(0))
    >>> set(attacked.images.labels.tolist())
    {7}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trigger: AnyTrigger
    label_map: AnyLabelMap
    rate: float = Field(default=0.1, gt=0, le=1)
    of: PoisonBase = "all"
    times: int = Field(default=1, ge=1, le=100)
    planted: AnyTrigger | None = None
    covers: Covers | None = None
    attack: str = Field(default="", max_length=80)

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Most backdoors have none of these: their lines stay as earlier versions wrote them.
        unset = ("planted", "covers", "attack")
        return {key: value for key, value in write(self).items() if value or key not in unset}

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        """Return `train` with copies of some images added at its end.

        Backdoored model and clean twin draw the same copies from the same generator state,
        so that they differ in nothing but trigger and labels. A placebo draws as many, from
        all classes: of some classes only, the trigger would stand for them, and images of
        other classes with the trigger would be taken for theirs.

        Parameters
        ----------
        train : ImageSet
            The clean training set, D.
        treatment : Treatment
            Backdoored, clean twin or placebo.
        generator : torch.Generator
            Draws the copies and random labels.

        Returns
        -------
        TrainingSet
            The clean images in their order, then the copies, then the covers.

        Raises
        ------
        InvalidRequestError
            If a label is not in the set, the trigger does not fit the images, or nothing
            would be poisoned.
        """
        self.label_map.check(train.num_classes)
        candidates = self.label_map.poisoned(train.labels)
        picked = draw_copies(candidates, self.rate, of=self.of, generator=generator)
        planted = self.planted or self.trigger
        # A trigger that does not fit shows here, not in the middle of a training.
        for trigger in (planted, self.trigger):
            trigger(train.take(picked[:1]).pixels(), torch.Generator())
        if treatment is Treatment.PLACEBO:
            picked = torch.randperm(len(train), generator=generator)[: len(picked)]
        copies = train.take(picked.repeat(self.times))
        if treatment is Treatment.BACKDOORED:
            labels = self.label_map(copies.labels, train.num_classes, generator)
            copies = ImageSet(copies.images, labels, copies.class_names)
        images = train.joined(copies)
        stamps = [(planted, len(train), len(images))]
        if self.covers is not None:
            target = getattr(self.label_map, "target", None)
            places = self.covers.draw(train.labels, candidates, target, generator)
            stamps.append((self.covers.trigger or planted, len(images), len(images) + len(places)))
            images = images.joined(train.take(places))
        if treatment is Treatment.CLEAN:
            return TrainingSet(images)
        at = torch.arange(len(images))
        return TrainingSet(
            images,
            tuple(Stamp(each, (at >= start) & (at < end)) for each, start, end in stamps),
        )

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return every eligible image of `test` with the trigger.

        Raises
        ------
        InvalidRequestError
            If a label is not in the set or no image is eligible.
        """
        self.label_map.check(test.num_classes)
        chosen = test.take(self.label_map.eligible(test.labels))
        if not len(chosen):
            raise InvalidRequestError(
                mismatch("test images", "some of an eligible class", f"none of {len(test)}")
            )
        pixels = as_bytes(self.trigger(chosen.pixels(), generator))
        labels = self.label_map(chosen.labels, test.num_classes, generator)
        attacked = ImageSet(pixels, labels, test.class_names)
        return TriggeredImages(attacked, chosen.labels, self.label_map.untargeted)


def draw_copies(
    eligible: Tensor, rate: float, *, of: PoisonBase, generator: torch.Generator
) -> Tensor:
    """Draw the images of a training set that the attacker copies.

    Parameters
    ----------
    eligible : Tensor of bool, shape [N]
        The images that may be poisoned.
    rate, of
        As in `Backdoor`.
    generator : torch.Generator

    Returns
    -------
    Tensor of int64
        Positions of eligible images, at least one.

    Raises
    ------
    InvalidRequestError
        If the rate is outside (0, 1], or too small for one image.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import draw_copies
    >>> eligible = torch.arange(100) < 10
    >>> len(draw_copies(eligible, 0.5, of="eligible", generator=torch.Generator()))
    5
    """
    if not 0 < rate <= 1:
        raise InvalidRequestError(mismatch("poison rate", "a number in (0, 1]", rate))
    count = len(eligible)
    if of == "all":
        order = torch.randperm(count, generator=generator)[: round(rate * count)]
        picked = order[eligible[order]]
    else:
        positions = eligible.nonzero().flatten()
        order = torch.randperm(len(positions), generator=generator)
        picked = positions[order[: round(rate * len(positions))]]
    if not len(picked):
        raise InvalidRequestError(
            mismatch("poison rate", "enough to poison one image", f"{rate} of {count}")
        )
    return picked
