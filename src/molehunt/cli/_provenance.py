"""``molehunt provenance``: manifests, signatures and audits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import ConsoleRenderable

from molehunt.cli._commands import Command
from molehunt.cli._terminal import note, output
from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.files import make_folder, write_text

app = typer.Typer(help="Say where models come from: manifests, signatures, audits of lists.")

Model = Annotated[Path, typer.Argument(help="A model file, or a folder.")]
Chain = Annotated[
    list[Path] | None,
    typer.Option("--certificate-chain", help="Certificates in PEM; may be repeated."),
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON; - for the terminal.")
]


@app.command("manifest", cls=Command)
def manifest(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="DIR/molehunt.manifest.json when not given.")
    ] = None,
) -> None:
    """Write the size and SHA-256 of every file in a folder."""
    from molehunt.provenance import MANIFEST_NAME, write_manifest

    target = folder / MANIFEST_NAME if out is None else out
    written = write_manifest(folder, target)
    note(f"Manifest: {printable(target)}, {len(written.files)} files")


@app.command("verify", cls=Command)
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
    """Compare a model with its manifest, digest or signature, offline.

    Exit code: 0 as stated, 1 tampered or wrong key, 2 error, 3 unsigned.
    """
    from molehunt.cli._provenance_tables import result_table
    from molehunt.provenance import (
        exit_code_of_provenance,
        provenance_as_json,
        verify_digest,
        verify_manifest,
        verify_signature,
    )

    ways = [manifest_file, sha256, public_key, certificate_chain]
    if sum(bool(way) for way in ways) > 1:
        raise InvalidRequestError(
            mismatch(
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
    _show([result_table(result)], provenance_as_json(result), json_file)
    return int(exit_code_of_provenance(result))


@app.command("sign", cls=Command)
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
    from molehunt.provenance import sign_model

    written = sign_model(
        model,
        private_key=private_key,
        certificate=certificate,
        certificate_chain=certificate_chain or (),
        signature=signature,
    )
    note(f"Signature: {printable(written)}")


@app.command("audit", cls=Command)
def audit(
    model_list: Annotated[Path, typer.Argument(metavar="LIST", help="CSV or JSON.")],
    json_file: Json = None,
) -> int:
    """Find the models of a list that could be swapped without anyone noticing.

    Exit code: 0 none, 1 mismatching hash or unsafe format, 2 error, 3 no hash, weak hash or
    no signature.
    """
    from molehunt.cli._provenance_tables import audit_table
    from molehunt.provenance import audit_as_json, audit_list, exit_code_of_audit, fault_counts

    models = audit_list(model_list)
    faults = {fault: n for fault, n in fault_counts(models).items() if n}
    lines = [", ".join(f"{n} {fault}" for fault, n in faults.items()) or "no faults"]
    away = sum(not model.here for model in models)
    if away:
        lines.append(f"{away} of {len(models)} not here: only what the list states was judged")
    _show([audit_table(models), *lines], audit_as_json(models), json_file)
    return int(exit_code_of_audit(models))


def _show(
    shown: Sequence[ConsoleRenderable | str], content: dict[str, Any], json_file: Path | None
) -> None:
    text = json.dumps(content, indent=2)
    if json_file is not None and str(json_file) == "-":
        typer.echo(text)
        return
    for item in shown:
        output.print(item, markup=False, highlight=False)
    if json_file is not None:
        make_folder(json_file.parent)
        write_text(json_file, text + "\n")
