"""The study of scanners: its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from molehunt.report import Section, StudyFigure, StudyPage, StudyTable
from molehunt.report.figures import COLOURS
from molehunt.studies._words import auc_text, rates_text

Results = Mapping[str, Any]


def page_of(results: Results) -> StudyPage:
    """Return the report; `results` is what ``results.json`` holds."""
    sections = [
        Section(
            "In short",
            [
                "AUC over test models, with its 95 % bootstrap interval over models. 0.5 is a "
                "coin; 1 is a detector that never errs. Litmus patterns learned from models "
                "with a single target; the others learned nothing. Where there is no figure the "
                "detector was not run: searches for triggers in networks of 43 classes take hours.",
            ],
            [auc_table(results)],
            [
                StudyFigure(
                    "auc",
                    "AUC of each scanner on each zoo, with 95 % intervals.",
                    auc_figure(results),
                )
            ],
        ),
        Section(
            "False alarms and detection at 5 %",
            [
                "Shares of clean models that are called backdoored, and of backdoored models that "
                "are. By the detector's own null: as a first scan of an unknown model does it. "
                "Calibrated: by p-values against "
                f"{_references(results)} clean models of the zoo's kind, as after molehunt fit.",
                "Together: what molehunt scan --clean finds suspicious by default, each detector "
                "held to 5 % divided by their number. As the published nulls do not hold here, "
                "such a scan abstains (inconclusive); an alarm of the final layer, whose null held "
                "on the development zoos, or of a calibrated detector is a verdict.",
            ],
            [rates_table(results)],
        ),
        Section(
            "Which class, and how long",
            [
                "Target named: how often the class that the evidence points at is the backdoor's "
                "target, over backdoored test models, flagged or not. Seconds a model in a process "
                "with one thread, reading the file included, whatever else the machine did.",
            ],
            [target_table(results)],
        ),
        _other_section(results),
        _zoo_section(results),
    ]
    return StudyPage(
        title="Scanners without a zoo",
        summary=[
            "What does a first scan of a stranger's model say, when no population of similar "
            "models is at hand? Four detectors that need none, on held-out models with clean "
            "twins: the maximum-margin test (MM-BD) and the inspection of the final layer, which "
            "need no data; Neural Cleanse and the pairwise search for patches, which are given "
            "clean images.",
            "No setting of a detector was chosen on these models.",
        ],
        sections=sections,
        footer=(
            f"Command: {results['command']} (torch {results['torch']}); zoos of seeds "
            f"{', '.join(str(zoo['seed']) for zoo in results['zoos'].values())}; "
            f"{results['hardware']}. Every number is in results.json beside this page."
        ),
    )


def auc_table(results: Results) -> StudyTable:
    """Return the AUC of every detector on every zoo."""
    zoos = [*results["zoos"]]
    rows = [
        [name, *(auc_text(results["detectors"][zoo].get(name)) for zoo in zoos)]
        for name in _names(results)
    ]
    rows.append(["litmus (fitted)", *(auc_text(results["litmus"].get(zoo)) for zoo in zoos)])
    return StudyTable(["AUC [95 %]", *zoos], rows)


def rates_table(results: Results) -> StudyTable:
    """Return false alarms and detection, by own null, calibrated, and of all together."""
    rows = []
    for zoo, found in results["detectors"].items():
        for name in _names(results):
            item = found.get(name)
            if item is not None:
                rows.append(
                    [
                        f"{zoo}: {name}",
                        rates_text(item.get("own_null")),
                        rates_text(item["calibrated"]),
                    ]
                )
        together = found["together"]
        rows.append(
            [f"{zoo}: together ({', '.join(together['detectors'])})", rates_text(together), "-"]
        )
        if zoo in results["litmus"]:
            fitted = results["litmus"][zoo]["calibrated"]
            rows.append([f"{zoo}: litmus (fitted)", "-", rates_text(fitted)])
    head = ["false alarms / detected", "own null", "calibrated"]
    return StudyTable(head, rows)


def target_table(results: Results) -> StudyTable:
    """Return how often the target is named, and the seconds a model."""
    rows = [
        [
            f"{zoo}: {name}",
            "-" if item["target_named"] is None else f"{item['target_named']:.0%}",
            f"{item['seconds_per_model']:.3g}",
        ]
        for zoo, found in results["detectors"].items()
        for name, item in found.items()
        if name != "together"
    ]
    return StudyTable(["", "target named", "seconds a model"], rows)


def auc_figure(results: Results) -> Figure:
    """Draw the AUC of each detector by zoo, with intervals."""
    zoos = [*results["zoos"]]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    series = {
        name: {zoo: results["detectors"][zoo].get(name) for zoo in zoos} for name in _names(results)
    }
    series["litmus (fitted)"] = {zoo: results["litmus"].get(zoo) for zoo in zoos}
    width = 0.8 / len(series)
    for number, (name, found) in enumerate(series.items()):
        for place, zoo in enumerate(zoos):
            item = found[zoo]
            if item is None:
                continue
            x = place + (number - (len(series) - 1) / 2) * width
            low, high = item["interval"]
            axes.plot([x, x], [low, high], color=COLOURS[number], linewidth=2)
            label = name if place == 0 else None
            axes.plot([x], [item["auc"]], "o", color=COLOURS[number], label=label)
    axes.axhline(0.5, color="#555555", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(zoos)), zoos, fontsize=9)
    axes.set_ylabel("AUC, 95 % interval")
    axes.set_xlim(-0.5, len(zoos) - 0.5)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(fontsize=8, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.22))
    return figure


def _other_section(results: Results) -> Section:
    other = results.get("modelaudit")
    title = "The other scanner that looks at weights"
    if not other:
        return Section(title, ["Not run here: --modelaudit names its command."])
    rows = [
        [zoo, rates_text(item), f"{item['seconds_per_model']:.3g}"]
        for zoo, item in other.items()
        if zoo != "version"
    ]
    return Section(
        title,
        [
            f"modelaudit {other['version']} on the same test models as ONNX files, whose weights "
            "it analyses (those of safetensors it does not), with its default settings, in an "
            "environment of its own. A warning or a critical issue counts as an alarm.",
        ],
        [StudyTable(["", "false alarms / detected", "seconds a model"], rows)],
    )


def _zoo_section(results: Results) -> Section:
    rows = [
        [
            name,
            str(zoo["models"]),
            f"{zoo['clean_accuracy']:.2%}",
            f"{zoo['backdoored_accuracy']:.2%}",
            f"{zoo['attack_success']:.1%}",
            str(zoo["under_the_bar"]),
        ]
        for name, zoo in results["zoos"].items()
    ]
    head = ["", "models", "accuracy, twins", "accuracy, backdoored", "success", "under the bar"]
    return Section(
        "The zoos",
        [
            "Random 5x5 patches in a random corner; VGG-like networks; every pair with a recipe of "
            "its own; every backdoored model has a clean twin. Under the bar: success under 90 % "
            "or accuracy five points under the twin's; such models are counted in all figures.",
        ],
        [StudyTable(head, rows)],
    )


def _names(results: Results) -> Sequence[str]:
    found = [name for zoo in results["detectors"].values() for name in zoo if name != "together"]
    return list(dict.fromkeys(found))


def _references(results: Results) -> int:
    first = next(iter(results["detectors"].values()))
    return int(next(iter(first.values()))["models"]["reference"])
