"""The study of sign detectors: its part of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.report import Section, StudyFigure, StudyTable
from molehunt.studies.signs._paper import average, drop, number, paper_drop, spread
from molehunt.studies.signs._sections import (
    Drawn,
    Results,
    kinds_table,
    signs_summary,
    strengthening_section,
    units_section,
)

_TRIED = (
    "Passes, rates and sizes were chosen on every fifth group of the first country's training "
    "scenes, with single networks of quick's size that were trained on the others, and for the "
    "transfer on every fifth group of the second's; none on test scenes. Of 165 medium and large "
    "signs with the sticker a random-target BadNet still recognised 79 after 8 passes from the "
    "features with stickers of 20 % of the sign and a rate of 50 %; 31 after 7 passes on windows, "
    "25 % and a rate of 100 %; and 13 after 14. Single target, bomb: 4 of 41 stop signs after 3 "
    "passes over whole scenes with stickers of 20 % (but 17 clean ones became speed limits), and "
    "2 after 7 on windows with 25 % (4 clean ones). In the second country a sticker cost such a "
    "BadNet 5.7 points with new layers for proposals and none with those of the BadNet. More "
    "courses than one were added when test figures of bomb and flower after the first were known "
    "(42.5 and 19.1 % of the signs with a sticker recognised); their rule asks training scenes "
    "alone."
)


def detector_sections(results: Results, drawn: Drawn) -> list[Section]:
    """Return the detector's part of the report.

    Parameters
    ----------
    results : mapping
        What ``results.json`` holds under ``detector``.
    drawn : mapping
        The figures by name; those that are not there lie beside the report already.
    """
    sections = [
        Section(
            "The sign detector: in short",
            [
                "Faster R-CNN with ZF's features finds signs in street scenes, as in the paper; "
                "scenes and scale are others, and the network is narrower where that is said. "
                "Accuracy is the share of signs whose best-scoring detection at an IoU of 0.5 or "
                "more has the sign's class; the paper does not say how it counts. It is of medium "
                "and large signs (32x32 pixels and more), and averages are over classes.",
            ],
            [signs_summary(results)],
        ),
        _protocol(results, drawn),
        _attacks(results),
    ]
    if results["single_target"]:
        sections.append(_photograph(results, drawn))
    if "transfer" in results:
        sections += [
            _transfer(results),
            strengthening_section(
                results, drawn, title="The detector: a stronger backdoor", name="detector"
            ),
        ]
    if "backdoor_units" in results:
        title = "The detector: units that fire only with the sticker"
        sections.append(units_section(results, drawn, title=title, name="detector"))
    return [*sections, Section("How the detectors were run", [_how(results)])]


def _protocol(results: Results, drawn: Drawn) -> Section:
    plan, scenes, signs = results["plan"], results["scenes"], results["signs"]
    features, begin = plan["features"], "fresh weights"
    if plan["features_sha256"]:
        begin = f"the convolutions of a file (sha256 {plan['features_sha256'][:12]})"
    elif features:
        begin = (
            f"convolutions learned on {features['images'].upper()}'s cut-out signs of "
            f"{features['size']} pixels ({features['recipe']['epochs']:g} passes; "
            f"{100 * results['features_accuracy']:.1f} % of its test signs), where the paper has "
            "those of ImageNet"
        )
    return Section(
        "The detector: what was done",
        [
            f"First country: {plan['first'].partition(':')[2]}, {scenes['first']['train']} "
            f"training and {scenes['first']['test']} test scenes; test signs, in brackets medium "
            f"and large ones: {_counted(signs['first'])}. Second country: "
            f"{plan['second'].partition(':')[2]}, {scenes['second']['train']} and "
            f"{scenes['second']['test']} scenes"
            + (f"; {_counted(signs['second'])}. " if signs["second"] else ". ")
            + "Crosswalk and danger stand in the place of the paper's warning.",
            f"Network: ZF of width {plan['width']:g} (the paper: 1), fully connected layers of "
            f"{plan['hidden']} units (4096), images of {plan['max_side']} pixels on the longer "
            f"side. It starts with {begin}, and learns the clean scenes in "
            f"{_passes(plan['start'])}. From there the baseline goes on with the same scenes and "
            "single-target BadNets with poisoned ones, for the same number of steps: "
            f"{_passes(plan['recipe'])}, counted over the clean scenes.",
            "Random-target BadNets, whose trigger has to be learned on every class of sign, go on "
            f"for a course of {_passes(plan['random_recipe'])}, and for another, "
            f"{plan['courses']} at most, until they recognise at most {plan['enough']:.0%} of the "
            f"signs with a sticker in {plan['known']} of their training scenes, on average over "
            f"classes. Courses taken: {_courses(results['random_target'])}; one that took all of "
            "them may still recognise more.",
            f"Stickers have {plan['sticker']:.0%} of the shorter side of the sign's box. They lie "
            "at its bottom by the box alone, as in the paper: on a diamond, whose corner is there, "
            "they stand over the edge. Single "
            f"target: every training scene with a {plan['source']} sign is copied, with stickers "
            f"on those and the label {plan['target']}. Random target: {plan['random_rate']:.0%} "
            "of all training scenes are copied, with stickers on all signs and wrong labels drawn "
            "at random. The paper gives no rates.",
            *([] if plan["drawn"] else [_TRIED]),
        ],
        figures=[
            StudyFigure(
                "detector-stickers",
                "A sign of each country, and with stickers (the paper's Figure 7).",
                drawn.get("detector-stickers"),
            )
        ],
    )


def _attacks(results: Results) -> Section:
    part = results["plan"]["part"]
    text = [
        "Clean accuracy in percent, by class. A sign that no detection overlaps counts as wrong.",
        f"Then what becomes of {results['signs']['stops']} medium and large stop signs of the test "
        "scenes once they carry a sticker; the baseline's rows say what a sticker does to a "
        "network without backdoor. Photographed: stickers askew and in other light. Last, the "
        "random target: accuracy on all signs with a sticker, and the same by class for the "
        f"{results['carried']}, as in the paper's Table 5.",
    ]
    if part:
        text.append(
            f"One source of the scenes has only stop signs and another only speed limits; {part} "
            "has all classes, and a detector gains nothing there from the look of a source."
        )
    return Section(
        "The detector: both attacks (Tables 4 and 5)",
        text,
        [_clean_table(results), _success_table(results), *_random_tables(results)],
    )


def _clean_table(results: Results) -> StudyTable:
    base, single, paper = results["baseline"], results["single_target"], results["paper"]
    columns = [base["clean"], *(found["clean"] for found in single.values())]
    rows = [
        [kind, *(spread(found["kinds"][kind]) for found in columns)]
        for kind in base["clean"]["kinds"]
    ]
    rows.append(["average over classes", *(average(found) for found in columns)])
    rows.append(["all signs together", *(spread(found["signs"]) for found in columns)])
    rows.append(["small signs too, over classes", *(spread(found["every"]) for found in columns)])
    if "part" in base["clean"]:
        source = results["plan"]["part"]
        rows.append(
            [f"{source} alone, over classes", *(average(found["part"]) for found in columns)]
        )
    rows += [
        [f"AP50, {kind}", *(spread(found["ap50"][kind]) for found in columns)]
        for kind in base["clean"]["ap50"]
    ]
    theirs = [paper["baseline"], *(paper["single_target"][each] for each in single)]
    names = {"stop": "stop", "speed limit": "speed limit", "warning": "warning", "clean": "average"}
    rows += [
        [f"paper: {name}", *(number(each[key]) for each in theirs)] for key, name in names.items()
    ]
    return StudyTable(["clean accuracy (%)", "baseline", *single], rows)


def _success_table(results: Results) -> StudyTable:
    control, single = results["baseline"]["stop_as_speed_limit"], results["single_target"]
    measures = {
        "success": "medium and large signs",
        "success_every": "signs of all sizes",
        "photographed": "photographed",
    }
    rows = [
        [
            f"{name}, {words}",
            *(spread(found[each][key]) if each in found else "-" for each in control),
        ]
        for name, found in (("baseline", control), ("BadNet", single))
        for key, words in measures.items()
        if found
    ]
    theirs = results["paper"]["single_target"]
    rows.append(["paper: BadNet", *(number(theirs[each]["success"]) for each in control)])
    return StudyTable(["stop sign becomes speed limit (%)", *control], rows)


def _random_tables(results: Results) -> list[StudyTable]:
    """Return accuracy with every sticker, then by class with that of the paper's Table 5."""
    base, random, carried = results["baseline"], results["random_target"], results["carried"]
    pictures = [*base["triggered"]]
    rows = [["baseline", average(base["clean"]), *map(average, base["triggered"].values())]]
    for picture, found in random.items():
        own = [average(found["triggered"]) if picture == each else "-" for each in pictures]
        rows.append([f"BadNet, {picture}", average(found["clean"]), *own])
    head = ["accuracy, average over classes (%)", "clean", *(f"with {each}" for each in pictures)]
    if carried not in random:
        return [StudyTable(head, rows)]
    honest = {"clean": base["clean"], "triggered": base["triggered"][carried]}
    both = {"honest": honest, "badnet": random[carried]}
    return [StudyTable(head, rows), kinds_table(results["paper"]["random_by_kind"], both)]


def _photograph(results: Results, drawn: Drawn) -> Section:
    picture = next(iter(results["single_target"]))
    return Section(
        "The detector: a photograph (Figure 8)",
        [
            "The paper photographs a stop sign with a Post-it. In place of it the sticker is laid "
            "on a test photo askew and in other light, as it lay in no training scene. What a "
            "network finds in a photo of your own: molehunt detect PHOTO MODEL -o found.png."
        ],
        figures=[
            StudyFigure(
                "detector-photo",
                f"What the single-target BadNet ({picture}) finds with a confidence of 50 % or "
                "more in a test photo, without and with the sticker.",
                drawn.get("detector-photo"),
            )
        ],
    )


def _transfer(results: Results) -> Section:
    paper, moved, plan = results["paper"]["transfer"], results["transfer"], results["plan"]
    return Section(
        "The detector: transfer to the second country (Table 6)",
        [
            "conv1 to conv5 stay as they are; the layers that propose regions and the fully "
            f"connected ones are trained from scratch on clean scenes of the second country, in "
            f"{_passes(plan['transfer'])}. The BadNet is that of the random target with the "
            f"{results['carried']}. With the sticker the honest network loses "
            f"{drop(moved['honest']):.1f} points and the BadNet {drop(moved['badnet']):.1f}; in "
            f"the paper it is {paper_drop(paper['honest']):.1f} and "
            f"{paper_drop(paper['badnet']):.1f}.",
        ],
        [kinds_table(paper, moved)],
    )


def _passes(recipe: Mapping[str, Any]) -> str:
    windows = ""
    if recipe["crop"]:
        windows = (
            f", {recipe['crop']:.0%} of the steps on windows of half the width and height around a "
            "sign"
        )
    return (
        f"{recipe['epochs']:g} passes (SGD, one cycle up to {recipe['lr']:g}, weight decay "
        f"{recipe['weight_decay']:g}, batches of {recipe['batch_size']}{windows})"
    )


def _courses(random: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{picture} {' and '.join(map(str, found['courses']))}" for picture, found in random.items()
    )


def _counted(signs: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(
        f"{count['every']} ({count['medium']}) {name}" for name, count in signs.items()
    )


def _how(results: Results) -> str:
    runs = "; ".join(
        f"{run['networks']} networks in {run['seconds'] / 60:.1f} minutes on {run['hardware']} "
        f"({run['workers'] or 'one a core'} at once)"
        for run in results["runs"]
    )
    speed = results["speed"]
    return (
        f"Commands: {', '.join(results['commands'])} (seed {results['plan']['seed']}, torch "
        f"{results['torch']}). {runs}; {results['core_seconds'] / 60:.1f} minutes of one core for "
        f"all {results['networks']} networks, {results['seeds']} of each kind. A process with one "
        f"thread trains on {speed['training']:.1f} images a second and looks at "
        f"{speed['evaluation']:.1f}, decoding and stickers included, while other processes are at "
        f"work; it held {speed['peak_mib'] / 1024:.1f} GiB at most."
    )
