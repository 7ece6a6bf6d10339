"""The input-aware backdoor: a network draws a trigger for each image (Nguyen and Tran)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.attacks._target_class import check_target
from molehunt.backdoors import AllToOne, TriggeredImages
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.training import Batch, Recipe, train

_BATCH = 64
_TINY = 1e-4


class InputAware:
    """An objective that learns a trigger for each image, together with the model.

    One network draws a mask of few pixels, another a pattern. A share of each batch gets its own
    trigger and the target's label; another share the trigger of another image and keeps its
    label, so that no trigger works on an image that it was not drawn for. Triggers of two
    images that are alike are punished.

    Parameters
    ----------
    shape : (channels, height, width)
        Height and width in whole fours.
    target : int
    share : float
        Of a batch, for own triggers and again for crossed ones.
    density : float
        Share of pixels that a mask covers at most without punishment.
    lr : float
        Of the drawing networks' Adam.
    seed : int
        Of their weights.

    Raises
    ------
    InvalidRequestError
        If a setting is out of its range.

    Notes
    -----
    Deviations: networks of 16 and 32 channels in place of 32 to 128, with group normalisation,
    for a batch's own triggers are few; the recipe's passes in place of 600; the mask's network
    learns for `mask_steps` in place of 25 passes.

    References
    ----------
    Nguyen and Tran: Input-Aware Dynamic Backdoor Attack, NeurIPS 2020 (sections 3.2 to 3.4).

    Examples
    --------
    >>> import torch
    >>> from molehunt.attacks import InputAware
    >>> attack = InputAware((1, 12, 12), target=7)
    >>> attack.put(torch.rand(5, 1, 12, 12), torch.rand(5, 1, 12, 12)).shape
    torch.Size([5, 1, 12, 12])
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        target: int,
        *,
        share: float = 0.1,
        density: float = 0.032,
        lr: float = 0.01,
        seed: int = 0,
    ) -> None:
        if shape[1] % 4 or shape[2] % 4:
            raise InvalidRequestError(mismatch("height and width", "whole fours", shape[1:]))
        if not 0 < share <= 0.3:
            raise InvalidRequestError(mismatch("share", "a number in (0, 0.3]", share))
        self.target, self.share, self.density = target, share, density
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mask, self.pattern = _drawer(shape[0], 1), _drawer(shape[0], shape[0])
        self._optimizer = torch.optim.Adam(self.pattern.parameters(), lr=lr, betas=(0.5, 0.9))
        self._lr = lr

    def to(self, device: torch.device | str) -> InputAware:
        """Move the drawing networks, and return the objective."""
        self.mask.to(device)
        self.pattern.to(device)
        return self

    def learn_masks(self, images: ImageSet, steps: int, seed: int) -> None:
        """Teach the mask's network to cover few pixels, others on each image; then it stays."""
        optimizer = torch.optim.Adam(self.mask.parameters(), lr=self._lr, betas=(0.5, 0.9))
        generator = torch.Generator().manual_seed(seed)
        device = next(self.mask.parameters()).device
        for _ in range(steps):
            chosen = torch.randint(len(images), (2 * _BATCH,), generator=generator)
            one, two = images.take(chosen).pixels().to(device).chunk(2)
            first, second = self._mask(one), self._mask(two)
            over = functional.relu(first.mean((1, 2, 3)) - self.density).mean()
            loss = 100 * over + _alikeness(one, two, first, second)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.mask.eval().requires_grad_(False)

    def put(self, images: Tensor, owners: Tensor) -> Tensor:
        """Return `images` with the triggers that are drawn for `owners`, both [N, C, H, W]."""
        return torch.lerp(images, self._pattern(owners), self._mask(owners))

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the loss of a batch in which some images get triggers."""
        self._step()
        pixels, labels = batch.pixels.float(), batch.labels.clone()
        count = max(1, int(self.share * len(pixels)))
        # Batches are drawn at random: their first images are any.
        own, crossed, others = (pixels[at * count : (at + 1) * count] for at in range(3))
        with torch.autocast(pixels.device.type, enabled=False):
            owners = torch.cat([own, others])
            patterns, masks = self._pattern(owners), self._mask(owners)
            alike = _alikeness(own, others, patterns[:count], patterns[count:])
            put = torch.lerp(torch.cat([own, crossed]), patterns, masks)
            given = torch.cat([put, pixels[2 * count :]])
        labels[:count] = self.target
        logits = model(given)
        return functional.cross_entropy(logits.float(), labels) + alike.to(logits.device)

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return the images of other classes, each with its own trigger."""
        return self._attacked(test, crossed=False, generator=generator)

    def crossed(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return the images of other classes, each with another image's trigger."""
        return self._attacked(test, crossed=True, generator=generator)

    @torch.no_grad()
    def _attacked(
        self, test: ImageSet, *, crossed: bool, generator: torch.Generator
    ) -> TriggeredImages:
        label_map = AllToOne(target=self.target)
        label_map.check(test.num_classes)
        chosen = test.take(label_map.eligible(test.labels))
        if not len(chosen):
            raise InvalidRequestError(
                mismatch("test images", "some of an eligible class", f"none of {len(test)}")
            )
        self.pattern.eval()
        device = next(self.mask.parameters()).device
        pixels = chosen.pixels()
        owners = pixels[torch.randperm(len(pixels), generator=generator)] if crossed else pixels
        parts = [
            self.put(some.to(device), own.to(device)).mul(255).round().to(torch.uint8).cpu()
            for some, own in zip(pixels.split(500), owners.split(500), strict=True)  # type: ignore[no-untyped-call]
        ]
        labels = torch.full_like(chosen.labels, self.target)
        attacked = ImageSet(torch.cat(parts), labels, test.class_names)
        return TriggeredImages(attacked, chosen.labels)

    def _step(self) -> None:
        # The gradients of the step before: `train` makes them after this was called.
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _mask(self, images: Tensor) -> Tensor:
        drawn: Tensor = self.mask(images)
        return (10 * drawn).tanh() / 2 + 0.5

    def _pattern(self, images: Tensor) -> Tensor:
        drawn: Tensor = self.pattern(images)
        return drawn.tanh() / 2 + 0.5


def teach_input_aware(
    model: Classifier,
    images: ImageSet,
    target: int,
    recipe: Recipe,
    *,
    share: float = 0.1,
    mask_steps: int = 300,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> InputAware:
    """Train `model`, in place, with triggers of each image's own.

    Parameters
    ----------
    model : Classifier
        Not yet trained.
    images : ImageSet
    target : int
    recipe : Recipe
    share : float
        As in `InputAware`.
    mask_steps : int
        In which the mask's network learns before.
    seed : int
    device : torch.device
    progress : callable
        In steps.

    Raises
    ------
    InvalidRequestError
        If the target is no class, or the images do not fit.
    """
    check_target(target, images.num_classes)
    attack = InputAware(images.shape, target, share=share, seed=seed).to(device)
    attack.learn_masks(images, mask_steps, seed)
    train(model, images, recipe, seed=seed, objective=attack, device=device, progress=progress)
    return attack


def _drawer(channels: int, out: int) -> nn.Sequential:
    """Return a small network from images to maps of their size."""

    def block(ins: int, outs: int) -> list[nn.Module]:
        return [nn.Conv2d(ins, outs, 3, padding=1), nn.GroupNorm(4, outs), nn.ReLU()]

    return nn.Sequential(
        *block(channels, 16),
        nn.MaxPool2d(2),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 32),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        *block(32, 16),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(16, out, 3, padding=1),
    )


def _alikeness(one: Tensor, two: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return how alike what was drawn is for how alike the images are (section 3.3)."""
    images = (one - two).square().mean((1, 2, 3)).sqrt()
    drawn = (first - second).square().mean((1, 2, 3)).clamp(min=_TINY**2).sqrt()
    return (images / (drawn + _TINY)).mean()
