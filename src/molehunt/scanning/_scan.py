"""From sources and checks to results: every source has its own, whatever the others do."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.findings import Finding, Status, Verdict
from molehunt.images import ImageSet
from molehunt.progress import Progress, silent
from molehunt.scanning._check import Check, judge
from molehunt.scanning._children import Died, Reporter, run_here, run_in_children
from molehunt.scanning._limits import Limits
from molehunt.scanning._opening import (
    NeedsOwnProcessError,
    Source,
    Subject,
    open_source,
)
from molehunt.scanning._result import ScanResult
from molehunt.scanning._walk import Candidate
from molehunt.scanning._wire import decode_result, encode_result
from molehunt.subjects import Endpoint, Opening, is_index

_log = logging.getLogger(__name__)
# Small files share a process, enough to fill the detectors' chunks.
_MOST_TOGETHER = 25
_LARGEST_TOGETHER = 2**22  # bytes of one file


def scan_subjects(
    sources: Sequence[str | Path | Candidate | Endpoint],
    checks: Sequence[Check],
    *,
    opening: Opening | None = None,
    clean: ImageSet | None = None,
    max_false_alarms: float = 0.05,
    limits: Limits | None = None,
    workers: int | None = None,
    threads: int | None = None,
    on_result: Callable[[ScanResult], None] | None = None,
    progress: Progress = silent,
) -> list[ScanResult]:
    """Judge every subject; one that cannot be judged never stops the others.

    First the file (would loading it run code?), then the input contract (with clean images:
    is the model better than chance?), then the checks. With several checks each is
    held to `max_false_alarms` divided by the number of those that fit the subject
    (Bonferroni), so that a clean model is called backdoored at most at the stated rate.

    Files are copied, opened and judged in child processes with limits on memory and
    processor time; small files share one. Whatever a file does there, its row says it. The
    children compute on the CPU. Where CUDA has started in the calling process there are no
    children and no limits: scan such files first, or with the command line.

    Parameters
    ----------
    sources : sequence of path, Candidate or Endpoint
    checks : sequence of Check
    opening : Opening, optional
        The contract that the user states, and whether code is trusted.
    clean : ImageSet, optional
        Labelled clean images of the models' task.
    max_false_alarms : float
        In (0, 1): how many clean models may be called backdoored.
    limits : Limits, optional
        What one subject may take.
    workers : int, optional
        Processes at once; one a core when not given.
    threads : int, optional
        Shared out among the processes at once; a check that looks at several models uses
        them. When not given each process has one.
    on_result : callable, optional
        Called with each result as it is there.
    progress : callable
        Called with the work done on a subject and all of it, where a check takes long.

    Returns
    -------
    list of ScanResult
        In the order of the sources.

    Raises
    ------
    InvalidRequestError
        If there is no check or the rate is outside (0, 1).
    """
    if not checks:
        raise InvalidRequestError(mismatch("checks", "at least one", "none"))
    if not 0 < max_false_alarms < 1:
        raise InvalidRequestError(
            mismatch("max_false_alarms", "a number in (0, 1)", max_false_alarms)
        )
    listed = [
        source if isinstance(source, Candidate | Endpoint) else Candidate(Path(source))
        for source in sources
    ]
    isolated = not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    chosen = (limits or Limits()) if isolated else None
    work = _Work(listed, checks, opening or Opening(), clean, max_false_alarms, chosen)
    batches = list(_batches(listed, checks))
    if len(listed) > 1:
        # torch's optimizers need the one, many networks the other: seconds once, not in each child.
        import torchvision  # noqa: F401, PLC0415
    if isolated:
        at_once = max(1, min(workers or len(os.sched_getaffinity(0)), len(batches)))
        found_each = run_in_children(
            batches,
            work,
            workers=at_once,
            threads=max(1, (threads or 1) // at_once),
            progress=progress,
        )
    else:
        _log.warning("CUDA has started in this process: files are opened here, without limits")
        found_each = run_here(batches, work, progress=progress)
    results: dict[int, ScanResult] = {}
    for item, found in found_each:
        results[item] = _result(listed[item], found)
        if on_result is not None:
            on_result(results[item])
    return _with_parts([results[item] for item in range(len(listed))])


def _with_parts(results: list[ScanResult]) -> list[ScanResult]:
    """Return the results with files that are part of a model no longer counted by themselves.

    Only where nothing could be said of such a file: an unsafe one stays unsafe.
    """
    owner = {part: result.name for result in results for part in result.parts}
    return [
        replace(
            result, findings=(Finding("file", Status.NO_MODEL, f"part of {owner[result.source]}"),)
        )
        if result.source in owner and result.verdict in (Verdict.SKIPPED, Verdict.FAILED)
        else result
        for result in results
    ]


def _batches(sources: Sequence[Source], checks: Sequence[Check]) -> Iterator[list[int]]:
    """Yield which sources share a process: small files, where every check is quick."""
    quick = all(check.judges_many for check in checks)
    cores = len(os.sched_getaffinity(0))
    most = min(_MOST_TOGETHER, -(-len(sources) // cores))
    together: list[int] = []
    for item, source in enumerate(sources):
        if not (quick and _is_small(source)):
            yield [item]
            continue
        together.append(item)
        if len(together) == most:
            yield together
            together = []
    if together:
        yield together


def _is_small(source: Source) -> bool:
    if isinstance(source, Endpoint) or is_index(source.path):
        return False
    try:
        return source.path.stat().st_size <= _LARGEST_TOGETHER
    except OSError:  # its own finding says so
        return True


class _Work:
    """What a child does with a batch of sources."""

    def __init__(
        self,
        sources: Sequence[Source],
        checks: Sequence[Check],
        opening: Opening,
        clean: ImageSet | None,
        max_false_alarms: float,
        limits: Limits | None,
    ) -> None:
        self._sources = sources
        self._checks = checks
        self._opening = opening
        self._clean = clean
        self._rate = max_false_alarms
        self._limits = limits

    def __call__(self, batch: Sequence[int], folder: Path, reporter: Reporter) -> None:
        """Open every source, then judge all that opened."""
        subjects: dict[int, Subject] = {}
        for item in batch:
            reporter.begin(item, "while it was opened")
            place = folder / str(item)
            place.mkdir()
            try:
                subject = open_source(
                    self._sources[item],
                    self._opening,
                    self._clean,
                    place,
                    limits=self._limits,
                    shared=len(batch) > 1,
                )
            except NeedsOwnProcessError:
                reporter.leave(item)
                continue
            if subject.models:
                subjects[item] = subject
            else:
                reporter.finish(item, encode_result(subject.result()))
        if subjects:
            reporter.begin(next(iter(subjects)), "while the checks ran")
            if self._limits is not None:
                self._limits.bound_checks(len(subjects), sum(s.size for s in subjects.values()))
            self._judge(subjects, reporter)

    def _judge(self, subjects: dict[int, Subject], reporter: Reporter) -> None:
        models = [model for subject in subjects.values() for model in subject.models.values()]
        found = judge(models, self._checks, self._clean, self._rate, reporter.step)
        for item, subject in subjects.items():
            for part in subject.models:
                subject.findings += [finding.of_part(part) for finding in next(found)]
            reporter.finish(item, encode_result(subject.result()))


def _result(source: Source, found: bytes | Died) -> ScanResult:
    """Return what a child reported of a source, or that it died."""
    if isinstance(found, bytes):
        try:
            return decode_result(found)
        except ValueError as error:
            found = Died(str(error))
    return report_unfinished(source, found.how)


def report_unfinished(source: Source, why: str) -> ScanResult:
    """Return the result of a source that could not be judged to the end."""
    return Subject(source, [Finding("file", Status.FAILED, printable(why))]).result()
