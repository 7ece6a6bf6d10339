"""The study of Universal Litmus Patterns: its report, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.report import Section, StudyFigure, StudyPage, StudyTable
from molehunt.studies._ulp_figures import (
    NAMES,
    carries_figure,
    curve_figure,
    poison_figure,
    roc_figure,
)
from molehunt.studies._words import auc_text, rates_text

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


def page_of(results: Results, pictures: Mapping[str, StudyFigure]) -> StudyPage:
    """Return the report on the image sets that were run.

    Parameters
    ----------
    results : mapping
        What ``results.json`` holds, by image set.
    pictures : mapping
        Patterns and triggers of these sets.
    """
    sections = [
        Section(
            "Table 1",
            [
                "AUC over held-out models with its 95 % bootstrap interval over models, the "
                "paper's number beneath. Test models have triggers that no fitting model had"
                " (on GTSRB source→target pairs too). M is the number of patterns.",
                "Every backdoored model here has a clean twin: same architecture, seed, recipe, "
                "number of images and steps, and the same extra copies without trigger. The "
                "paper's clean models have none of this, and noise alone scores 0.94 there. "
                "A dash: not run.",
            ],
            [auc_table(results), other_table(results)],
            [StudyFigure("roc", "ROC curves (the paper's Figure 5).", roc_figure(results))],
        ),
        Section(
            "Controls",
            [
                "Shuffled: the detector with ten patterns, fitted on labels that say nothing; its "
                "interval must contain 0.5. Placebo against clean: models that saw the trigger "
                "on images of all classes with true labels and carry no backdoor, against clean "
                "ones; 0.5 says that a detector sees backdoors, more that it sees exposure to "
                "triggers as well, less that models which learned to ignore a patch look cleaner "
                "to it than clean ones. "
                "Backdoored against placebo: whether it tells the two. Flagged: the share of "
                "placebo models that a verdict at 5 % false alarms calls backdoored; its threshold "
                "lies just over clean models' scores, so that what is a little above them counts.",
            ],
            [controls_table(results)],
        ),
        *_bar_sections(results),
        Section(
            "A verdict at 5 % false alarms",
            [
                "Shares of clean and of backdoored test models with a conformal p-value of at "
                "most 0.05 against the 20 clean calibration models of the zoo. The threshold is "
                "their largest score: 5 % false alarms hold on average over calibrations, and "
                "one in twenty of them allows more than 14 %. More clean models narrow that.",
            ],
            [rates_table(results)],
        ),
        Section(
            "Seconds a model",
            [
                "Wall time in a process with one thread, reading the model's file included, "
                "while other processes were at work. The paper, on a P100: litmus 10 to 20 ms, "
                "its baseline 3, 4 and 30 minutes.",
            ],
            [seconds_table(results)],
        ),
        Section(
            "How many fitting models",
            ["Litmus patterns, M = 10; dashed: placebo models against clean ones."],
            figures=[
                StudyFigure("curve", "AUC by the number of fitting models.", curve_figure(results))
            ],
        ),
        Section(
            "Ablations",
            [
                "Each row differs from the first in one thing; M = 10, fitted on "
                + ", ".join(
                    f"{found['ablation_models']} models ({NAMES.get(name, name)})"
                    for name, found in results.items()
                )
                + ". Nothing was chosen by these figures: they are of the test models.",
            ],
            [ablation_table(name, found) for name, found in results.items()],
        ),
        *(section for name, found in results.items() for section in _of_one_set(name, found)),
        Section(
            "Patterns and triggers",
            ["The ten litmus patterns, and triggers of the zoos, at the places of one draw."],
            figures=[*pictures.values()],
        ),
        _zoo_section(results),
    ]
    return StudyPage(
        title="Universal Litmus Patterns",
        summary=[
            "Kolouri, Saha, Pirsiavash, Hoffmann (2019): a few optimised images tell from a "
            "network's logits whether it is backdoored. The paper's Table 1, Figures 4 and 5 and "
            "section 4.4, on zoos in which clean and backdoored models differ in nothing but the "
            "backdoor, and how far the patterns carry beyond the attacks that they learned from.",
        ],
        sections=sections,
        footer=" ".join(
            f"{NAMES.get(name, name)}: {found['command']}, seed {found['zoo']['seed']} (torch "
            f"{found['torch']}; {found['hardware']})."
            for name, found in results.items()
        )
        + " Every number is in results.json beside this page.",
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
                f"{ratio:,.0f}x" if ratio else "-",
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


def _bar_sections(results: Results) -> list[Section]:
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
    if not rows:
        return []
    return [
        Section(
            "Only backdoors that work",
            [
                "AUC when backdoored test models under the bar are left out: those whose trigger "
                "succeeds on under 90 % of its images, or that cost five points of accuracy.",
            ],
            [StudyTable(["", "backdoored test models", *methods.values()], rows)],
        )
    ]


def _of_one_set(name: str, found: Results) -> list[Section]:
    """Return Figure 4 and the variants, where the set has them."""
    title = NAMES.get(name, name)
    sections = []
    if found["poison"]:
        sections.append(
            Section(
                f"{title}: poison ratio (Figure 4)",
                [
                    "The detectors that learned from the first row's ratio, on models whose "
                    "attackers poisoned less, with triggers of their own. The paper learns anew "
                    "from models of each ratio.",
                ],
                [_variant_table(found["poison"], "poison ratio, percent")],
                [
                    StudyFigure(
                        f"poison-{name}",
                        "Attack success and AUC by poison ratio.",
                        poison_figure(found),
                    )
                ],
            )
        )
    if found["carries"]:
        sections.append(
            Section(
                f"{title}: how far it carries",
                [
                    "Test models that differ from the fitting models in one thing. Mixed: litmus "
                    "patterns that learned from a few models of every row as well "
                    f"({found['mixed_pairs']} pairs each). A dash: the detector is tied to one "
                    "architecture.",
                ],
                [_variant_table(found["carries"], "test models")],
                [
                    StudyFigure(
                        f"carries-{name}",
                        "AUC by what the test models have that the fitting models had not.",
                        carries_figure(found),
                    )
                ],
            )
        )
    return sections


def _variant_table(variants: Results, label: str) -> StudyTable:
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


def _zoo_section(results: Results) -> Section:
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
    return Section(
        "The zoos",
        [
            *(f"{NAMES.get(name, name)}: {found['setting']}" for name, found in results.items()),
            "Under the bar: success under 90 % or accuracy five points under the twin's; such "
            "models are counted in all figures. Seconds to build one: training, saving, reading "
            "back and measuring, in one of two processes.",
        ],
        [StudyTable(head, rows)],
    )


def _at(found: Results, count: str) -> dict[str, Any]:
    """Return the figures of one number of patterns."""
    return {key: values[count] for key, values in found.items()}


def _beside(paper: Results | None, key: str) -> str:
    return f" ({paper[key]:.1%})" if paper else ""
