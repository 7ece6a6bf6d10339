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

ANGLES = tuple(angle for angle in range(-60, 61, 10) if angle)
PICTURES = "limits.safetensors"
PATCH = 0.3  # side over that of the image: 8 of 28 pixels


class LimitsTask(Task):
    """A network and the radius that its certificates are for."""

    epsilon: float


class LimitsRecord(LimitsTask):
    """Of certified images, how many other changes turn; of noise, how much is certified.

    The first of each is in `PICTURES`: the certified image, rotated, under a patch, and
    noise with a certified class.
    """

    certified: Count
    rotated: Count
    patched: Count
    noise: Count
    shown: dict[str, str]


def limits_tasks(bench: CertifiedBench, _records: Records) -> list[LimitsTask]:
    """Return the network that was trained by CROWN-IBP for the largest radius."""
    return [
        LimitsTask(id=name_of("crown-ibp", largest), epsilon=largest)
        for largest in [max(bench.plan.epsilons)]
    ]


def find_limits(task: LimitsTask, bench: CertifiedBench) -> LimitsRecord:
    """Turn certified images by a rotation and by a patch; certify noise."""
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
    noise = _noise_like(images, bench.plan.seed)
    # What the network takes noise for is its label here: the certificate says that it stays.
    answers = ImageSet(noise, logits_of(model, noise).argmax(1), images.class_names)
    kept = certify_box(model, answers, epsilon=task.epsilon, method=BoundMethod.CROWN_IBP).certified
    names, shown, pictures = images.class_names, {}, {}
    for name, (found, hits) in turned.items():
        for place in hits.nonzero()[:1, 0].tolist():
            answer = int(logits_of(model, found[place][None]).argmax())
            own = names[int(certified.labels[place])]
            pictures[f"{name}-before"] = certified.images[place].contiguous()
            pictures[name] = found[place].contiguous()
            shown[name] = f"{own} to {names[answer]}"
    for place in kept.nonzero()[:1, 0].tolist():
        pictures["noise"] = noise[place]
        shown["noise"] = names[int(answers.labels[place])]
    save_file(pictures, bench.folder / PICTURES)
    return LimitsRecord(
        **dict(task),
        certified=(int(holds.sum()), len(holds)),
        rotated=(int(turned["rotated"][1].sum()), len(certified)),
        patched=(int(turned["patched"][1].sum()), len(certified)),
        noise=(int(kept.sum()), len(kept)),
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


def _noise_like(images: ImageSet, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, images.images.shape, generator=generator, dtype=torch.uint8)
