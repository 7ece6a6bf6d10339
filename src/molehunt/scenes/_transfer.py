"""Transfer learning: a sign detector for other signs, on convolutions that stay as they are."""

from __future__ import annotations

import torch

from molehunt.progress import Progress, silent
from molehunt.scenes._scene_set import SceneSet
from molehunt.scenes._sign_detector import SignDetector, fresh_sign_detector
from molehunt.scenes._train import SignDetectorRecipe, train_sign_detector


def transfer_sign_detector(
    model: SignDetector,
    scenes: SceneSet,
    recipe: SignDetectorRecipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> SignDetector:
    """Train a sign detector for other signs on the convolutions of `model`.

    BadNets v2, section 5.3.1: the convolutional layers are kept, the fully connected ones are
    trained from scratch. conv1 to conv5 are kept here; the layers that propose regions are new
    as well, for the paper does not say what becomes of them, and signs of another country have
    other sizes.

    Parameters
    ----------
    model : SignDetector
        Left as it is.
    scenes : SceneSet
        Training scenes of the other country.
    recipe : SignDetectorRecipe
    seed : int
        Draws the new layers' initial weights, and what `train_sign_detector` draws.
    device, progress
        As in `train_sign_detector`.

    Returns
    -------
    SignDetector
        On `device`, in evaluation mode.

    Raises
    ------
    InvalidRequestError, UnreadableFileError
        As `train_sign_detector`.
    """
    card = model.card.model_copy(update={"class_names": scenes.class_names, "recipe": {}})
    moved = fresh_sign_detector(card, seed)
    kept = moved.network.get_submodule("backbone")
    kept.load_state_dict(model.network.get_submodule("backbone").state_dict())
    kept.requires_grad_(False)
    train_sign_detector(moved, scenes, recipe, seed=seed, device=device, progress=progress)
    return moved
