"""Street scenes with boxes around their signs, and backdoors of sign detectors."""

from molehunt.scenes._coco import load_scenes
from molehunt.scenes._figures import draw_scene, save_signs
from molehunt.scenes._placed_sticker import PlacedSticker
from molehunt.scenes._poison import SceneBackdoor
from molehunt.scenes._scene_set import Scene, SceneSet
from molehunt.scenes._sign_sticker import SignSticker
from molehunt.scenes._write import check_empty, write_scenes

__all__ = [
    "PlacedSticker",
    "Scene",
    "SceneBackdoor",
    "SceneSet",
    "SignSticker",
    "check_empty",
    "draw_scene",
    "load_scenes",
    "save_signs",
    "write_scenes",
]
