"""Molehunt tells you what a model you did not train could do to you.

The names below are what most programs need; each is imported when it is first used. The rest
is in the packages: `molehunt.detectors`, `molehunt.backdoors`, and so on.

Examples
--------
>>> import molehunt
>>> digits = molehunt.load_images("digits", size=12)
>>> vgg = {"width": 4, "stages": [1, 1]}
>>> model = molehunt.build_classifier("vgg", digits.train, arguments=vgg, seed=0)
>>> run = molehunt.train(model, digits.train, molehunt.Recipe(epochs=1), seed=0)
>>> molehunt.save_model(model, "model.safetensors")
>>> (result,) = molehunt.scan("model.safetensors", detectors="final-layer")
>>> print(result.verdict)  # it finds too few backdoors to call a model clean
inconclusive
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molehunt.backdoors import Backdoor, RandomPatch, SingleTarget
    from molehunt.defences import fine_prune
    from molehunt.detectors import (
        LitmusPatterns,
        MaximumMargin,
        TwinComparison,
        evaluate,
        fit_on_zoo,
        load_detector,
        save_detector,
    )
    from molehunt.errors import ExitCode, MolehuntError
    from molehunt.images import load_images
    from molehunt.networks import build_classifier, load_model, save_model
    from molehunt.provenance import inspect_serialization
    from molehunt.scanning import exit_code_of, scan
    from molehunt.subjects import Endpoint
    from molehunt.training import Recipe, train
    from molehunt.zoo import Zoo, build_zoo, read_plan

__version__ = "0.1.0"
__all__ = [
    "Backdoor",
    "Endpoint",
    "ExitCode",
    "LitmusPatterns",
    "MaximumMargin",
    "MolehuntError",
    "RandomPatch",
    "Recipe",
    "SingleTarget",
    "TwinComparison",
    "Zoo",
    "build_classifier",
    "build_zoo",
    "evaluate",
    "exit_code_of",
    "fine_prune",
    "fit_on_zoo",
    "inspect_serialization",
    "load_detector",
    "load_images",
    "load_model",
    "read_plan",
    "save_detector",
    "save_model",
    "scan",
    "train",
]

_PACKAGES = {
    "backdoors": ("Backdoor", "RandomPatch", "SingleTarget"),
    "defences": ("fine_prune",),
    "detectors": (
        *("LitmusPatterns", "MaximumMargin", "TwinComparison"),
        *("evaluate", "fit_on_zoo", "load_detector", "save_detector"),
    ),
    "errors": ("ExitCode", "MolehuntError"),
    "images": ("load_images",),
    "networks": ("build_classifier", "load_model", "save_model"),
    "provenance": ("inspect_serialization",),
    "scanning": ("exit_code_of", "scan"),
    "subjects": ("Endpoint",),
    "training": ("Recipe", "train"),
    "zoo": ("Zoo", "build_zoo", "read_plan"),
}
_HOMES = {name: f"molehunt.{package}" for package, names in _PACKAGES.items() for name in names}

# Threads of OpenMP that spin while they wait slow each other down on a busy machine; a short
# spin costs an idle one little. libgomp reads it when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    """Import a public name, or a package, when it is first used (PEP 562)."""
    if name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _PACKAGES:
        found = importlib.import_module(f"molehunt.{name}")
    else:
        raise AttributeError(f"module 'molehunt' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_PACKAGES})
