from __future__ import annotations

import pytest
import torch
from scipy.stats import binom, norm
from torch import nn

from molehunt.defences import NoiseObjective, Smoothed
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import BlackBox, Classifier, ModelCard, build_classifier
from molehunt.training import Recipe, train

SIDE, SIGMA = 4, 0.5
CARD = ModelCard(
    architecture="linear",
    input_shape=(1, SIDE, SIDE),
    mean=(0.5,),
    std=(0.25,),
    class_names=("below", "above"),
)


def linear() -> tuple[Classifier, torch.Tensor]:
    """A linear classifier, and its normal vector over pixels in [0, 1]."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network[1].weight.copy_(torch.randn(2, SIDE**2, generator=generator))
        network[1].bias.zero_()
        normal = (network[1].weight[1] - network[1].weight[0]) / 0.25
    return Classifier(network, CARD), normal


def images_of(count: int) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 1, SIDE, SIDE), generator=generator)
    return ImageSet(pixels.to(torch.uint8), torch.zeros(count, dtype=torch.int64), CARD.class_names)


def true_radii(model: Classifier, normal: torch.Tensor, images: ImageSet) -> torch.Tensor:
    """Noise does not move a linear border: the distance from it is the smoothed radius."""
    logits = model(images.pixels()).detach().double()
    return (logits[:, 1] - logits[:, 0]).abs() / normal.double().norm()


def test_a_certificate_is_as_sure_as_it_says() -> None:
    """At alpha = 0.2 no more than a fifth of radii are above the true ones; nearly a fifth are."""
    model, normal = linear()
    images = images_of(400)
    alpha = 0.2
    found = Smoothed(model, SIGMA, alpha=alpha).certify(images, n0=50, n=200, seed=0)
    true = true_radii(model, normal, images)
    # A radius can be too large only where a share below one was seen, and the class is right.
    wrong = (found.radii > true) | (
        (found.predictions >= 0) & (found.predictions != model(images.pixels()).argmax(1))
    )
    assert int(wrong.sum()) <= binom.ppf(0.999, len(images), alpha)
    near = (true < 1.5 * SIGMA) & (true > 0.5 * SIGMA)
    assert float(wrong[near].float().mean()) > 0.08  # it is exact, not only cautious


def test_radii_come_close_to_the_true_ones_and_grow_with_more_samples() -> None:
    model, normal = linear()
    far = ((normal > 0) * 255).to(torch.uint8).view(1, 1, SIDE, SIDE)
    images = images_of(5)
    images = images.joined(ImageSet(far, torch.tensor([1]), CARD.class_names))
    true = true_radii(model, normal, images).clamp_max(1.2)
    assert float(true[5]) == pytest.approx(1.2)
    smoothed = Smoothed(model, SIGMA)
    few, many = (smoothed.certify(images, n=n, seed=0).radii for n in (100, 5000))
    assert (many <= true_radii(model, normal, images)).all()
    assert ((true - many) < 0.1).all()
    assert float(many.mean()) > float(few.mean())
    # If all copies agree: sigma * quantile of alpha^(1/n).
    assert float(few.max()) == pytest.approx(SIGMA * norm.ppf(0.001 ** (1 / 100)), abs=1e-9)


def test_it_abstains_on_the_border_and_predicts_away_from_it() -> None:
    model, normal = linear()
    images = images_of(60)
    smoothed = Smoothed(model, SIGMA, alpha=0.01)
    predicted = smoothed.predict(images, n=200, seed=0)
    own = model(images.pixels()).argmax(1)
    assert ((predicted == own) | (predicted < 0)).all()
    assert (predicted[true_radii(model, normal, images) > 0.5] >= 0).all()
    with torch.no_grad():
        model.network[1].weight.zero_()
    model.network[1].bias = nn.Parameter(torch.tensor([0.0, -1.0]))
    assert (smoothed.predict(images.take(torch.arange(2)), n=100) == 0).all()

    class Coin(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            side = pixels.flatten(1).sum(1) - centre
            return torch.stack([side, -side], 1)

    centre = float(((images.pixels()[:1] - 0.5) / 0.25).sum())
    coin = Smoothed(Classifier(Coin(), CARD), SIGMA)
    border = images.take(torch.arange(1))
    assert coin.predict(border, n=500).tolist() == [-1]
    found = coin.certify(border, n=500)
    assert found.abstained.tolist() == [True] and found.radii.tolist() == [0.0]


def test_a_black_box_is_smoothed_and_the_same_seed_gives_the_same() -> None:
    model, _ = linear()
    asked: list[int] = []

    def answer(images):
        asked.append(len(images))
        with torch.no_grad():
            return model.network(torch.from_numpy(images)).numpy()

    images = images_of(3)
    box = Smoothed(BlackBox(answer, CARD), SIGMA)
    found = [
        each.certify(images, n0=10, n=90, seed=4) for each in (box, box, Smoothed(model, SIGMA))
    ]
    assert found[0].radii.tolist() == found[1].radii.tolist() == found[2].radii.tolist()
    assert sum(asked) == 2 * 3 * 100  # what a certificate costs


def test_noise_in_training_lets_smoothing_certify_more(digits: TrainTest) -> None:
    few, right = digits.test.take(torch.arange(30)), []
    for objective in (None, NoiseObjective(SIGMA)):
        model = build_classifier("strided", digits.train, arguments={"width": 4}, seed=0)
        train(model, digits.train, Recipe(epochs=6, batch_size=64), seed=0, objective=objective)
        state = torch.get_rng_state()
        found = Smoothed(model, SIGMA).certify(few, n0=20, n=200)
        assert torch.equal(state, torch.get_rng_state())
        right.append(int(found.certified(0.25).sum()))
    assert right[1] > right[0] + 5, right


def test_impossible_requests_are_refused() -> None:
    model, _ = linear()
    for sigma in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidRequestError, match="`sigma`: expected a number above 0"):
            Smoothed(model, sigma)
        with pytest.raises(InvalidRequestError, match="`sigma`"):
            NoiseObjective(sigma)
    with pytest.raises(InvalidRequestError, match="`alpha`"):
        Smoothed(model, SIGMA, alpha=1.0)
    with pytest.raises(InvalidRequestError, match="noisy copies of an image: expected 1 or more"):
        Smoothed(model, SIGMA).certify(images_of(1), n=0)
    with pytest.raises(InvalidRequestError, match="of shape"):
        Smoothed(model, SIGMA).predict(images_of(1).resized(8))
    with torch.no_grad():
        model.network[1].bias[0] = torch.nan
    with pytest.raises(UnsuitableSubjectError, match="answers to noisy images: expected finite"):
        Smoothed(model, SIGMA).certify(images_of(1), n=10)
