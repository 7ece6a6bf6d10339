"""``molehunt assess``."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molehunt.cli._options import (
    Clean,
    ContractFile,
    DataRoot,
    Device,
    Seed,
    WeightsName,
    load_members,
    read_opening,
)
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import ExitCode, InvalidRequestError, mismatch, printable
from molehunt.files import check_replaceable, make_folder, write_text

if TYPE_CHECKING:
    from molehunt.assess import Assessment, Case, Condition, Outcome
    from molehunt.report import AssessedModel

_MARKS = {
    "json": (b"{", b'"molehunt"'),
    "sarif": (b"{", b"sarif", b"Molehunt"),
    "html": (b"<!doctype html>", b"Molehunt"),
}
_BUDGET, _OUTPUT = "Budget", "Output"


def assess(
    model: Annotated[str, typer.Argument(help="A model file, or the URL of an endpoint.")],
    clean: Annotated[str, Clean],
    members: Annotated[
        str | None,
        typer.Option(
            metavar="SET",
            help="Images that the model was trained on: the training images of a set, or a folder "
            "of class folders.",
        ),
    ] = None,
    shadows: Annotated[
        int,
        typer.Option(
            help="With --members: shadow models to train for membership, each on half of all "
            "images; an even number from 4."
        ),
    ] = 0,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="POPULATION",
            help="A population, as of molehunt zoo build: say where the model stands among its "
            "honest models. Each costs as much as the model, once. One of a property teaches the "
            "attack on it.",
        ),
    ] = None,
    reference_models: Annotated[
        int, typer.Option(help="Most models of the population that are measured.")
    ] = 39,
    access: Annotated[
        str | None,
        typer.Option(
            help="The most that an attacker sees: weights, confidences, rounded or labels. "
            "Default: as much as the model can reveal."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="RISK", help="{risks}; may be repeated. All when not given."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with 1 where it holds, such as 'stealing.agreement>0.9', and with 3 where "
            "the risk was not measured; may be repeated.",
        ),
    ] = None,
    seed: Seed = 0,
    contract: ContractFile = None,
    weights: WeightsName = None,
    queries: Annotated[
        int | None,
        typer.Option(
            help="Images that the model may be asked about, over all risks. Default: 100000.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="In place of --queries: as many as take so long by a measurement at the start.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Where finished risks are kept, so that an interrupted run goes on. Default: in "
            "the user's cache.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write the risks as JSON; - for the terminal.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a self-contained page.", rich_help_panel=_OUTPUT)
    ] = None,
    sarif: Annotated[
        Path | None,
        typer.Option(
            help="Write the conditions of --fail-on as SARIF 2.1.0, for code scanning.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> int:
    """Measure what could be done to a model. Exit code: 0 measured, 1 or 3 as --fail-on says."""
    from molehunt.assess import (
        QUERIES,
        new_case,
        parse_condition,
        pick_assessors,
        queries_of_minutes,
        stand_among,
    )
    from molehunt.images import cache_folder, load_test_images
    from molehunt.networks import Reveals
    from molehunt.report import AssessedModel
    from molehunt.scanning import open_named
    from molehunt.zoo import Zoo

    _check_outputs(html=html, json=json_file, sarif=sarif)
    if access is not None and access not in [*Reveals]:
        raise InvalidRequestError(mismatch("`access`", ", ".join(Reveals), printable(repr(access))))
    if queries is not None and minutes is not None:
        raise InvalidRequestError(mismatch("budget", "`queries` or `minutes`", "both"))
    if minutes is not None and not 0 < minutes < 1e6:
        raise InvalidRequestError(mismatch("`minutes`", "above 0", minutes))
    picked = pick_assessors(only or [])
    if reference_models < 1:
        raise InvalidRequestError(mismatch("`reference_models`", "1 or more", reference_models))
    population = None if reference is None else Zoo(reference)
    conditions = [parse_condition(text) for text in fail_on or []]
    names = [each.name for each in picked]
    for condition in conditions:
        if condition.risk not in names:
            allowed = f"a risk that is assessed ({', '.join(names)})"
            raise InvalidRequestError(mismatch("`fail_on`", allowed, condition.risk))
    shown = load_test_images(clean, data_root=data_root)
    opening = read_opening(contract, weights)
    opened = open_named(model, opening=opening, clean=shown, device=device)
    case = new_case(
        opened.model,
        shown,
        members=None if members is None else load_members(members, data_root),
        shadows=shadows,
        population=population,
        reveals=None if access is None else Reveals(access),
        seed=seed,
    )
    # Of an endpoint these questions count, too: each may have its price.
    _ = case.clean_accuracy
    asked = opened.asked
    if minutes is not None:
        able = [each for each in picked if not each.obstacle(case)]
        queries = asked + queries_of_minutes(minutes, case, able)
        if str(json_file) != "-":
            note(f"{minutes:g} minutes are {queries} queries here: --queries {queries} repeats it")
    queries = QUERIES if queries is None else queries
    flags = {
        "clean": clean,
        "members": members,
        "shadows": shadows or None,
        "reference": reference,
        "reference-models": None if reference is None else reference_models,
        "access": case.reveals.value,
        "seed": seed,
        "contract": contract,
        "weights": weights,
        "device": None if device == "cpu" else device,
        "data-root": None if str(data_root) == os.environ.get("MOLEHUNT_DATA") else data_root,
    }
    told = AssessedModel(
        name=opened.name,
        sha256=opened.sha256,
        format=opened.format,
        card=opened.model.card,
        settings={**{name: _plain(value) for name, value in flags.items()}, "minutes": minutes},
        command=_command(opened.name, {**flags, "queries": queries}, names if only else []),
    )

    def command(name: str, share: int) -> str:
        return _command(opened.name, {**flags, "queries": share}, [name])

    keep = cache_folder() / "assess" if keep is None else keep
    found, interrupted = _assess_with_progress(
        case,
        only=names,
        queries=queries,
        opening=asked,
        keep=keep,
        sha256=opened.sha256,
        command=command,
    )
    if population is not None and not interrupted:
        with progress_of("reference models") as progress:
            found = stand_among(
                found, case, population, keep=keep, most=reference_models, progress=progress
            )
    outcomes = [(condition, condition.judge(found.risks)) for condition in conditions]
    code = _write(told, found, outcomes, html=html, json_file=json_file, sarif=sarif)
    if opened.asked and str(json_file) != "-":
        note(f"{opened.name} was asked about {opened.asked:,} images, those to measure included")
    if interrupted:
        raise KeyboardInterrupt
    return int(code)


def _assess_with_progress(case: Case, **settings: Any) -> tuple[Assessment, bool]:
    """Assess with progress; after Ctrl-C the finished risks are there all the same."""
    from molehunt.assess import Assessment, Risk, RiskStatus, pick_assessors
    from molehunt.assess import assess as measure

    done: list[Risk] = []
    with progress_of("queries") as progress:
        try:
            return measure(case, progress=progress, on_risk=done.append, **settings), False
        except KeyboardInterrupt:
            prices = [risk.price for risk in done if risk.price is not None]
            opening = settings["opening"]
            spent = opening + sum(price.queries for price in prices)
            seconds = sum(price.seconds for price in prices)
            done += [
                Risk(
                    name=each.name,
                    title=each.title,
                    status=RiskStatus.NOT_ASSESSED,
                    why="interrupted before it was measured",
                )
                for each in pick_assessors(settings["only"])[len(done) :]
            ]
            accuracy, queries = case.clean_accuracy, settings["queries"]
            return Assessment(tuple(done), accuracy, queries, spent, seconds, opening), True


def _check_outputs(**targets: Path | None) -> None:
    """Refuse an output that would replace what is no report, and make its folder."""
    from molehunt.scanning import MODEL_SUFFIXES

    for kind, target in targets.items():
        if target is not None and str(target) != "-":
            if target.suffix.lower() in MODEL_SUFFIXES:
                raise InvalidRequestError(
                    mismatch(f"--{kind}", "a name that is no model's", target)
                )
            make_folder(target.parent)
            check_replaceable(target, f"an assessment ({kind})", _MARKS[kind])


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _command(model: str, flags: dict[str, Any], only: list[str]) -> str:
    """Return the command line of a run, to be pasted into a shell."""
    parts = ["molehunt", "assess", model]
    for name, value in flags.items():
        if value is not None:
            parts += [f"--{name}", str(value)]
    for name in only:
        parts += ["--only", name]
    return shlex.join(parts)


def _write(
    model: AssessedModel,
    found: Assessment,
    outcomes: list[tuple[Condition, Outcome]],
    *,
    html: Path | None,
    json_file: Path | None,
    sarif: Path | None,
) -> ExitCode:
    """Write what was measured, files first, and return the exit code."""
    from molehunt.assess import code_of
    from molehunt.report import (
        assessment_as_json,
        assessment_as_sarif,
        assessment_lines,
        assessment_table,
        contract_line,
        write_assessment_page,
    )

    code = code_of([outcome for _, outcome in outcomes])
    content = json.dumps(assessment_as_json(model, found, outcomes, code), indent=2) + "\n"
    if json_file is not None and str(json_file) != "-":
        write_text(json_file, content)
    if sarif is not None:
        log = assessment_as_sarif(model, found, outcomes)
        write_text(sarif, json.dumps(log, indent=2) + "\n")
    if html is not None:
        write_assessment_page(html, model, found, outcomes)
    if str(json_file) == "-":
        output.out(content, end="", highlight=False)
        return code
    rate, (low, high), of = found.clean_accuracy
    output.print(contract_line(model.card), highlight=False)
    output.print(
        f"{of} clean images, accuracy {rate:.0%} [{low:.0%}, {high:.0%}]; {found.spent:,} of "
        f"{found.queries:,} queries",
        highlight=False,
    )
    output.print(assessment_table(found))
    for line in assessment_lines(found):
        output.print(printable(line, 1000), highlight=False)
    for condition, outcome in outcomes:
        output.print(f"--fail-on {condition}: {outcome.value}", highlight=False)
    if html is not None:
        note(f"Report: {html}")
    return code
