"""Several attacks on one model, each with what is to be said of an attack that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from molehunt.attacks._evasion import Evaded, EvasionAttack, Norm, check_attack, evade
from molehunt.attacks._projected_gradient import ProjectedGradient
from molehunt.attacks._warning_signs import Robustness, WarningSigns, find_warning_signs
from molehunt.errors import UnsuitableSubjectError
from molehunt.images import ImageSet
from molehunt.networks import Classifier, Queried, Reveals
from molehunt.progress import Progress, silent

_USUAL_NUMBERS = 100 * 3 * 64 * 64  # of a batch


@dataclass(frozen=True)
class Measured:
    """What one attack did to a model.

    Parameters
    ----------
    attack : EvasionAttack
    reveals : Reveals
        What the attack used of what the attacker saw.
    evaded : Evaded, optional
        None where the attack could not run.
    signs : WarningSigns, optional
        The controls; None where there were none.
    remark : str
        What the reader should know, in plain sentences; may be empty.
    """

    attack: EvasionAttack
    reveals: Reveals
    evaded: Evaded | None
    signs: WarningSigns | None
    remark: str

    @property
    def robustness(self) -> Robustness:
        """The word for what is left; without controls an attack that fails says nothing."""
        if self.signs is not None:
            return self.signs.robustness
        if self.evaded is None or not _is_broken(self.evaded):
            return Robustness.INCONCLUSIVE
        return Robustness.BROKEN


def measure_evasion(
    model: Classifier,
    clean: ImageSet,
    attacks: Sequence[EvasionAttack],
    *,
    reveals: Reveals,
    targets: Tensor | None = None,
    budget: int | None = None,
    controls: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Iterator[Measured]:
    """Attack a model one way after another; what was measured is there if a later one fails.

    Parameters
    ----------
    model : Classifier
    clean : ImageSet
    attacks : sequence of EvasionAttack
    reveals : Reveals
        An attack sees no more of it than it uses: one on labels sees labels.
    targets : Tensor of int64, shape [N], optional
        What each image shall be taken for.
    budget : int, optional
        Queries of each attack.
    controls : bool
        Look for signs of hidden gradients (`find_warning_signs`) where an untargeted attack
        with gradients and a radius leaves more than a tenth of the images. Their queries are
        not the attack's.
    seed : int
    progress : Progress
        In images, of each attack.

    Yields
    ------
    Measured

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        At the call, before any attack: if one does not fit the model, the images or what is
        revealed.
    """
    asked = [Queried(model, reveals=_used_by(attack, reveals), budget=budget) for attack in attacks]
    for attack, target in zip(attacks, asked, strict=True):
        check_attack(target, clean, attack, targets)

    def measure(attack: EvasionAttack, target: Queried) -> Measured:
        try:
            evaded = evade(
                target,
                clean,
                attack,
                targets=targets,
                seed=seed,
                batch_size=max(1, min(100, _USUAL_NUMBERS // clean.images[0].numel())),
                progress=progress,
            )
        except UnsuitableSubjectError as error:
            return Measured(attack, target.reveals, None, None, f"not measured: {error}")
        signs = _look(model, clean, attack, evaded, seed) if controls else None
        return Measured(attack, target.reveals, evaded, signs, _remark(attack, evaded, signs))

    return (measure(*each) for each in zip(attacks, asked, strict=True))


def _used_by(attack: EvasionAttack, reveals: Reveals) -> Reveals:
    if not reveals.allows(attack.needs):
        return reveals  # the check will refuse it
    if attack.needs in (Reveals.WEIGHTS, Reveals.LABELS):
        return attack.needs
    return Reveals.CONFIDENCES if reveals is Reveals.WEIGHTS else reveals


def _look(
    model: Classifier, clean: ImageSet, attack: EvasionAttack, evaded: Evaded, seed: int
) -> WarningSigns | None:
    """Return the controls of an attack, None where they would say nothing of it."""
    norm, epsilon = attack.norm, attack.epsilon
    if (
        norm not in (Norm.LINF, Norm.L2)
        or epsilon is None
        or attack.needs is not Reveals.WEIGHTS
        or evaded.targets is not None
        or evaded.note
        or _is_broken(evaded)
    ):
        return None
    usual = attack if isinstance(attack, ProjectedGradient) else ProjectedGradient(epsilon, norm)
    target = Queried(model, reveals=Reveals.WEIGHTS)
    # AutoAttack returns what it could not turn as it was: that is no point that it reached.
    same = (evaded.images == evaded.originals).flatten(1).all(1) & evaded.attacked
    if bool(same.any()):
        reached = evade(target, clean, usual, seed=seed)
        images, predictions = evaded.images.clone(), evaded.predictions.clone()
        images[same], predictions[same] = reached.images[same], reached.predictions[same]
        evaded = replace(evaded, images=images, predictions=predictions)
    return find_warning_signs(target, clean, usual, found=evaded, seed=seed)


def _is_broken(evaded: Evaded) -> bool:
    """Tell whether hardly any image is left: at most a tenth of those that were right."""
    return int(evaded.success.sum()) >= 0.9 * int(evaded.attacked.sum()) > 0


def _remark(attack: EvasionAttack, evaded: Evaded, signs: WarningSigns | None) -> str:
    attacked, turned = int(evaded.attacked.sum()), int(evaded.success.sum())
    if evaded.note:
        said = evaded.note
    elif signs is not None:
        said = signs.message
    elif not attacked:
        said = "the model gets no image right, so there was nothing to attack"
    elif not turned:
        said = (
            f"{attack.name} turned none of {attacked} images: the attack failed, which does not "
            "say that the model is robust"
        )
    elif turned < attacked / 2:
        said = (
            f"{attacked - turned} of {attacked} images withstood {attack.name}; another attack "
            "may turn them, so what is left is an upper bound"
        )
    else:
        said = ""
    return said
