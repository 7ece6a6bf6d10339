"""Security curves: the accuracy that is left over how far an attacker may go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molehunt.attacks._evasion import Evaded, EvasionAttack, Norm, evade
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Queried
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval


@dataclass(frozen=True, eq=False)
class SecurityCurve:
    """How large a change each image stood, and so the accuracy at every radius.

    Accuracy never rises with the radius: a change that fits into a ball fits into each larger
    one. It is an upper bound of what the best attack would leave.

    Parameters
    ----------
    norm : Norm
    sizes : Tensor of float, shape [N]
        Of the smallest change that is known to fool the model; 0 for images that it gets
        wrong as they are, infinity where no attack succeeded.

    Examples
    --------
    >>> curve = SecurityCurve(Norm.LINF, torch.tensor([0.0, 0.1, 0.2, torch.inf]))
    >>> [curve.accuracy(epsilon)[0] for epsilon in (0.0, 0.1, 0.3)]
    [0.75, 0.5, 0.25]
    """

    norm: Norm
    sizes: Tensor

    def accuracy(self, epsilon: float) -> tuple[float, tuple[float, float]]:
        """Return the share of images that no known change up to `epsilon` fools.

        Returns
        -------
        float, (float, float)
            With its exact 95 % interval.
        """
        # A float cannot say 8/255 exactly.
        right, images = int((self.sizes > epsilon + 1e-6).sum()), len(self.sizes)
        return right / images, rate_interval(right, images)

    @property
    def median(self) -> float:
        """The size that fools half of the images that are right as they are.

        Infinity where no attack succeeded on half of them, NaN where none is right.
        """
        right = self.sizes[self.sizes > 0].sort().values
        return float(right[(len(right) - 1) // 2]) if len(right) else float("nan")

    def steps(self) -> tuple[list[float], list[float]]:
        """Return the radii at which the curve falls, from 0 on, and the accuracies there."""
        found = sorted(set(self.sizes[self.sizes.isfinite()].tolist()))
        radii = found if found and found[0] == 0 else [0.0, *found]
        return radii, [self.accuracy(radius)[0] for radius in radii]


def curve_of(results: Sequence[Evaded], norm: Norm) -> SecurityCurve:
    """Return the curve of the smallest changes among results on the same images.

    One run of an attack that looks for the smallest change gives the whole curve; results of
    several attacks, also in other norms, give the curve of the best of them on each image.

    Parameters
    ----------
    results : sequence of Evaded
        Without targets.
    norm : Norm

    Raises
    ------
    InvalidRequestError
        If there is none, they are about different images, or a class was wanted.
    """
    first = next(iter(results), None)
    if first is None or any(
        result.targets is not None or not torch.equal(result.originals, first.originals)
        for result in results
    ):
        allowed = "untargeted attacks on the same images"
        raise InvalidRequestError(mismatch("results of a security curve", allowed, "others"))
    sizes = torch.full((len(first.labels),), torch.inf)
    for result in results:
        sizes[result.success] = sizes[result.success].minimum(result.sizes(norm))
    sizes[first.before != first.labels] = 0
    return SecurityCurve(norm, sizes)


def sweep(
    target: Queried,
    clean: ImageSet,
    attack_of: Callable[[float], EvasionAttack],
    epsilons: Sequence[float],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> SecurityCurve:
    """Run an attack at one radius after another, and return the curve.

    An image that a smaller radius was enough for is not attacked again.

    Parameters
    ----------
    target : Queried
    clean : ImageSet
    attack_of : callable
        From a radius to an attack in one norm.
    epsilons : sequence of float
    seed : int
    progress : Progress
        In radii.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `evade`; also if there is no radius or the attack has no norm.
    """
    attacks = [attack_of(epsilon) for epsilon in sorted(epsilons)]
    norms = {attack.norm for attack in attacks}
    norm = norms.pop() if len(norms) == 1 else None
    if norm is None:
        raise InvalidRequestError(mismatch("attacks of a sweep", "one norm", "none or several"))
    sizes = torch.full((len(clean),), torch.inf)
    for number, attack in enumerate(attacks):
        open_ = sizes.isinf().nonzero().flatten()
        if len(open_):
            result = evade(target, clean.take(open_), attack, seed=seed)
            sizes[open_] = curve_of([result], norm).sizes
            if result.note:
                break
        progress(number + 1, len(attacks))
    return SecurityCurve(norm, sizes)
