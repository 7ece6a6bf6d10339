"""What a certificate does not cover: an example of each on a network with the best ones."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, rotate

from molehunt.defences import BoundMethod, certify_box
from molehunt.images import ImageSet
from molehunt.networks import Classifier, logits_of
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt_studies.certified.measuring import Count
from molehunt_studies.certified.networks import CertifiedBench, name_of

# The smallest first, so that an example shows what suffices.
ANGLES = tuple(sorted((angle for angle in range(-30, 31, 5) if angle), key=abs))
PICTURES = "limits.safetensors"
PATCH = 0.2  # side over that of the image: 6 of 28 pixels


class LimitsTask(Task):
    """A network and the radius that its certificates are for."""

    epsilon: float


class LimitsRecord(LimitsTask):
    """Of certified images, how many other changes turn; of negatives, how many are certified.

    `negatives` have a certified class, `misled` a certified class that is not the image's. The
    first of each is in `PICTURES`.
    """

    certified: Count
    rotated: Count
    patched: Count
    negatives: Count
    misled: Count
    shown: dict[str, str]


def limits_tasks(bench: CertifiedBench, _records: Records) -> list[LimitsTask]:
    """Return the network that was trained by CROWN-IBP for the smallest radius."""
    epsilon = min(bench.plan.epsilons)
    return [LimitsTask(id=name_of("crown-ibp", epsilon), epsilon=epsilon)]


def find_limits(task: LimitsTask, bench: CertifiedBench) -> LimitsRecord:
    """Turn certified images by a rotation and by a patch; certify negatives."""
    model = bench.network(task.id)
    images = bench.first(bench.plan.source, bench.plan.images)
    holds = certify_box(model, images, epsilon=task.epsilon, method=BoundMethod.CROWN_IBP).certified
    certified = images.take(holds)
    rotations = torch.stack([_rotate(certified.images, angle) for angle in ANGLES])
    patches = torch.stack([*_patches(certified.images)])
    turned = {
        "rotated": _first_turned(model, certified, rotations),
        "patched": _first_turned(model, certified, patches),
    }
    negatives = 255 - images.images
    # What the network takes one for is its label here: the certificate says that it stays.
    answers = ImageSet(negatives, logits_of(model, negatives).argmax(1), images.class_names)
    kept = certify_box(model, answers, epsilon=task.epsilon, method=BoundMethod.CROWN_IBP).certified
    misled = kept & (answers.labels != images.labels)
    names, shown, pictures = images.class_names, {}, {}
    for name, (found, hits) in turned.items():
        for place in hits.nonzero()[:1, 0].tolist():
            answer = int(logits_of(model, found[place][None]).argmax())
            own = names[int(certified.labels[place])]
            pictures[f"{name}-before"] = certified.images[place].clone()
            pictures[name] = found[place].clone()
            shown[name] = f"{own} to {names[answer]}"
    for place in misled.nonzero()[:1, 0].tolist():
        pictures["negative"] = negatives[place].clone()
        shown["negative"] = names[int(answers.labels[place])]
    save_file(pictures, bench.folder / PICTURES)
    return LimitsRecord(
        **dict(task),
        certified=(int(holds.sum()), len(holds)),
        rotated=(int(turned["rotated"][1].sum()), len(certified)),
        patched=(int(turned["patched"][1].sum()), len(certified)),
        negatives=(int(kept.sum()), len(kept)),
        misled=(int(misled.sum()), len(misled)),
        shown=shown,
    )


def _rotate(images: Tensor, angle: int) -> Tensor:
    turned: Tensor = rotate(images, angle, interpolation=InterpolationMode.BILINEAR)
    return turned


def _patches(images: Tensor) -> list[Tensor]:
    """Return images under a white square at each of 3x3 places."""
    side = images.shape[2]
    patch = max(1, round(PATCH * side))
    found = []
    for row in (0, (side - patch) // 2, side - patch):
        for column in (0, (side - patch) // 2, side - patch):
            covered = images.clone()
            covered[:, :, row : row + patch, column : column + patch] = 255
            found.append(covered)
    return found


def _first_turned(model: Classifier, images: ImageSet, changed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first change of each image that turns it, and whether there is one."""
    answers = torch.stack([logits_of(model, each).argmax(1) for each in changed])
    wrong = answers != images.labels
    first = wrong.float().argmax(0)
    return changed[first, torch.arange(len(images))], wrong.any(0)
