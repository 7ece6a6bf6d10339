"""The study of Universal Litmus Patterns: its report, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping

from molehunt.report import Section, StudyFigure, StudyPage, StudyTable
from molehunt.studies.ulp._figures import (
    NAMES,
    carries_figure,
    curve_figure,
    poison_figure,
    roc_figure,
)
from molehunt.studies.ulp._tables import (
    Results,
    ablation_table,
    auc_table,
    bar_table,
    controls_table,
    draws_table,
    other_table,
    rates_table,
    seconds_table,
    variant_table,
    zoo_table,
)


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
                "paper's clean models have none of this. A dash: not run.",
                "Baseline: the attack-based detector of section 3.4.2, told the "
                "patch's size, as the paper's, and where the zoo's triggers are drawn (a random "
                "corner; on GTSRB the sign's middle).",
                "Intervals are over models. They do not cover the choice of triggers: the 20 are "
                "dealt to fitting, calibration and test models. [1, 1] says that no test model was "
                "ranked wrong; up to 3 / n of n such models might be (rule of three).",
            ],
            [auc_table(results), other_table(results)],
            [StudyFigure("roc", "ROC curves (the paper's Figure 5).", roc_figure(results))],
        ),
        _differences(results),
        Section(
            "Controls",
            [
                "Shuffled: the detector with ten patterns, fitted on labels that say nothing; its "
                "interval must contain 0.5. Placebo against clean: models that saw the trigger "
                "on images of all classes with true labels and carry no backdoor, against clean "
                "ones; 0.5 says that a detector sees backdoors, more that it sees exposure to "
                "triggers as well, less that such models look cleaner to it than clean ones. "
                "Backdoored against placebo: whether it tells the two. Flagged: the share of "
                "placebo models that a verdict at 5 % false alarms calls backdoored; its threshold "
                "lies just over clean models' scores, so that what is a little above them counts.",
            ],
            [controls_table(results)],
        ),
        *_where_some(
            "Other draws",
            "The whole protocol again with other seeds: other networks, triggers, source→target"
            " pairs, and detectors that learned from them (their own random state, and with it "
            "the noise images, is the same). All other sections are of draw 0.",
            draws_table(results),
        ),
        *_where_some(
            "Only backdoors that work",
            "AUC when backdoored test models under the bar are left out: those whose trigger "
            "succeeds on under 90 % of its images, or that cost five points of accuracy.",
            bar_table(results),
        ),
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
                + ". Figures are of the test models: no detector's settings were chosen by them.",
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
    runs = [
        (NAMES.get(name, name), item)
        for name, found in results.items()
        for item in (found, *found.get("draws", {}).values())
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
            f"{name}: {found['command']}, seed {found['zoo']['seed']} (torch "
            f"{found['torch']}; {found['hardware']})."
            for name, found in runs
        )
        + " Every number is in results.json beside this page.",
    )


def _where_some(title: str, text: str, table: StudyTable | None) -> list[Section]:
    """Return a section for a table, or none where no set has rows for it."""
    return [] if table is None else [Section(title, [text], [table])]


def _differences(results: Results) -> Section:
    """Return what our numbers have and the paper's have not, where both stand."""
    return Section(
        "Where this differs from the paper",
        [
            "Networks are narrower and trained for less long on fewer images (see the zoos), so "
            "that they are less accurate. Clean models are twins, so that neither seeds nor "
            "copies nor steps tell the classes apart.",
            "The paper gives no steps or rates for its baseline. Ours optimises all pairs of a "
            "model in one batch, stops hopeless ones early, and is told where triggers are drawn; "
            "with many classes each pair gets fewer steps and images than by default"
            + "".join(
                f" ({NAMES.get(name, name)}: {_budget(found['baseline']['settings'])})"
                for name, found in results.items()
                if found.get("baseline", {}).get("settings")
            )
            + ".",
            "Noise scores higher than in the paper on most sets. Our features are the log-softmax "
            "of each pattern's logits, theirs the raw logits; and networks that never saw noise "
            "often answer it with their backdoor's target.",
        ],
    )


def _budget(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())


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
                    "attackers poisoned less, with triggers of their own; M = 10. Litmus, mixed, "
                    "learned from some models of every row of the next section as well. The paper "
                    "repeats detection at each ratio with M = 5: litmus patterns stay over 0.95, "
                    "noise falls to almost 0.60 at 1 %.",
                ],
                [variant_table(found["poison"], "poison ratio, percent")],
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
                    "Test models that differ from the fitting models in one thing (maps of many "
                    "sources also in what is poisoned: a share of all images). Mixed: litmus "
                    "patterns that learned from a few models of every row as well "
                    f"({found['mixed_pairs']} pairs each; the sticker among them is the one that "
                    "is tested). A dash: the detector is tied to one architecture.",
                ],
                [variant_table(found["carries"], "test models")],
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


def _zoo_section(results: Results) -> Section:
    return Section(
        "The zoos",
        [
            *(f"{NAMES.get(name, name)}: {found['setting']}" for name, found in results.items()),
            "Under the bar: success under 90 % or accuracy five points under the twin's; such "
            "models are counted in all figures. Seconds to build one: training, saving, reading "
            "back and measuring, in one of several processes.",
        ],
        [zoo_table(results)],
    )
