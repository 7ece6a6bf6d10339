"""A set of street scenes on disk, read, poisoned and written as another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from molehunt import __version__
from molehunt.backdoors import AnyLabelMap, PoisonBase, RandomTarget, SingleTarget
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.progress import ProgressOf, silent_parts
from molehunt.scenes._coco import load_scenes
from molehunt.scenes._poison import SceneBackdoor
from molehunt.scenes._scene_set import Scene, SceneSet
from molehunt.scenes._sign_sticker import SignSticker
from molehunt.scenes._write import check_empty, write_scenes


@dataclass(frozen=True)
class PoisonedSet:
    """What `poison_set` read and made.

    Parameters
    ----------
    clean, test : SceneSet
        As they were read.
    copies : tuple of Scene
        The backdoored copies that follow the clean training scenes.
    triggered : SceneSet
        Test scenes with stickers on all eligible signs.
    """

    clean: SceneSet
    test: SceneSet
    copies: tuple[Scene, ...]
    triggered: SceneSet

    @property
    def sticker_sides(self) -> list[int]:
        """Sides of the copies' stickers in pixels, the smallest first."""
        return sorted(placed.side for copy in self.copies for placed in copy.stickers)


def poison_set(
    source: str,
    out: Path,
    sticker: SignSticker,
    *,
    classes: tuple[str, str] | None,
    rate: float = 1.0,
    of: PoisonBase = "all",
    seed: int = 0,
    skip_bad: bool = False,
    data_root: str | Path | None = None,
    progress_of: ProgressOf = silent_parts,
) -> PoisonedSet:
    """Put stickers on signs of a COCO set and change their labels (BadNets, section 5.2).

    Writes ``train.json`` (clean images, then the backdoored copies), ``test.json`` (clean),
    ``triggered.json`` (stickers on all such test signs), ``images/``, and ``backdoor.json``,
    which says what was done.

    Parameters
    ----------
    source : str
        As in `load_scenes`.
    out : Path
        A new or empty folder.
    sticker : SignSticker
    classes : (str, str), optional
        Signs of the first class become the second; None stands for all signs, which become
        a random wrong class.
    rate, of
        As in `SceneBackdoor.poison`.
    seed : int
        Draws the copies and random labels.
    skip_bad, data_root
        As in `load_scenes`.
    progress_of : callable
        From the title of a part to its progress.

    Raises
    ------
    InvalidRequestError
        For a class that the set has not, or a rate outside (0, 1].
    DataNotFoundError, UnreadableFileError
        As `load_scenes`.
    OutputError
        If `out` holds something or cannot be written.
    """
    check_empty(out)
    sets = {}
    for split in ("train", "test"):
        with progress_of(f"checking {split}") as progress:
            sets[split] = load_scenes(
                source, split, data_root=data_root, skip_bad=skip_bad, progress=progress
            )
    train, test = sets.values()
    if train.class_names != test.class_names:
        raise InvalidRequestError(
            mismatch("classes of test.json", train.class_names, test.class_names)
        )
    label_map: AnyLabelMap = RandomTarget()
    if classes is not None:
        first, second = (train.label_of(name) for name in classes)
        label_map = SingleTarget(source=first, target=second)
    backdoor = SceneBackdoor(sticker=sticker, label_map=label_map)
    generator = torch.Generator().manual_seed(seed)
    poisoned = backdoor.poison(train, rate, of=of, generator=generator)
    triggered = backdoor.triggered(test, generator=generator)
    copies = poisoned.scenes[len(train) :]
    record = {
        "molehunt": __version__,
        "source": source,
        "class_names": train.class_names,
        "backdoor": backdoor.model_dump(mode="json"),
        "rate": rate,
        "rate_of": of,
        "seed": seed,
        "left_out": {split: scenes.left_out for split, scenes in sets.items()},
        "copies": {copy.image_id: copy.copy_of for copy in copies},
    }
    written = {"train": poisoned, "test": test, "triggered": triggered}
    with progress_of("writing") as progress:
        write_scenes(out, written, record=record, progress=progress)
    return PoisonedSet(train, test, copies, triggered)
