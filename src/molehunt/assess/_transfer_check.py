"""A control over two risks: an attack on a copy must not beat the one on the model itself."""

from __future__ import annotations

from collections.abc import Sequence

from molehunt.assess._risk import Measure, Risk, RiskStatus

_SIGNIFICANT = 0.01


def check_transfer(risks: Sequence[Risk]) -> tuple[Risk, ...]:
    """Return the risks; evasion is inconclusive where a stolen copy's changes turn more images.

    Both are of the same radius and on images of the same draw, of which the theft takes more. A
    sign of hidden gradients (Athalye, Carlini and Wagner, 2018, section 3.1), by Fisher's exact
    test at 1 %.

    Examples
    --------
    >>> from molehunt.assess import Measure, Risk, RiskStatus, check_transfer
    >>> def risk(name, measure, value):
    ...     found = Measure(name=measure, value=value, n=50)
    ...     return Risk(name=name, title="", status=RiskStatus.MEASURED, measures=(found,))
    >>> own, copied = risk("evasion-linf", "success", 0.1), risk("stealing", "transfer", 0.7)
    >>> check_transfer([own, copied])[0].status.value, check_transfer([own])[0].status.value
    ('inconclusive', 'measured')
    """
    measures = [each.find_measure("transfer") for each in risks if each.name == "stealing"]
    moved = next((each for each in measures if each is not None and each.n), None)
    if moved is None:
        return tuple(risks)
    return tuple(_checked(risk, moved) if risk.name == "evasion-linf" else risk for risk in risks)


def _checked(risk: Risk, moved: Measure) -> Risk:
    own = risk.find_measure("success")
    if risk.status is not RiskStatus.MEASURED or own is None or not _beats(moved, own):
        return risk
    why = (
        f"changes that are made on a stolen copy turn {moved.value:.0%} of images, those made on "
        f"the model itself {own.value:.0%}"
    )
    return risk.model_copy(update={"status": RiskStatus.INCONCLUSIVE, "why": why})


def _beats(moved: Measure, own: Measure) -> bool:
    from scipy.stats import fisher_exact  # noqa: PLC0415  heavy

    rows = [[round(each.value * each.n), each.n] for each in (moved, own)]
    table = [[hits, of - hits] for hits, of in rows]
    return bool(fisher_exact(table, alternative="greater").pvalue < _SIGNIFICANT)
