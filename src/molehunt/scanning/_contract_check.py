"""Is the input contract right? Clean images tell."""

from __future__ import annotations

import torch
from scipy.special import bdtrc

from molehunt.errors import MolehuntError, mismatch
from molehunt.findings import WRONG_CONTRACT, Finding, Status
from molehunt.images import ImageSet
from molehunt.networks import Classifier, ModelCard, logits_of
from molehunt.scanning._usual_mistakes import find_better
from molehunt.subjects import StatedContract

# How seldom a model that guesses may pass for one that knows.
_LEVEL = 0.01
_MOST_IMAGES = 500
# Under it a network of four or more classes is of no use, whatever the reason: the weakest of
# strangers' networks are right on about half of their images.
_LEAST_ACCURACY = 0.3
_MANY_CLASSES = 4


def check_contract(model: Classifier, clean: ImageSet) -> Finding:
    """Measure the model's accuracy on clean images: is the contract right?

    A wrong normalisation, channel order or list of classes makes detectors judge another
    function than the one that will be used. The contract is doubted where a usual mistake
    explains the images better (see `find_better`), where the model does not beat chance (the
    share of the most frequent class, a binomial test at 1 %), and where a model of four or more
    classes is right on less than 30 %.

    Returns
    -------
    Finding
        Clear with the accuracy; found where another contract is better, else inconclusive or
        failed: then nothing else should judge.
    """
    status, message = _compare(model, clean)
    return Finding("contract", status, message, WRONG_CONTRACT)


def _compare(model: Classifier, clean: ImageSet) -> tuple[Status, str]:
    if len(clean) > _MOST_IMAGES:
        clean = clean.sample(_MOST_IMAGES, torch.Generator().manual_seed(0))
    try:
        images = clean.shaped(model.card.input_shape).named(model.card.class_names)
    except MolehuntError as error:
        return Status.INCONCLUSIVE, str(error)
    try:
        answers = logits_of(model, images.images)
    except Exception as error:  # a stranger's network may fail in any way
        message = f"the model fails on clean images: {error}"
        return Status.FAILED, " ".join(message.split())[:300]
    stated = answers.argmax(1)
    right = int((stated == images.labels).sum())
    count = len(images)
    said = f"accuracy {right / count:.1%} on {count} clean images"
    better = find_better(model, images, stated)
    if better is not None:
        return Status.FOUND, (
            f"the contract looks wrong: accuracy {better.accuracy:.1%} with {better.mistake}, "
            f"{right / count:.1%} as stated, on {count} clean images"
        )
    chance = int(images.labels.bincount().max()) / count
    if bdtrc(right - 1, count, chance) > _LEVEL:
        return Status.INCONCLUSIVE, (
            mismatch("input contract", f"better than chance ({chance:.1%})", said)
            + "; shape, value range, mean and std, channel order or class order is wrong"
        )
    if images.num_classes >= _MANY_CLASSES and right / count < _LEAST_ACCURACY:
        return Status.INCONCLUSIVE, (
            mismatch("input contract", f"an accuracy of {_LEAST_ACCURACY:.0%} or more", said)
            + "; no usual mistake explains it"
        )
    return Status.CLEAR, said


def is_stated(contract: StatedContract, card: ModelCard) -> bool:
    """Tell whether the user stated what becomes of pixels, not only the model's own file."""
    return (
        contract.mean is not None
        and contract.std is not None
        and (contract.value_range is not None or card.value_range == (0.0, 1.0))
        and (contract.channel_order is not None or card.channel_order == "rgb")
    )
