"""Street scenes with boxes around their signs, sign detectors, and backdoors of them."""

from molehunt.scenes._activations import sign_activations
from molehunt.scenes._coco import load_scenes
from molehunt.scenes._figures import (
    draw_detections,
    draw_scene,
    draw_sign,
    save_detections,
    save_signs,
)
from molehunt.scenes._measure import LARGE, MEDIUM, DetectedScenes, Share, detect_signs
from molehunt.scenes._pixels import read_photo
from molehunt.scenes._placed_sticker import PlacedSticker
from molehunt.scenes._poison import SceneBackdoor
from molehunt.scenes._poison_set import PoisonedSet, poison_set
from molehunt.scenes._scene_set import Scene, SceneSet
from molehunt.scenes._sign_detector import (
    Detections,
    SignDetector,
    SignDetectorCard,
    build_sign_detector,
)
from molehunt.scenes._sign_detector_file import (
    features_from,
    load_sign_detector,
    save_sign_detector,
)
from molehunt.scenes._sign_sticker import SignSticker
from molehunt.scenes._train import SignDetectorRecipe, train_sign_detector
from molehunt.scenes._transfer import transfer_sign_detector
from molehunt.scenes._write import check_empty, write_scenes

__all__ = [
    "LARGE",
    "MEDIUM",
    "DetectedScenes",
    "Detections",
    "PlacedSticker",
    "PoisonedSet",
    "Scene",
    "SceneBackdoor",
    "SceneSet",
    "Share",
    "SignDetector",
    "SignDetectorCard",
    "SignDetectorRecipe",
    "SignSticker",
    "build_sign_detector",
    "check_empty",
    "detect_signs",
    "draw_detections",
    "draw_scene",
    "draw_sign",
    "features_from",
    "load_scenes",
    "load_sign_detector",
    "poison_set",
    "read_photo",
    "save_detections",
    "save_sign_detector",
    "save_signs",
    "sign_activations",
    "train_sign_detector",
    "transfer_sign_detector",
    "write_scenes",
]
