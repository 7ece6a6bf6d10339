"""The words that all renderers of a scan share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from molehunt.errors import ExitCode, printable
from molehunt.findings import Finding, Status, Verdict, gravest
from molehunt.networks import ModelCard
from molehunt.scanning import ScanResult

EXIT_MEANINGS = {
    ExitCode.CLEAN: "nothing was found",
    ExitCode.FOUND: "a backdoor or an unsafe file was found",
    ExitCode.FAILED: "at least one file could not be judged",
    ExitCode.INCONCLUSIVE: "of at least one file nothing can be said",
}


def contract_line(card: ModelCard | None) -> str:
    """Return the input contract under which a subject was judged, in one line."""
    if card is None:
        return "no input contract: the model was not opened"
    channels = card.input_shape[0]
    colours = {1: "grey", 3: card.channel_order.upper()}.get(channels, f"{channels} channels")
    low, high = card.value_range
    return printable(
        f"{card.architecture}, images {'x'.join(map(str, card.input_shape))} {colours}, "
        f"values {low:g} to {high:g}, mean {list_numbers(card.mean)}, "
        f"std {list_numbers(card.std)}, "
        f"{card.num_classes} classes"
    )


def list_numbers(values: Sequence[float]) -> str:
    """Return numbers with at most four digits; one number where all are the same."""
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else " ".join(texts)


def class_name(result: ScanResult, target: int | None) -> str | None:
    """Return the name of the class that a finding points at, where the subject names it."""
    if target is None or not 0 <= target < len(result.class_names):
        return None
    return result.class_names[target]


def target_text(result: ScanResult, finding: Finding) -> str | None:
    """Return ``class 3 (cat)``; only the number where the name says no more."""
    if finding.target is None:
        return None
    name = class_name(result, finding.target)
    named = "" if name in (None, str(finding.target)) else f" ({printable(str(name))})"
    return f"class {finding.target}{named}"


def p_text(p_value: float) -> str:
    """Return a p-value with three decimals, or with its exponent where they would be 0."""
    return f"{p_value:.3f}" if p_value >= 0.0005 else f"{p_value:.1e}"


def message_of(result: ScanResult, finding: Finding) -> str:
    """Return what a finding says, in one sentence."""
    text = finding.message
    if finding.null is not None and finding.p_value is not None:
        text += f" (p against {finding.null})"
    if (target := target_text(result, finding)) is not None:
        text += f"; most suspicious: {target}"
    return printable(text)


def verdict_findings(result: ScanResult) -> tuple[Finding, ...]:
    """Return the findings that make the verdict; never none, so that it has a reason."""
    found = tuple(finding for finding in result.findings if finding.verdict is not None)
    weak = any(finding.weak for finding in result.findings)
    why = "no check that ran finds enough backdoors to call a model clean"
    nothing = Finding("scan", Status.INCONCLUSIVE, why if weak else "no detector judged this model")
    return found or (nothing,)


def gravest_finding(result: ScanResult) -> Finding:
    """Return the first finding that makes the verdict."""
    return next(item for item in verdict_findings(result) if item.verdict is result.verdict)


def with_status(result: ScanResult, status: Status) -> list[Finding]:
    """Return the findings of a status that make no verdict."""
    return [item for item in result.findings if item.status is status and item.verdict is None]


def tally_results(results: Sequence[ScanResult]) -> dict[Verdict, int]:
    """Return how many subjects have each verdict, the gravest first; none with 0."""
    counts = Counter(result.verdict for result in results)
    return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}


def without_others(results: Sequence[ScanResult]) -> list[ScanResult]:
    """Return the results without files that are no models."""
    return [result for result in results if result.verdict is not Verdict.NO_MODEL]


def other_files(results: Sequence[ScanResult]) -> list[str]:
    """Return lines for the terminal on files that are no rows of it."""
    kinds = Counter(
        result.findings[-1].message for result in results if result.verdict is Verdict.NO_MODEL
    )
    if not kinds:
        return []
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    count = sum(kinds.values())
    what = "other file is no model" if count == 1 else "other files are no models"
    return [f"{count} {what} ({listed}); the JSON report names them."]


def verdict_of(results: Sequence[ScanResult]) -> Verdict:
    """Return the gravest verdict of a scan; inconclusive where nothing was scanned."""
    return gravest(result.verdict for result in results)
