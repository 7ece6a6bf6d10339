"""Transfer learning: new fully connected layers on convolutions that stay as they are."""

from __future__ import annotations

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, build_network, has_batch_norm
from molehunt.training._fit import train
from molehunt.training._recipe import Recipe


def transfer(model: Classifier, images: ImageSet, recipe: Recipe, *, seed: int) -> Classifier:
    """Train a network for other classes on the convolutional layers of `model`.

    All fully connected layers are new and trained from scratch, as in BadNets (v2, section
    5.3.1); the images are normalised as those of `model` were.

    Parameters
    ----------
    model : Classifier
        Left as it is. Its network has its convolutional layers in ``features``, without
        batch normalisation, whose statistics would go on changing.
    images : ImageSet
        Training images of the new classes.
    recipe : Recipe
        Of the fully connected layers.
    seed : int
        Draws their initial weights, and what `train` draws.

    Returns
    -------
    Classifier
        In evaluation mode, without gradients of its weights.

    Raises
    ------
    InvalidRequestError
        If the network has no such layers, or the images do not fit it.
    """
    learned = dict(model.network.named_children()).get("features")
    if learned is None:
        allowed = "one with its convolutional layers in features"
        raise InvalidRequestError(mismatch("network", allowed, model.card.architecture))
    if has_batch_norm(learned):
        raise InvalidRequestError(
            mismatch("layers to transfer", "none of batch normalisation", "some")
        )
    card = model.card.model_copy(
        update={"class_names": images.class_names, "recipe": recipe.model_dump()}
    )
    network = build_network(
        card.architecture,
        input_shape=card.input_shape,
        num_classes=card.num_classes,
        arguments=card.arguments,
        seed=seed,
    )
    features = network.get_submodule("features")
    features.load_state_dict(learned.state_dict())
    features.requires_grad_(False)
    retrained = Classifier(network, card)
    train(retrained, images, recipe, seed=seed)
    return retrained.freeze()
