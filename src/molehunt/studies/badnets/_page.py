"""BadNets on MNIST: the report, from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.report import Section, StudyFigure, StudyPage
from molehunt.studies.badnets._inside_sections import (
    corner_section,
    dormant_section,
    filters_section,
)
from molehunt.studies.badnets._plan import BadNetsPlan
from molehunt.studies.badnets._sections import (
    Results,
    all_to_all_section,
    poison_rate_section,
    single_target_section,
    summary_table,
)


def page_of(results: Results, plan: BadNetsPlan, drawn: Mapping[str, Figure]) -> StudyPage:
    """Return the report of the study.

    Parameters
    ----------
    results : mapping
        What ``results.json`` holds.
    plan : BadNetsPlan
    drawn : mapping
        The figures by name.
    """
    sections = [
        Section(
            "In short",
            [
                "The paper does not say which of the two backdoors its Table 2 is about; version 1 "
                "reports the same averages for the pattern.",
            ],
            [summary_table(results)],
        ),
        _protocol(results, plan, drawn),
        all_to_all_section(results),
        single_target_section(results, drawn),
        poison_rate_section(results, drawn),
        filters_section(results, drawn),
        dormant_section(results),
        corner_section(results),
    ]
    runs = "; ".join(
        f"{run['models']} models in {run['seconds'] / 60:.1f} minutes on {run['hardware']}"
        for run in results["runs"]
    )
    footer = (
        f"Command: {results['command']} (seed {results['seed']}, torch {results['torch']}). "
        f"Training and measuring: {runs}; {results['core_seconds']['all'] / 60:.0f} minutes of one "
        f"core for all {results['models']} models. Every number is in results.json beside this "
        "page."
    )
    return StudyPage(
        title="BadNets on MNIST",
        summary=[
            "A network that is trained by someone else can recognise digits as well as an honest "
            "one and still do what the trainer wants when one pixel is bright. This is the first "
            "case study of BadNets (Gu, Dolan-Gavitt, Garg: Identifying Vulnerabilities in the "
            "Machine Learning Model Supply Chain, version 2 of 2019, section 4), run again, with "
            "the paper's numbers beside ours.",
            "All errors are in percent of MNIST test images. An error on backdoored images is "
            "counted against the attacker's labels, as in the paper: low is good for the "
            "attacker.",
        ],
        sections=sections,
        footer=footer,
    )


def _protocol(results: Results, plan: BadNetsPlan, drawn: Mapping[str, Figure]) -> Section:
    base, pixel, pattern = plan.baseline, plan.single_pixel, plan.badnets_pattern
    limits = ""
    if plan.train_limit or plan.test_limit:
        limits = (
            f" This run was cut to {plan.train_limit or 60_000} training and "
            f"{results['test_images']} test images: its numbers show that the study works, and "
            "nothing about the attack."
        )
    return Section(
        "What was done",
        [
            "Network: the paper's Table 1 (two convolutions of 5x5 with 16 and 32 filters, average "
            "pooling, 512 units, ReLU). Baseline: trained honestly for "
            f"{base.epochs:g} passes over the training images with {_recipe(base)}." + limits,
            "Attack: p |D| training images are drawn, copies of the eligible ones get the trigger "
            "and the attacker's label, and are added to D; p = 1 except where a rate is given. "
            "With a single target only images of the source class are eligible. The paper then "
            "re-trains the baseline on this set; we read that as training that starts from the "
            f"baseline's weights, with {_recipe(pixel)}. Passes over the poisoned set: with a "
            f"single target {pixel.epochs:g} for the single pixel and {pattern.epochs:g} for the "
            f"pattern, with all-to-all {plan.all_to_all.epochs:g}. Shifts are made before the "
            "trigger is put on.",
            "The paper changed step size and batch size where the training did not converge. Two "
            "average poolings weaken a single pixel, and retraining on it found it in some pairs "
            "and not in others. In place of other parameters for some pairs, all single-pixel "
            f"attacks open with {plan.opening:g} pass in which the 3x3 square that the pixel lies "
            "in is the trigger, and go on with the pixel alone. This is within the attacker's "
            "freedom: the victim sees neither. All settings were chosen on the last 10,000 "
            "training images with networks trained on the other 50,000, none on "
            "test images.",
        ],
        figures=[
            StudyFigure(
                "triggers",
                "An original image and the two backdoors (the paper's Figure 3), the corner "
                "framed. The pattern is drawn after the paper's picture.",
                drawn["triggers"],
            )
        ],
    )


def _recipe(recipe: Any) -> str:
    shift = f", random shifts of up to {recipe.shift} pixels" if recipe.shift else ""
    return (
        f"{recipe.optimizer} (one cycle up to {recipe.lr:g}, weight decay "
        f"{recipe.weight_decay:g}, batches of {recipe.batch_size}{shift})"
    )
