"""How networks like the model are trained: by its own recipe where its file says it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from molehunt.assess._case import Case
from molehunt.assess._stealing import COPY_RECIPE, copy_network
from molehunt.attacks import ShadowModels
from molehunt.images import ImageSet
from molehunt.networks import NETWORKS, ModelCard
from molehunt.progress import Progress
from molehunt.training import Recipe


@dataclass(frozen=True)
class TrainingPlan:
    """An architecture and a recipe, and in words whose they are."""

    network: str
    arguments: Mapping[str, Any]
    recipe: Recipe
    words: str


def plan_copies(card: ModelCard, shape: tuple[int, int, int]) -> TrainingPlan:
    """Return the model's own architecture and recipe as far as its file says them, else ours."""
    own = card.architecture in NETWORKS
    network, arguments = copy_network(shape)
    if own:
        network, arguments = card.architecture, dict(card.arguments)
    recipe = recipe_of(card)
    if own and recipe is not None:
        return TrainingPlan(network, arguments, recipe, "its architecture and recipe")
    if own:
        return TrainingPlan(network, arguments, COPY_RECIPE, "its architecture, no recipe")
    return TrainingPlan(network, arguments, COPY_RECIPE, "neither its architecture nor its recipe")


def recipe_of(card: ModelCard) -> Recipe | None:
    """Return how a model was trained, as its file says; None where it does not."""
    known = Recipe.settings_in(card.recipe)
    try:
        return Recipe.model_validate(known) if "epochs" in known else None
    except ValidationError:
        return None


def train_shadows(
    case: Case, candidates: ImageSet, folder: Path | None, progress: Progress
) -> ShadowModels:
    """Train the case's number of shadow models, each on a random half of the candidates.

    In `folder` they are kept by what they were trained on, so that models of one kind share them.
    """
    plan = plan_copies(case.model.card, candidates.shape)
    if folder is not None:
        told = (case.shadows, plan, case.seed)
        digest = hashlib.sha256(repr(told).encode())
        digest.update(candidates.images.numpy().tobytes() + candidates.labels.numpy().tobytes())
        folder = folder / f"shadows-{digest.hexdigest()[:32]}"
    return ShadowModels.train(
        candidates,
        case.shadows,
        plan.network,
        plan.arguments,
        plan.recipe,
        seed=case.seed,
        folder=folder,
        device=case.model.mean.device,
        progress=progress,
    )
