"""``molehunt manifest``, ``verify``, ``sign`` and ``audit``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from molehunt.cli._shared import output
from molehunt.errors import ExitCode, InvalidRequestError, printable, refused
from molehunt.files import make_folder, write_text
from molehunt.provenance import (
    MANIFEST_NAME,
    AuditedModel,
    Fault,
    Provenance,
    ProvenanceState,
    audit_list,
    fault_counts,
    sign_model,
    verify_digest,
    verify_manifest,
    verify_signature,
    write_manifest,
)

_STATES = {
    ProvenanceState.OK: ExitCode.CLEAN,
    ProvenanceState.TAMPERED: ExitCode.FOUND,
    ProvenanceState.WRONG_KEY: ExitCode.FOUND,
    ProvenanceState.ERROR: ExitCode.FAILED,
    ProvenanceState.UNSIGNED: ExitCode.INCONCLUSIVE,
}
_FAULTS = {
    Fault.MISMATCH: ExitCode.FOUND,
    Fault.UNSAFE: ExitCode.FOUND,
    Fault.ERROR: ExitCode.FAILED,
    Fault.UNKNOWN_NAMES: ExitCode.INCONCLUSIVE,
    Fault.NO_HASH: ExitCode.INCONCLUSIVE,
    Fault.WEAK_HASH: ExitCode.INCONCLUSIVE,
    Fault.NO_SIGNATURE: ExitCode.INCONCLUSIVE,
}
_STYLES = {
    ExitCode.CLEAN: "green",
    ExitCode.FOUND: "bold red",
    ExitCode.FAILED: "magenta",
    ExitCode.INCONCLUSIVE: "yellow",
}

_MOST_ROWS = 100  # of each kind; a table of a hundred thousand takes most of a minute

Model = Annotated[Path, typer.Argument(help="A model file, or a folder.")]
Chain = Annotated[
    list[Path] | None,
    typer.Option("--certificate-chain", help="Certificates in PEM; may be repeated."),
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON; - for the terminal.")
]


def manifest(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=f"DIR/{MANIFEST_NAME} when not given.")
    ] = None,
) -> None:
    """Write the size and SHA-256 of every file in a folder."""
    target = folder / MANIFEST_NAME if out is None else out
    written = write_manifest(folder, target)
    output.print(Text(f"Manifest: {printable(target)}, {len(written.files)} files"))


def verify(
    model: Model,
    manifest_file: Annotated[
        Path | None, typer.Option("--manifest", help="Compare with a manifest.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Compare a file with a SHA-256.")] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="Verify the signature with a public key in PEM.")
    ] = None,
    certificate_chain: Chain = None,
    signature: Annotated[
        Path | None, typer.Option(help="NAME.sig beside it or model.sig when not given.")
    ] = None,
    json_file: Json = None,
) -> int:
    """Compare a model with what is stated of it, offline.

    Exit code: 0 as stated, 1 tampered or wrong key, 2 error, 3 unsigned.
    """
    ways = [manifest_file, sha256, public_key, certificate_chain]
    if sum(bool(way) for way in ways) > 1:
        raise InvalidRequestError(
            refused(
                "verify",
                "one of --manifest, --sha256, --public-key, --certificate-chain",
                "several",
            )
        )
    if manifest_file:
        result = verify_manifest(model, manifest_file)
    elif sha256 is not None:
        result = verify_digest(model, sha256)
    else:
        result = verify_signature(
            model, signature, public_key=public_key, certificate_chain=certificate_chain or ()
        )
    code = _STATES[result.state]
    content = {"schema_version": 1, "exit_code": int(code), **dataclasses.asdict(result)}
    _show([_result_table(result)], content, json_file)
    return int(code)


def sign(
    model: Model,
    private_key: Annotated[Path, typer.Option(help="An elliptic curve key in PEM.")],
    certificate: Annotated[
        Path | None, typer.Option(help="The key's certificate in PEM; needs its chain.")
    ] = None,
    certificate_chain: Chain = None,
    signature: Annotated[
        Path | None, typer.Option(help="MODEL.sig, or model.sig in a folder, when not given.")
    ] = None,
) -> None:
    """Sign a file or a folder in the OpenSSF Model Signing format, offline."""
    written = sign_model(
        model,
        private_key=private_key,
        certificate=certificate,
        certificate_chain=certificate_chain or (),
        signature=signature,
    )
    output.print(Text(f"Signature: {printable(written)}"))


def audit(
    model_list: Annotated[Path, typer.Argument(metavar="LIST", help="CSV or JSON.")],
    json_file: Json = None,
) -> int:
    """Find the models of a list that could be swapped without anyone noticing.

    Exit code: 0 none, 1 mismatching hash or unsafe format, 2 error, 3 no hash, weak hash or
    no signature.
    """
    models = audit_list(model_list)
    code = _gravest(models)
    counts = fault_counts(models)
    content: dict[str, Any] = {
        "schema_version": 1,
        "exit_code": int(code),
        "models": [dataclasses.asdict(model) for model in models],
        "counts": {"models": len(models), "here": sum(model.here for model in models), **counts},
    }
    away = sum(not model.here for model in models)
    lines = [", ".join(f"{n} {fault}" for fault, n in counts.items() if n) or "no faults"]
    if away:
        lines.append(f"{away} of {len(models)} not here: only what the list states was judged")
    _show([_audit_table(models), *lines], content, json_file)
    return int(code)


def _gravest(models: Sequence[AuditedModel]) -> ExitCode:
    """Return the exit code; faults stand in the order of gravity."""
    found = {fault for model in models for fault in model.faults}
    return next((_FAULTS[fault] for fault in Fault if fault in found), ExitCode.CLEAN)


def _show(shown: Sequence[Table | str], content: dict[str, Any], json_file: Path | None) -> None:
    text = json.dumps(content, indent=2)
    if json_file is not None and str(json_file) == "-":
        typer.echo(text)
        return
    for item in shown:
        output.print(item, markup=False, highlight=False)
    if json_file is not None:
        make_folder(json_file.parent)
        write_text(json_file, text + "\n")


def _result_table(result: Provenance) -> Table:
    """Return the verdict, and a row a file that differs or was left out."""
    style = _STYLES[_STATES[result.state]]
    table = Table("subject", "provenance")
    table.add_column("what", overflow="fold")
    state = Text(result.state.value, style)
    table.add_row(Text(printable(result.source)), state, Text(printable(result.message, 2000)))
    for word in ("changed", "added", "missing", "unchecked"):
        names = getattr(result, word)
        for name in names[:_MOST_ROWS]:
            table.add_row("", Text(word), Text(printable(name)))
        if len(names) > _MOST_ROWS:
            more = f"{len(names) - _MOST_ROWS} more; --json lists them"
            table.add_row("", Text(word), Text(more))
    if result.signer:
        table.add_row("", "signer", Text(printable(result.signer)))
    return table


def _audit_table(models: Sequence[AuditedModel]) -> Table:
    table = Table()
    for column in ("model", "location", "hash", "faults", "what"):
        table.add_column(column, overflow="fold")
    for model in models:
        style = _STYLES[_gravest([model])]
        table.add_row(
            Text(printable(model.name)),
            Text(printable(model.location)),
            Text(printable(model.algorithm or "-", 80)),
            Text(", ".join(model.faults) or "none", style),
            Text(printable(model.detail)),
        )
    return table
