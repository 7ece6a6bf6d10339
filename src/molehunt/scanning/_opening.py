"""One source becomes a subject: copied, inspected, opened, its contract checked."""

from __future__ import annotations

import codecs
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from molehunt.errors import (
    CodeNotTrustedError,
    InvalidRequestError,
    MolehuntError,
    UnreadableFileError,
    UnsafeFileError,
    UnsuitableSubjectError,
    printable,
    reason_of,
)
from molehunt.files import open_regular
from molehunt.findings import UNSAFE_SERIALIZATION, WRONG_CONTRACT, Finding, Status
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier, ModelCard, recognise
from molehunt.provenance import (
    FileFormat,
    Names,
    Serialization,
    SerializationState,
    external_files,
    inspect_serialization,
)
from molehunt.scanning._contract_check import check_contract, is_stated
from molehunt.scanning._copies import PrivateCopy, copy_companions, copy_privately
from molehunt.scanning._limits import Limits
from molehunt.scanning._result import ScanResult
from molehunt.scanning._walk import Candidate, reason_to_pass
from molehunt.subjects import (
    Endpoint,
    Opening,
    inspect_shards,
    is_index,
    open_endpoint,
    open_subject,
    shards_of,
)

Source = Candidate | Endpoint
# Formats whose loaders build a program: such a file has a process of its own.
GRAPHS = {FileFormat.TORCH_EXPORT, FileFormat.ONNX, FileFormat.TORCHSCRIPT}
_OPENED = GRAPHS | {FileFormat.SAFETENSORS, FileFormat.TORCH_ZIP, FileFormat.TORCH_LEGACY}
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PICTURES = (b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"P5", b"P6", b"RIFF")
_CHUNK = 2**20
# Contracts that need no line of their own.
_PLAIN = ("stated by you", "by the file's own card")


@dataclass
class Subject:
    """A source with what is known of it so far."""

    source: Source
    findings: list[Finding] = field(default_factory=list)
    sha256: str | None = None
    format: str | None = None
    card: ModelCard | None = None
    size: int = 0
    names: Names = field(default_factory=Names)
    # What detectors are to judge, by the name of the weight set; none where the contract is wrong.
    models: dict[str, Classifier] = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    def result(self) -> ScanResult:
        """Return the subject as the scan gives it away."""
        return ScanResult(
            name_of(self.source),
            self.sha256,
            tuple(self.findings),
            self.format,
            self.card,
            self.parts,
            self.names,
        )


def name_of(source: Source) -> str:
    """Return how results name a source."""
    return source.shown if isinstance(source, Endpoint) else str(source.path)


class NeedsOwnProcessError(Exception):
    """Internal: the file is a graph, and other files share this process."""


def open_source(
    source: Source,
    opening: Opening,
    clean: ImageSet | None,
    folder: Path,
    *,
    limits: Limits | None = None,
    shared: bool = False,
) -> Subject:
    """Return a subject with what its file and its contract say; it never raises for a file.

    Parameters
    ----------
    source : Candidate or Endpoint
    opening : Opening
    clean : ImageSet, optional
        Labelled clean images, against which the contract is checked.
    folder : Path
        Private and empty: the copy lies here.
    limits : Limits, optional
        Set on this process; none where it is the caller's own.
    shared : bool
        Whether other files are opened in this process.

    Raises
    ------
    NeedsOwnProcessError
        If the file is a graph and the process is shared.
    """
    subject = Subject(source)
    try:
        if isinstance(source, Endpoint):
            subject.format = "endpoint"
            card = opening.contract.card(architecture="endpoint")
            subject.models[""] = open_endpoint(source, card)
        else:
            _open_file(subject, source, opening, folder, limits, shared)
        subject.card = next((model.card for model in subject.models.values()), None)
        for model in subject.models.values():
            model.vouched = is_stated(opening.contract, model.card)
        _recognise_answers(subject, opening)
        if clean is not None:
            if limits is not None:
                limits.bound_checks(1, subject.size)
            _check_contracts(subject, clean)
    except NeedsOwnProcessError:
        raise
    except Exception as error:  # a stranger's file may fail in any way
        subject.models.clear()
        subject.findings.append(_finding_of(error, limits))
    subject.findings = [_without(finding, folder, source) for finding in subject.findings]
    return subject


def _open_file(
    subject: Subject,
    candidate: Candidate,
    opening: Opening,
    folder: Path,
    limits: Limits | None,
    shared: bool,
) -> None:
    path = candidate.path
    if candidate.passed_over:
        subject.findings.append(Finding("file", Status.SKIPPED, candidate.passed_over))
        return
    with open_regular(path) as stream:
        subject.size = stream.seek(0, 2)
    if limits is not None:
        limits.bound_opening(subject.size)
    if not candidate.named:
        finding = _why_no_model(path)
        if finding is not None:
            subject.findings.append(finding)
            return
    copy = copy_privately(path, folder)
    subject.sha256 = copy.sha256
    if is_index(path):
        _copy_shards(subject, copy.path, path, limits)
        serialization = inspect_shards(copy.path)
    else:
        names = external_files(copy.path)
        copies = copy_companions(names, path.parent, folder)
        if copies:
            subject.findings.append(Finding("data", Status.CLEAR, _say_digests(copies)))
        subject.parts = tuple(str(path.parent / name) for name in names)
        serialization = inspect_serialization(copy.path)
    subject.format, subject.names = serialization.format.value, serialization.names
    if shared and serialization.format in GRAPHS:
        raise NeedsOwnProcessError
    opened = open_subject(copy.path, serialization, opening, neighbours=path.parent)
    subject.models = opened.models
    subject.findings.append(_passed(serialization))
    if opened.contract not in _PLAIN:
        subject.findings.append(Finding("contract-source", Status.CLEAR, opened.contract))
    subject.findings += [Finding("weights", Status.CLEAR, remark) for remark in opened.remarks]
    # Whichever of them is deployed: what was never asked is not clean.
    subject.findings += [
        Finding("weights", Status.INCONCLUSIVE, doubt) for doubt in opened.unjudged
    ]


def _copy_shards(subject: Subject, index: Path, original: Path, limits: Limits | None) -> None:
    """Copy the shards of an index beside its copy, and say what they are by their digests."""
    root = original.parent.resolve()
    places = [original.parent / shard.name for shard in shards_of(index)]
    for place in places:
        reason = reason_to_pass(place, root)
        if reason:
            raise UnreadableFileError(f"{original}: shard {printable(place.name, 80)}: {reason}")
        subject.size += place.stat().st_size
    if limits is not None:
        limits.bound_opening(subject.size)
    copies = [copy_privately(place, index.parent) for place in places]
    subject.findings.append(Finding("shards", Status.CLEAR, _say_digests(copies)))


def _say_digests(copies: Sequence[PrivateCopy]) -> str:
    listed = ", ".join(f"{printable(each.path.name, 80)} {each.sha256}" for each in copies)
    return f"with their SHA-256: {listed}"


def _passed(serialization: Serialization) -> Finding:
    form = serialization.format
    code = form is FileFormat.TORCHSCRIPT or serialization.state is not SerializationState.CLEAN
    detail = "its code ran in a process of its own" if code else serialization.detail
    return Finding(
        "serialization",
        Status.CLEAR,
        f"{form.value}: {detail}",
        UNSAFE_SERIALIZATION,
    )


def _why_no_model(path: Path) -> Finding | None:
    """Return what a file is that nobody called a model; None where its content says it is one."""
    with open_regular(path) as stream:
        # No pickle begins like these two: the first opcode of one asks for what no loader has,
        # that of the other does not exist.
        if stream.read(8).startswith((_PNG, _JPEG)) and not zipfile.is_zipfile(stream):
            return Finding("file", Status.NO_MODEL, "a picture")
    serialization = inspect_serialization(path)
    names_code = serialization.state in (SerializationState.UNSAFE, SerializationState.UNFAMILIAR)
    if serialization.format in _OPENED or names_code:
        return None
    with open_regular(path) as stream:
        if stream.read(8).startswith(_PICTURES):
            return Finding("file", Status.NO_MODEL, "a picture")
    if _is_text(path):
        return Finding("file", Status.NO_MODEL, "plain text")
    form, detail = serialization.format.value, serialization.detail
    said = detail if detail.startswith(form) else f"{form}, {detail}"
    return Finding("file", Status.SKIPPED, f"not judged: {said}")


def _is_text(path: Path) -> bool:
    """Whether a file is UTF-8 to its end, without bytes that no text has."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_regular(path) as stream:
        try:
            while chunk := stream.read(_CHUNK):
                if b"\x00" in chunk:
                    return False
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _recognise_answers(subject: Subject, opening: Opening) -> None:
    """Have every model give logits, or log-probabilities, and say what could not be told."""
    for part, model in subject.models.items():
        # A box that was opened by name has the output already.
        if model.output is None and Access.GRADIENTS in model.gives:
            model.output = opening.output
        answers = recognise(model).answers
        if answers.remark:
            status = Status.INCONCLUSIVE if answers.doubt else Status.CLEAR
            subject.findings.append(Finding("answers", status, answers.remark).of_part(part))


def _check_contracts(subject: Subject, clean: ImageSet) -> None:
    """Check each weight set against clean images; a set under a wrong contract is not judged."""
    for part, model in list(subject.models.items()):
        finding = check_contract(model, clean)
        subject.findings.append(finding.of_part(part))
        if finding.status is not Status.CLEAR:
            del subject.models[part]


def _finding_of(error: Exception, limits: Limits | None) -> Finding:
    """Return what an error means for the verdict."""
    message = printable(" ".join(str(error).split()))
    match error:
        case UnsafeFileError():
            return Finding("serialization", Status.FOUND, message, UNSAFE_SERIALIZATION)
        case CodeNotTrustedError():
            return Finding("serialization", Status.INCONCLUSIVE, message, UNSAFE_SERIALIZATION)
        case InvalidRequestError() | UnsuitableSubjectError():
            return Finding("contract", Status.INCONCLUSIVE, message, WRONG_CONTRACT)
        case MolehuntError() | OSError():
            return Finding("file", Status.FAILED, message)
        case _ if isinstance(error, MemoryError) or "allocate memory" in message:
            most = "" if limits is None else f" than {limits.opening_memory / 2**30:.1f} GiB"
            return Finding("file", Status.FAILED, f"needs more memory{most} to be opened")
    said = reason_of(error)
    return Finding(
        "file", Status.FAILED, f"fails while it is opened: {type(error).__name__}: {said}"
    )


def _without(finding: Finding, folder: Path, source: Source) -> Finding:
    """Return a finding that names the stranger's file where it names the private copy."""
    if isinstance(source, Endpoint):
        return finding
    own = finding.message.replace(str(folder / source.path.name), str(source.path))
    return replace(finding, message=own.replace(str(folder), str(source.path.parent)))
