"""``molehunt scan``."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.cli._options import Clean, DataRoot, DetectorFiles, MaxFalseAlarms, parse_numbers
from molehunt.cli._terminal import note, output, progress_of
from molehunt.cli._words import with_flags
from molehunt.errors import InvalidRequestError, mismatch, need_extra
from molehunt.files import check_replaceable, make_folder, write_text
from molehunt.progress import silent

if TYPE_CHECKING:
    from molehunt.scanning import Candidate, ScanResult
    from molehunt.subjects import Endpoint, StatedContract

# How a report of each kind begins, and what stands in it.
_MARKS = {
    "json": (b"{", b'"molehunt"'),
    "sarif": (b"{", b"sarif", b"Molehunt"),
    "bom": (b"{", b"CycloneDX", b"Molehunt"),
    "html": (b"<!doctype html>", b"Molehunt"),
}
_CONTRACT = "Input contract"
_ENDPOINT = "Endpoint"
_OUTPUT = "Output"


def scan(
    context: typer.Context,
    models: Annotated[
        list[Path] | None, typer.Argument(help="Model files, or folders of them.")
    ] = None,
    detector: DetectorFiles = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A detector that needs no zoo; may be repeated. Without any --check and "
            "--detector: {usual_checks}, and with --clean {usual_checks_with_images}.",
        ),
    ] = None,
    clean: Annotated[str | None, Clean] = None,
    max_false_alarms: MaxFalseAlarms = 0.05,
    twins: Annotated[
        int,
        typer.Option(
            help="Clean twins to compare a model with, given --clean; 39 allow a rate of 0.025."
        ),
    ] = 19,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Most work of a check on a model, in minutes of two idle cores; counted, not "
            "timed. Default: 60 for twins, 10 for others, any for those named by --check.",
            show_default=False,
        ),
    ] = None,
    min_power: Annotated[
        float,
        typer.Option(
            help="Smallest share of backdoors that a check must be known to find before what it "
            "does not find counts as clean."
        ),
    ] = 0.8,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of backdoor that a clean verdict covers; may be repeated. Default, all: "
            "{backdoor_kinds}."
        ),
    ] = None,
    allow_skipped: Annotated[
        bool,
        typer.Option("--allow-skipped", help="Exit with 0 even where files were passed over."),
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code", help="Run TorchScript and pickled modules, in a limited process."
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(help="The set of weights to judge, of several in a file; all when not given."),
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(help="A TOML file with the contract.", rich_help_panel=_CONTRACT)
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            "--architecture",
            help="Network of a file that holds weights only: torchvision:NAME, timm:NAME or "
            "package.module:Class.",
            rich_help_panel=_CONTRACT,
        ),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            help="Channels, height and width of an image, such as 3x224x224.",
            rich_help_panel=_CONTRACT,
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Number of classes.", rich_help_panel=_CONTRACT)
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option(
            help="Smallest and largest pixel value: 0,1 or 0,255.", rich_help_panel=_CONTRACT
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="Mean of the pixels: one for all channels, or one for each.",
            rich_help_panel=_CONTRACT,
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            help="Standard deviation of the pixels: one for all channels, or one for each.",
            rich_help_panel=_CONTRACT,
        ),
    ] = None,
    channel_order: Annotated[
        str | None,
        typer.Option(help="Order of the channels: rgb or bgr.", rich_help_panel=_CONTRACT),
    ] = None,
    output_name: Annotated[
        str | None,
        typer.Option(
            "--output",
            help="The output that holds the answers, by name or by position from 0.",
            rich_help_panel=_CONTRACT,
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="A model behind http://, https://, grpc:// or grpcs://.",
            rich_help_panel=_ENDPOINT,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="v2 (Open Inference Protocol) or v1 (instances).", rich_help_panel=_ENDPOINT
        ),
    ] = "v2",
    batch: Annotated[
        int, typer.Option(help="Images in a request.", rich_help_panel=_ENDPOINT)
    ] = 32,
    requests_per_second: Annotated[
        float | None, typer.Option(help="Most requests in a second.", rich_help_panel=_ENDPOINT)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Most seconds for an answer.", rich_help_panel=_ENDPOINT)
    ] = 30.0,
    retries: Annotated[
        int,
        typer.Option(
            help="Repeats of a request after an error or a 429.", rich_help_panel=_ENDPOINT
        ),
    ] = 3,
    token_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="The environment variable that holds a bearer token.",
            rich_help_panel=_ENDPOINT,
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VARIABLE",
            help="A header, and the environment variable that holds it; may be repeated.",
            rich_help_panel=_ENDPOINT,
        ),
    ] = None,
    input_name: Annotated[
        str | None,
        typer.Option(
            help="Name of the input; the server tells it when not given.", rich_help_panel=_ENDPOINT
        ),
    ] = None,
    datatype: Annotated[
        str | None,
        typer.Option(
            help="Type of the input, such as FP32 or UINT8; the server tells it when not given.",
            rich_help_panel=_ENDPOINT,
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Layout of the input: nchw, nhwc or flat; the server tells it when not given.",
            rich_help_panel=_ENDPOINT,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write the findings as JSON; - for the terminal.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a self-contained page.", rich_help_panel=_OUTPUT)
    ] = None,
    sarif: Annotated[
        Path | None,
        typer.Option(help="Write SARIF 2.1.0, for code scanning.", rich_help_panel=_OUTPUT),
    ] = None,
    bom: Annotated[
        Path | None, typer.Option(help="Write a CycloneDX ML-BOM.", rich_help_panel=_OUTPUT)
    ] = None,
    data_root: DataRoot = None,
    device: Annotated[
        str,
        typer.Option(
            help="cpu, or cuda or auto for the GPU; there files are opened in one process and "
            "without limits on memory and time."
        ),
    ] = "cpu",
) -> int:
    """Judge models. Exit code: 0 clean, 1 backdoor or unsafe file, 2 failed, 3 inconclusive."""
    from molehunt.detectors import BACKDOOR_KINDS
    from molehunt.report import scan_as_bom, scan_as_json, scan_as_sarif, write_scan_page
    from molehunt.scanning import exit_code_of, find_candidates, pick_checks
    from molehunt.subjects import Endpoint

    if not models and endpoint is None:
        raise InvalidRequestError(mismatch("scan", "model files, folders or --endpoint", "none"))
    _check_outputs(html=html, json=json_file, sarif=sarif, bom=bom)  # before the work
    stated = _contract(
        contract,
        architecture=arch,
        input_shape=input_shape and parse_numbers("--input-shape", input_shape, int),
        classes=classes,
        value_range=value_range and parse_numbers("--value-range", value_range),
        mean=mean and parse_numbers("--mean", mean),
        std=std and parse_numbers("--std", std),
        channel_order=channel_order,
    )
    sources: list[Candidate | Endpoint] = [*find_candidates(models or [])]
    if endpoint is not None:
        sources.append(
            Endpoint(
                endpoint,
                protocol=protocol,  # type: ignore[arg-type]  # it refuses the rest itself
                batch=batch,
                requests_per_second=requests_per_second,
                timeout=timeout,
                retries=retries,
                headers=_headers(token_env, header or []),
                input_name=input_name,
                datatype=datatype,
                layout=layout,  # type: ignore[arg-type]
                output=output_name,
            )
        )
    checks = pick_checks(
        [*(detector or []), *(check or [])],
        images=clean is not None,
        twins=twins,
        min_power=min_power,
        against=against or BACKDOOR_KINDS,
        minutes=minutes,
    )
    if bom is not None:
        need_extra("bom", "cyclonedx.model", "--bom")  # before the work, not after it
    results, interrupted = _scan_with_progress(
        sources,
        detectors=checks,
        contract=stated,
        trust_code=trust_code,
        weights=weights,
        output=output_name,
        clean=clean,
        data_root=data_root,
        device=device,
        max_false_alarms=max_false_alarms,
    )
    results = [_in_words_of(result, context) for result in results]
    code = exit_code_of(results, allow_skipped=allow_skipped)
    content = json.dumps(scan_as_json(results, code), indent=2) + "\n"
    # Files first: nobody may be left to read the terminal.
    if json_file is not None and str(json_file) != "-":
        write_text(json_file, content)
    if sarif is not None:
        write_text(sarif, json.dumps(scan_as_sarif(results, code=code), indent=2) + "\n")
    if bom is not None:
        write_text(bom, scan_as_bom(results))
    if html is not None:
        write_scan_page(html, results, checks, max_false_alarms=max_false_alarms, code=code)
    if str(json_file) == "-":
        output.out(content, end="", highlight=False)
    else:
        _show(results)
        if html is not None:
            note(f"Report: {html}")
    if interrupted:
        raise KeyboardInterrupt
    return int(code)


def _check_outputs(**targets: Path | None) -> None:
    """Refuse an output that would replace what is no report, and make its folder."""
    from molehunt.scanning import MODEL_SUFFIXES

    for kind, target in targets.items():
        if target is not None and str(target) != "-":
            if target.suffix.lower() in MODEL_SUFFIXES:
                allowed = "a name that is no model's (put -- before files that begin with -)"
                raise InvalidRequestError(mismatch(f"--{kind}", allowed, target))
            make_folder(target.parent)
            check_replaceable(target, f"a report ({kind})", _MARKS[kind])


def _scan_with_progress(
    sources: list[Candidate | Endpoint], **settings: Any
) -> tuple[list[ScanResult], bool]:
    """Scan with progress, one step a subject; what Ctrl-C left undone is named."""
    import torch

    from molehunt.scanning import name_of, report_unfinished
    from molehunt.scanning import scan as judge_models

    # Children are forked: OpenMP's threads must not have started here.
    torch.set_num_threads(1)
    found: dict[str, ScanResult] = {}

    def keep(result: ScanResult) -> None:
        found[result.source] = result
        if len(sources) > 1:
            progress(len(found), len(sources))

    with progress_of("scanning") as progress:
        try:
            cores = len(os.sched_getaffinity(0))
            return judge_models(
                sources,
                threads=cores,
                on_result=keep,
                # Of one model the work is shown, of many the models.
                progress=progress if len(sources) == 1 else silent,
                **settings,
            ), False
        except KeyboardInterrupt:
            return [
                found.get(name_of(source))
                or report_unfinished(source, "interrupted before its verdict")
                for source in sources
            ], True


def _contract(file: Path | None, **flags: Any) -> StatedContract:
    """Return what flags and a file say of the models, the flags first."""
    from molehunt.subjects import parse_contract, read_contract

    given = parse_contract(
        "flags", {name: value for name, value in flags.items() if value is not None}
    )
    return read_contract(file, given) if file is not None else given


def _headers(token_env: str | None, headers: list[str]) -> dict[str, str]:
    """Return the headers whose values stand in the environment; values are never shown."""
    found = {}
    for item in headers:
        name, _, variable = item.partition("=")
        found[name] = _secret("--header NAME=VARIABLE", variable)
    if token_env is not None:
        found["Authorization"] = f"Bearer {_secret('--token-env VARIABLE', token_env)}"
    return found


def _secret(flag: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        # What stands here instead of a name may be the secret itself.
        got = variable if re.fullmatch(r"[A-Z][A-Z0-9_]{0,40}", variable) else "another text"
        raise InvalidRequestError(
            mismatch(flag, "the name of an environment variable that is set", got)
        )
    return value


def _in_words_of(result: ScanResult, context: typer.Context) -> ScanResult:
    """Return a result whose findings name the flags of this command line."""
    findings = [
        replace(finding, message=with_flags(finding.message, [context.command]))
        for finding in result.findings
    ]
    return replace(result, findings=tuple(findings))


def _show(results: list[ScanResult]) -> None:
    from molehunt.report import contract_line, other_files, scan_table

    cards = {contract_line(result.card): None for result in results if result.card}
    for line in cards:  # models of one kind share a line
        output.print(line, highlight=False, markup=False)
    output.print(scan_table(results))
    for line in other_files(results):
        output.print(line, highlight=False, markup=False)
