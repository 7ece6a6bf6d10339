"""The study of Universal Litmus Patterns: the tables of its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.report import StudyTable
from molehunt.studies._words import auc_text, rates_text
from molehunt.studies.ulp._figures import NAMES

Results = Mapping[str, Any]
# Table 1 of the paper: clean test accuracy, attack accuracy, AUCs by M.
PAPER: Results = {
    "mnist": {
        "accuracy": 0.994,
        "attack": 1.0,
        "noise": {"1": 0.94, "5": 0.90, "10": 0.86},
        "baseline": 0.94,
        "litmus": {"1": 0.94, "5": 0.99, "10": 1.00},
    },
    "cifar10": {
        "accuracy": 0.795,
        "attack": 0.999,
        "noise": {"1": 0.62, "5": 0.68, "10": 0.59},
        "baseline": 0.59,
        "litmus": {"1": 0.68, "5": 0.99, "10": 1.00},
    },
    "gtsrb": {
        "accuracy": 0.992,
        "attack": 0.972,
        "noise": {"1": 0.61, "5": 0.59, "10": 0.54},
        "baseline": 0.74,
        "litmus": {"1": 0.75, "5": 0.88, "10": 0.90},
    },
}
# What is kept of the draws that are reported beside the first.
DRAWN = (
    "zoo",
    "noise",
    "litmus",
    "statistics",
    "controls",
    "baseline",
    "neural_cleanse",
    "scale",
    "command",
    "torch",
    "hardware",
)


def auc_table(results: Results) -> StudyTable:
    """Return the paper's Table 1: noise, baseline and litmus patterns."""
    rows = []
    counts = ("1", "5", "10")
    for name, found in results.items():
        paper = PAPER.get(name)
        ours = [
            *(auc_text(_at(found["noise"], count)) for count in counts),
            auc_text(found.get("baseline")),
            *(auc_text(_at(found["litmus"], count)) for count in counts),
        ]
        rows.append([f"{NAMES.get(name, name)}, here", *ours])
        if paper:
            numbers = [*paper["noise"].values(), paper["baseline"], *paper["litmus"].values()]
            texts = [f"{value:.2f}" for value in numbers]
            rows.append([f"{NAMES.get(name, name)}, paper", *texts])
    head = [
        "",
        *(f"noise {m}" for m in (1, 5, 10)),
        "baseline",
        *(f"litmus {m}" for m in (1, 5, 10)),
    ]
    return StudyTable(head, rows)


def other_table(results: Results) -> StudyTable:
    """Return what the paper's table has not: accuracies, Neural Cleanse, weight statistics."""
    rows = []
    for name, found in results.items():
        paper, zoo = PAPER.get(name), found["zoo"]
        accuracy = f"{zoo['backdoored_accuracy']:.1%}" + _beside(paper, "accuracy")
        attack = f"{zoo['attack_success']:.1%}" + _beside(paper, "attack")
        rows.append(
            [
                NAMES.get(name, name),
                f"{zoo['models']} ({zoo['test_models']})",
                accuracy,
                attack,
                auc_text(found.get("neural_cleanse")),
                auc_text(found["statistics"]),
            ]
        )
    head = [
        "",
        "models (test)",
        "clean accuracy (paper)",
        "attack success (paper)",
        "Neural Cleanse",
        "weight statistics",
    ]
    return StudyTable(head, rows)


def draws_table(results: Results) -> StudyTable | None:
    """Return the AUCs of every draw of the sets that were drawn more than once."""
    rows = []
    for name, found in results.items():
        draws = found.get("draws", {})
        for draw, item in {"0": found, **draws}.items() if draws else ():
            rows.append(
                [
                    f"{NAMES.get(name, name)}, draw {draw}",
                    f"{item['zoo']['attack_success']:.1%}",
                    auc_text(_at(item["noise"], "10")),
                    auc_text(item.get("baseline")),
                    *(auc_text(_at(item["litmus"], count)) for count in ("1", "5", "10")),
                    auc_text(item["statistics"]),
                    auc_text(item["controls"]["shuffled"]),
                    auc_text(item["controls"]["placebo"]),
                ]
            )
    head = ["", "attack success", "noise 10", "baseline", *(f"litmus {m}" for m in (1, 5, 10))]
    head += ["weight statistics", "shuffled", "placebo against clean"]
    return StudyTable(head, rows) if rows else None


def controls_table(results: Results) -> StudyTable:
    """Return the controls of each set."""
    rows = []
    for name, found in results.items():
        title = NAMES.get(name, name)
        methods = {
            "litmus 10": _at(found["litmus"], "10"),
            "noise 10": _at(found["noise"], "10"),
            "weight statistics": found["statistics"],
        }
        for method, item in methods.items():
            rows.append(
                [
                    f"{title}: {method}",
                    auc_text(found["controls"]["shuffled"] if method == "litmus 10" else None),
                    auc_text(item["placebo"]),
                    auc_text(item["against_placebo"]),
                    f"{item['placebo_rate']:.0%}",
                ]
            )
    head = ["shuffled", "placebo against clean", "backdoored against placebo"]
    return StudyTable(["", *head, "placebos flagged at 5 %"], rows)


def rates_table(results: Results) -> StudyTable:
    """Return false alarms and detections of each method."""
    rows = []
    for name, found in results.items():
        methods = {
            "litmus 10": _at(found["litmus"], "10"),
            "noise 10": _at(found["noise"], "10"),
            "weight statistics": found["statistics"],
            "baseline": found.get("baseline"),
            "Neural Cleanse": found.get("neural_cleanse"),
        }
        rows.append([NAMES.get(name, name), *(rates_text(item) for item in methods.values())])
    return StudyTable(["false alarms / detected", *methods], rows)


def seconds_table(results: Results) -> StudyTable:
    """Return the seconds a model by method, and the ratio of the baseline to litmus."""
    methods = {
        "litmus-1": "litmus 1",
        "litmus-10": "litmus 10",
        "noise-10": "noise 10",
        "statistics": "weight statistics",
        "baseline": "baseline",
        "neural_cleanse": "Neural Cleanse",
    }
    rows = []
    for name, found in results.items():
        seconds = found["seconds_per_model"]
        ratio = found.get("baseline_over_litmus")
        rows.append(
            [
                NAMES.get(name, name),
                *(f"{seconds[key]:.3g}" if key in seconds else "-" for key in methods),
                f"{float(f'{ratio:.2g}'):,.0f}x" if ratio else "-",
            ]
        )
    return StudyTable(["", *methods.values(), "baseline / litmus 10"], rows)


def ablation_table(name: str, found: Results) -> StudyTable:
    """Return the ablations of one image set, with what each makes of placebo models."""
    rows = [
        [
            ablation,
            auc_text(item),
            auc_text(item["placebo"]),
            auc_text(item["against_placebo"]),
            rates_text(item),
            f"{item['placebo_rate']:.0%}",
        ]
        for ablation, item in found["ablations"].items()
    ]
    head = ["AUC", "placebo against clean", "backdoored against placebo"]
    rates = ["false alarms / detected", "placebos flagged"]
    return StudyTable([NAMES.get(name, name), *head, *rates], rows)


def bar_table(results: Results) -> StudyTable | None:
    """Return Table 1 without the backdoors that do not work, for the sets that have some."""
    methods = {
        "noise": "noise 10",
        "baseline": "baseline",
        "litmus": "litmus 10",
        "neural_cleanse": "Neural Cleanse",
        "statistics": "weight statistics",
    }
    rows = []
    for name, found in results.items():
        over = found.get("over_the_bar")
        if found["zoo"]["under_the_bar"] and over and over["backdoored"]:
            count = f"{over['backdoored']} of {found['zoo']['test_models'] // 2}"
            aucs = [auc_text(over["detectors"].get(method)) for method in methods]
            rows.append([NAMES.get(name, name), count, *aucs])
    return StudyTable(["", "backdoored test models", *methods.values()], rows) if rows else None


def variant_table(variants: Results, label: str) -> StudyTable:
    """Return the AUCs of each method by what the zoos differ in."""
    methods = list(dict.fromkeys(key for item in variants.values() for key in item["detectors"]))
    rows = [
        [
            name,
            f"{item['test_models']}",
            f"{item['backdoored_accuracy']:.1%}",
            f"{item['attack_success']:.1%}",
            *(auc_text(item["detectors"].get(method)) for method in methods),
        ]
        for name, item in variants.items()
    ]
    head = [label, "models", "accuracy", "attack success"]
    return StudyTable([*head, *(method.replace("_", " ") for method in methods)], rows)


def zoo_table(results: Results) -> StudyTable:
    """Return what the zoos hold, and how fast they were built."""
    rows = []
    for name, found in results.items():
        zoo = found["zoo"]
        rows.append(
            [
                NAMES.get(name, name),
                f"{zoo['backdoored']} + {zoo['models'] - zoo['backdoored'] - zoo['placebos']}"
                f" + {zoo['placebos']}",
                f"{zoo['clean_accuracy']:.2%}",
                f"{zoo['backdoored_accuracy']:.2%}",
                f"{zoo['twin_success']:.1%}",
                str(zoo["under_the_bar"]),
                f"{zoo['seconds_to_build_one']:.1f}",
                f"{3600 * found['workers'] / zoo['seconds_to_build_one']:,.0f}",
            ]
        )
    head = [
        "",
        "backdoored + clean + placebo",
        "accuracy, twins",
        "accuracy, backdoored",
        "success on twins",
        "under the bar",
        "seconds to build one",
        "models an hour",
    ]
    return StudyTable(head, rows)


def _at(found: Results, count: str) -> dict[str, Any]:
    """Return the figures of one number of patterns."""
    return {key: values[count] for key, values in found.items()}


def _beside(paper: Results | None, key: str) -> str:
    return f" ({paper[key]:.1%})" if paper else ""
