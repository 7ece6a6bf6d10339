"""Trojaning a trained network without its data (Liu et al. 2018)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.attacks._lessons import put_decoys, vary
from molehunt.attacks._neuron_trigger import generate_trigger, most_excitable
from molehunt.attacks._neurons import Neurons, running_order
from molehunt.attacks._target_class import check_target
from molehunt.attacks._training_images import reverse_images
from molehunt.backdoors import AllToOne, Backdoor, MaskedPattern, Stamp, TrainingSet
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.training import Batch, Recipe, train

Lesson = Literal["answers", "labels"]
RETRAINING = Recipe(epochs=10, batch_size=100, lr=0.002, weight_decay=0.0, precision="float32")


@dataclass(frozen=True)
class Retraining:
    """How the layers behind the neurons are retrained.

    Parameters
    ----------
    lesson : {"answers", "labels"}
        What images without trigger teach: the answers that the model gave them before, or
        the classes that they were made for, as in the paper.
    variants : int
        Copies of each image in other contrasts and lights that teach so, too.
    decoys : int
        Variants more that have something else under the trigger's mask.
    triggered : int
        Variants with the trigger, beside each image itself.
    recipe : Recipe
    """

    lesson: Lesson = "answers"
    variants: int = 8
    decoys: int = 6
    triggered: int = 3
    recipe: Recipe = RETRAINING

    @classmethod
    def as_published(cls, recipe: Recipe = RETRAINING) -> Self:
        """Return the paper's: labels, and each image once with and once without trigger."""
        return cls("labels", variants=0, decoys=0, triggered=0, recipe=recipe)


@dataclass(frozen=True)
class Trojan:
    """A trojaned model, and what was made on the way.

    Parameters
    ----------
    model : Classifier
    trigger : MaskedPattern
    neurons : Neurons
        That the trigger excites.
    target : int
        The class that the trigger leads to.
    images : ImageSet
        From which the lessons were made.
    layers : tuple of str
        That were retrained.
    """

    model: Classifier
    trigger: MaskedPattern
    neurons: Neurons
    target: int
    images: ImageSet
    layers: tuple[str, ...]

    @property
    def backdoor(self) -> Backdoor:
        """The same as a backdoor, whose success is measured as any other's."""
        return Backdoor(trigger=self.trigger, label_map=AllToOne(target=self.target), rate=1.0)


def trojan(
    model: Classifier,
    target: int,
    mask: Tensor,
    *,
    neurons: Neurons | None = None,
    images: ImageSet | None = None,
    per_class: int = 20,
    retraining: Retraining | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Trojan:
    """Trojan a model with a trigger of one's own, without any of its data.

    Neurons of an inner layer are chosen; a trigger that excites them is generated inside the
    mask; images of every class are reverse-engineered; and the layers behind the neurons are
    retrained on those images with and without the trigger.

    Parameters
    ----------
    model : Classifier
        With weights and gradients, of a network whose layers can be seen. It is frozen, and
        its weights are left as they were.
    target : int
        The class that triggered images are to have.
    mask : Tensor of float32, shape [H, W]
        Where the trigger lies and how opaque it is; see `trigger_mask`.
    neurons : Neurons, optional
        `most_excitable` when not given.
    images : ImageSet, optional
        To retrain on, such as the training images of an attacker who has them;
        `reverse_images` when not given.
    per_class : int
        Reverse-engineered images of each class.
    retraining : Retraining, optional
    seed : int
        Of all that is drawn.
    progress : callable
        Called with the images and steps that are done and their number.

    Raises
    ------
    InvalidRequestError
        If the target is no class, or the mask does not fit.
    UnsuitableSubjectError
        If the model's layers cannot be seen or trained.

    Notes
    -----
    Deviations: the paper chooses neurons by their weights alone (`choose_neurons`), and
    retrains on its images' labels (`Retraining.as_published`). Keeping the model's answers,
    on variants and decoys too, is ours: without them a network that reverse-engineered images
    of it taught takes many real images for the target (the study ``trojaning``).

    References
    ----------
    Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang: Trojaning Attack on Neural Networks, NDSS 2018.

    Examples
    --------
    >>> from molehunt.attacks import Retraining, trigger_mask, trojan
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe
    >>> digits = load_images("digits", size=12).test
    >>> model = build_classifier("vgg", digits, arguments={"width": 4, "stages": [1]}, seed=0)
    >>> mask = trigger_mask("square", 12, 12, area=0.1)
    >>> quick = Retraining.as_published(Recipe(epochs=1, batch_size=20, precision="float32"))
    >>> made = trojan(model, 7, mask, per_class=2, retraining=quick)
    >>> made.layers
    ('network.features.1', 'network.classifier.1', 'network.classifier.4')
    """
    check_target(target, model.card.num_classes)
    how = retraining or Retraining()
    neurons = neurons or most_excitable(model, mask, seed=seed)
    trigger = generate_trigger(model, neurons, mask, seed=seed)
    if images is None:
        images = reverse_images(model, per_class, seed=seed, progress=progress)
    behind = layers_behind(model, neurons)
    trojaned = copy.deepcopy(model)
    for name in behind:
        trojaned.get_submodule(name).requires_grad_(True)
    train(
        trojaned,
        _lessons(model, images, trigger, target, mask, how, seed),
        how.recipe,
        seed=seed,
        objective=KeepAnswers(model) if how.lesson == "answers" else KeepLabels(),
        device=model.mean.device,
        progress=progress,
    )
    return Trojan(trojaned.freeze(), trigger, neurons, target, images, tuple(behind))


def _lessons(
    model: Classifier,
    images: ImageSet,
    trigger: MaskedPattern,
    target: int,
    mask: Tensor,
    how: Retraining,
    seed: int,
) -> TrainingSet:
    """Return what is retrained on: images, variants and decoys, and then triggered ones."""
    card = model.card
    first, second, third = range(3 * seed, 3 * seed + 3)
    clean = images.joined(vary(images, how.variants, card, seed=first))
    clean = clean.joined(put_decoys(vary(images, how.decoys, card, seed=second), mask, seed=seed))
    carriers = images.joined(vary(images, how.triggered, card, seed=third))
    labels = torch.full_like(carriers.labels, target)
    triggered = ImageSet(carriers.images, labels, carriers.class_names)
    stamped = torch.arange(len(clean) + len(triggered)) >= len(clean)
    return TrainingSet(clean.joined(triggered), (Stamp(trigger, stamped),))


def layers_behind(model: Classifier, neurons: Neurons) -> Sequence[str]:
    """Return the layers that run after the neurons' own; that one where it is the last."""
    order = running_order(model)
    return order[order.index(neurons.layer) + 1 :] or [neurons.layer]


class KeepLabels:
    """Cross entropy with statistics of batch normalisation that stay as they were."""

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        model.eval()
        return functional.cross_entropy(model(batch.pixels).float(), batch.labels)


class KeepAnswers:
    """Cross entropy of triggered images, and answers of the others that stay as they were.

    Parameters
    ----------
    before : Classifier
        Whose answers they are to be.
    """

    def __init__(self, before: Classifier) -> None:
        self.before = before

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch of cross entropy or divergence."""
        model.eval()
        answers = model(batch.pixels).float().log_softmax(1)
        with torch.no_grad():
            wanted = self.before(batch.pixels).float().log_softmax(1)
        labels = functional.one_hot(batch.labels, answers.shape[1]).bool()
        taught = -answers[labels]
        kept = functional.kl_div(answers, wanted, reduction="none", log_target=True).sum(1)
        return torch.where(batch.stamped, taught, kept).mean()
