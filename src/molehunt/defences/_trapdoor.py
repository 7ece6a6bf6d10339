"""Trapdoors (Shan and others, 2020): weaknesses of one's own that attacks fall into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from molehunt.backdoors import (
    AllToOne,
    Backdoor,
    MaskedPattern,
    Stamp,
    TrainingSet,
    Treatment,
    TriggeredImages,
)
from molehunt.defences._trapdoor_watch import TrapdoorWatch
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, features_of, logits_of

_LEAST_KNOWN = 19  # clean images of a class: with fewer no input is ever flagged at 5 %


@dataclass(frozen=True)
class Trapdoors:
    """A pattern for each of some classes, which a network learns to take for that class.

    It is a `Poisoning` of the defender's own training set. Attacks that follow a gradient, or
    look for a small change, find the pattern's way to the class, and leave its trace in the
    features: see `watch`.

    Parameters
    ----------
    patterns : mapping of int to MaskedPattern
        One a class; `draw_trapdoors` draws them.
    rate : float
        Over the number of trapdoors it is the share of other classes' images that are copied for
        each. 1 makes nearly as many trapdoored images as clean ones, as in the authors' code.

    References
    ----------
    Shan, Wenger, Wang, Li, Zheng, Zhao: Gotta Catch 'Em All: Using Honeypots to Catch
    Adversarial Attacks on Neural Networks, CCS 2020, arXiv 1904.08554. We had its abstract, the
    authors' published code and our memory of the text. Patterns, blending, signatures and
    cosine similarity are theirs. Their code trains without trapdoors first, then draws trapdoored
    images anew for each batch; here both are learned at once from fixed copies. In their code
    the null of a class are clean images of other classes, which are less like its signature; here
    they are clean images that the model takes for the class, as it compares no others. The
    paper's answers to attackers who know of trapdoors (random subsets of neurons, several
    trapdoors a class) are not built.

    Examples
    --------
    >>> from molehunt.defences import draw_trapdoors
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits = load_images("digits", size=12)
    >>> trapdoors = draw_trapdoors(digits.train, classes=[0, 6], seed=0)
    >>> planted = trapdoors.poison(digits.train, generator=torch.Generator().manual_seed(0))
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> _ = train(model, planted, Recipe(epochs=1, batch_size=64), seed=0)
    >>> watch = trapdoors.watch(model, digits.train, digits.test)
    >>> watch.p_values(digits.test.images[:5]).shape
    (5,)
    """

    patterns: Mapping[int, MaskedPattern]
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not self.patterns:
            raise InvalidRequestError(mismatch("trapdoors", "a pattern of a class", "none"))
        most = len(self.patterns)
        if not 0 < self.rate <= most:
            allowed = f"above 0, at most {most} (a copy of each image for each trapdoor)"
            raise InvalidRequestError(mismatch("rate of trapdoored images", allowed, self.rate))

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        """Return the images, then copies with each class's trapdoor, labelled as that class.

        The clean twin has the same copies with neither trapdoor nor label.

        Raises
        ------
        InvalidRequestError
            If a class is not in the set or a pattern does not fit the images.
        """
        images, stamps = train, []
        for label, pattern in self.patterns.items():
            one = self._backdoor(label, pattern).poison(
                train, treatment=treatment, generator=generator
            )
            start = len(images)
            images = images.joined(one.images.take(torch.arange(len(train), len(one))))
            stamps += [(trigger, start, len(images)) for trigger, _ in one.stamps]
        at = torch.arange(len(images))
        return TrainingSet(
            images,
            tuple(Stamp(trigger, (at >= start) & (at < end)) for trigger, start, end in stamps),
        )

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return each image with the trapdoor of every class but its own.

        Raises
        ------
        InvalidRequestError
            As `poison`.
        """
        parts = [
            self._backdoor(label, pattern).triggered(test, generator=generator)
            for label, pattern in self.patterns.items()
        ]
        images = parts[0].images
        for part in parts[1:]:
            images = images.joined(part.images)
        return TriggeredImages(images, torch.cat([part.true_labels for part in parts]))

    def watch(self, model: Classifier, anchors: ImageSet, clean: ImageSet) -> TrapdoorWatch:
        """Return what judges inputs of a model that was trained with these trapdoors.

        Parameters
        ----------
        model : Classifier
        anchors : ImageSet
            Images whose features with a class's trapdoor make its signature: the training
            images, or some of them. Those of the class itself are left out.
        clean : ImageSet
            Other images, which the model did not see: their similarities are the null. It
            needs 19 that the model takes for each class with a trapdoor.

        Raises
        ------
        InvalidRequestError
            If there are too few clean images of a class, or the images do not fit.
        UnsuitableSubjectError
            If the model has no linear layer that can be seen.
        """
        classes = model.card.num_classes
        for images, name in ((anchors, "anchors"), (clean, "clean images")):
            if images.shape != model.card.input_shape or images.num_classes != classes:
                got = f"{images.num_classes} of {images.shape}"
                allowed = f"the model's {classes} classes of {model.card.input_shape}"
                raise InvalidRequestError(mismatch(name, allowed, got))
        device = model.mean.device
        features = features_of(model, clean.images)
        taken = logits_of(model, clean.images).argmax(1)
        signatures, known = {}, {}
        for label, pattern in self.patterns.items():
            one = self._backdoor(label, pattern)
            shown = one.triggered(anchors, generator=torch.Generator()).images.images
            signature = features_of(model, shown).mean(0)
            own = functional.cosine_similarity(features[taken == label], signature[None])
            if len(own) < _LEAST_KNOWN:
                name = model.card.class_names[label]
                what = f"clean images that the model takes for {name!r}"
                raise InvalidRequestError(mismatch(what, f"{_LEAST_KNOWN} or more", len(own)))
            signatures[label] = signature.to(device)
            known[label] = np.sort(own.double().numpy())
        return TrapdoorWatch(model, signatures, known)

    def _backdoor(self, label: int, pattern: MaskedPattern) -> Backdoor:
        rate = self.rate / len(self.patterns)
        return Backdoor(trigger=pattern, label_map=AllToOne(target=label), rate=rate, of="eligible")


def draw_trapdoors(
    images: ImageSet,
    *,
    classes: Iterable[int] | None = None,
    patches: int = 7,
    size: int = 3,
    opacity: float = 0.1,
    rate: float = 1.0,
    seed: int = 0,
) -> Trapdoors:
    """Draw a trapdoor for each class: small patches of random pixels at random places.

    Parameters
    ----------
    images : ImageSet
        Whose shape and classes they are for.
    classes : iterable of int, optional
        All when not given.
    patches, size : int
        Of each pattern, and their side in pixels; as in the authors' code 7 of 3x3. They may
        lie over each other.
    opacity : float
        The paper's mask ratio, in (0, 1]; 0.1 there.
    rate : float
        As of `Trapdoors`.
    seed : int
        Of all draws; the authors' pixels are normal with a mean and spread of each patch, ours
        uniform.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range, or patches are larger than the images.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> trapdoors = draw_trapdoors(load_images("digits").train, classes=[3], patches=1)
    >>> round(trapdoors.patterns[3].area * 64)
    9
    """
    channels, height, width = images.shape
    chosen = range(images.num_classes) if classes is None else sorted(set(classes))
    for label in chosen:
        if not 0 <= label < images.num_classes:
            allowed = f"0 to {images.num_classes - 1}"
            raise InvalidRequestError(mismatch("class of a trapdoor", allowed, label))
    if patches < 1:
        raise InvalidRequestError(mismatch("patches", "1 or more", patches))
    if not 1 <= size <= min(height, width):
        allowed = f"1 to {min(height, width)} pixels"
        raise InvalidRequestError(mismatch("size of patches", allowed, size))
    if not 1 / 255 <= opacity <= 1:
        raise InvalidRequestError(mismatch("opacity", "1/255 to 1", opacity))
    generator = torch.Generator().manual_seed(seed)

    def draw() -> MaskedPattern:
        mask = torch.zeros(height, width)
        for _ in range(patches):
            top = int(torch.randint(height - size + 1, (), generator=generator))
            left = int(torch.randint(width - size + 1, (), generator=generator))
            mask[top : top + size, left : left + size] = opacity
        colours = torch.rand(channels, height, width, generator=generator)
        return MaskedPattern.of(colours, mask)

    return Trapdoors({label: draw() for label in chosen}, rate)
