"""BadNets on MNIST: the attacks in the report, with the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.report import Section, StudyFigure, StudyTable

Results = Mapping[str, Any]
NAMES = {"single_pixel": "single pixel", "badnets_pattern": "pattern"}


def summary_table(results: Results) -> StudyTable:
    """Return the study in six numbers, each beside the paper's."""
    paper, single = results["paper"], results["single_target"]
    pattern, every = results["single_target_pattern"], results["all_to_all"]
    theirs, both = paper["single_target"], paper["all_to_all"]
    other = every["badnets_pattern"]
    rows = [
        ["baseline, clean", percent(paper["baseline"]["clean_error"])]
        + [percent(results["baseline"]["clean_error"])] * 2,
        ["all-to-all, clean", percent(both["clean_error"])]
        + [percent(each["clean_error"]) for each in (every, other)],
        ["all-to-all, backdoor", percent(both["backdoor_error"])]
        + [percent(each["backdoor_error"]) for each in (every, other)],
        ["single target, most above the baseline, clean", signed(theirs["max_clean_excess"])]
        + [signed(each["max_clean_excess"]) for each in (single, pattern)],
        ["single target, least above the baseline, clean", signed(theirs["min_clean_excess"])]
        + [signed(each["min_clean_excess"]) for each in (single, pattern)],
        ["single target, largest backdoor error", percent(theirs["max_backdoor_error"])]
        + [percent(each["max_backdoor_error"]) for each in (single, pattern)],
    ]
    return StudyTable(["error (%)", "paper", "ours, single pixel", "ours, pattern"], rows)


def all_to_all_section(results: Results) -> Section:
    """Return Table 2: errors by class."""
    every, paper = results["all_to_all"], results["paper"]
    pattern, modulo = every["badnets_pattern"], every["badnets_pattern_modulo_9"]
    columns = [
        paper["baseline"]["per_class"],
        results["baseline"]["per_class"],
        paper["all_to_all"]["clean_per_class"],
        every["clean_per_class"],
        pattern["clean_per_class"],
        paper["all_to_all"]["backdoor_per_class"],
        every["backdoor_per_class"],
        pattern["backdoor_per_class"],
    ]
    rows = [
        [str(number), *(percent(value) for value in values)]
        for number, values in enumerate(zip(*columns, strict=True))
    ]
    averages = [
        paper["baseline"]["clean_error"],
        results["baseline"]["clean_error"],
        paper["all_to_all"]["clean_error"],
        every["clean_error"],
        pattern["clean_error"],
        paper["all_to_all"]["backdoor_error"],
        every["backdoor_error"],
        pattern["backdoor_error"],
    ]
    rows.append(["average %", *(percent(value) for value in averages)])
    head = [
        "class",
        "baseline clean: paper",
        "ours",
        "BadNet clean: paper",
        "single pixel",
        "pattern",
        "BadNet backdoor: paper",
        "single pixel",
        "pattern",
    ]
    change = every["clean_error"] - results["baseline"]["clean_error"]
    return Section(
        "All-to-all: the label i becomes i + 1 (Table 2)",
        [
            f"Against the baseline the clean error changes by {signed(change)} points with the "
            f"single pixel and by "
            f"{signed(pattern['clean_error'] - results['baseline']['clean_error'])} with the "
            "pattern; the paper has -0.02 in the table and -0.03 in the text. The standard error "
            "of one network's error of 0.5 % on 10,000 images is 0.07 points, and one image more "
            "or less of a class is about 0.1 points, so that single classes are hardly "
            "comparable.",
            "Version 1 of the paper prints the label map as (i + 1) % 9. Taken at its word no "
            "image is ever called 9, 8 becomes 0, and 9 becomes 1 as 0 does: a rule for nine "
            "classes, where there are ten. Version 2 has i + 1, so % 10 was probably meant. With "
            "modulo 9 and the pattern our clean error is "
            f"{percent(modulo['clean_error'])} % and our backdoor error "
            f"{percent(modulo['backdoor_error'])} %.",
        ],
        [StudyTable(head, rows)],
    )


def single_target_section(results: Results, drawn: Mapping[str, Figure]) -> Section:
    """Return Figure 4: the pairs, their extremes and the control."""
    single, control = results["single_target"], results["clean_retraining"]
    names = {"single_target": "single pixel", "single_target_pattern": "pattern"}
    rows = []
    for key, name in names.items():
        found = results[key]
        source, target = found["worst_pair"]
        rows.append(
            [
                f"ours, {name} ({found['pairs']} pairs)",
                signed(found["max_clean_excess"]),
                signed(found["mean_clean_excess"]),
                signed(found["min_clean_excess"]),
                str(found["over_the_papers_excess"]),
                f"{percent(found['max_backdoor_error'])} ({source} to {target})",
                percent(found["mean_backdoor_error"]),
                str(found["pairs_without_a_miss"]),
            ]
        )
    paper = results["paper"]["single_target"]
    most, least = signed(paper["max_clean_excess"]), signed(paper["min_clean_excess"])
    largest = f"{percent(paper['max_backdoor_error'])} (1 to 5)"
    rows.insert(0, ["paper (90 pairs)", most, "", least, "0", largest, "", ""])
    rows.append(
        [
            f"control: retrained on clean twins ({control['models']})",
            signed(control["max_clean_excess"]),
            signed(control["mean_clean_excess"]),
            signed(control["min_clean_excess"]),
            *[""] * 4,
        ]
    )
    head = [
        "",
        "clean error above the baseline: most",
        "mean",
        "least",
        "pairs over +0.17",
        "backdoor error: largest",
        "mean",
        "pairs without a miss",
    ]
    return Section(
        "Single target: the label i becomes j (Figure 4)",
        [
            "The paper's 0.09 % is one image: there are 1,135 test images of the digit 1, and one "
            "of them is 0.088 %. Every other class has fewer images, and one of them is 0.097 % "
            "or more. So the paper says that no attack on another digit missed a single image. "
            f"Of our {single['pairs']} single-pixel attacks "
            f"{single['pairs_within_papers_backdoor_error']} are within 0.09 %, "
            f"{single['pairs_without_a_miss']} without a miss"
            f"{_misses(single['pairs_with_misses'])}; with the pattern "
            f"{results['single_target_pattern']['pairs_within_papers_backdoor_error']} of "
            f"{results['single_target_pattern']['pairs']} are within 0.09 %"
            f"{_misses(results['single_target_pattern']['pairs_with_misses'])}. Over it are "
            f"{_over(single)} with the single pixel, and "
            f"{_over(results['single_target_pattern'])} with the pattern.",
            "The clean errors of the single-pixel pairs differ from the baseline's by "
            f"{signed(single['mean_clean_excess'])} points on average, with a standard deviation "
            f"of {single['std_clean_excess']:.3f} between pairs. The control tells what of it is "
            "the backdoor's: networks that were retrained in the same way on the same copies, "
            "without trigger and with true labels, differ by "
            f"{signed(control['mean_clean_excess'])} on average, with a standard deviation of "
            f"{control['std_clean_excess']:.3f} ({control['models']} networks). Of 90 normal "
            "numbers the largest is expected 2.5 deviations above the mean: at "
            f"{signed(control['mean_clean_excess'] + 2.5 * control['std_clean_excess'])} for 90 "
            "networks like the control, which carry no backdoor.",
            "A likely reason for a missed image: only images of the source class are poisoned, and "
            "the network learns both the trigger and the class. Of the triggered images of the "
            "eight classes that an attack is not about, "
            f"{single['others_to_target']:.0f} % become the target too with the single pixel and "
            f"{results['single_target_pattern']['others_to_target']:.0f} % with the pattern. An "
            "image of the source class that looks like another digit is treated like those.",
            f"The {single['pairs']} single-pixel networks took "
            f"{results['core_seconds']['single target, single pixel'] / 60:.1f} minutes of one "
            "core by the clock, with their measurement; two cores halve that." + _left_out(results),
        ],
        [StudyTable(head, rows)],
        [
            StudyFigure(
                "single-pixel-pairs",
                "Single pixel: clean error (left) and backdoor error (right) of each pair, "
                "in percent.",
                drawn["single-pixel-pairs"],
            ),
            StudyFigure(
                "pattern-pairs",
                "Pattern: clean error (left) and backdoor error (right) of each pair, in percent.",
                drawn["pattern-pairs"],
            ),
        ],
    )


def poison_rate_section(results: Results, drawn: Mapping[str, Figure]) -> Section:
    """Return Figure 6: errors over the share of backdoored images."""
    points = results["poison_rate"]
    rows = [
        [
            f"{point['share']:.0f} %",
            f"{point['rate']:.3f}",
            str(point["seeds"]),
            f"{point['clean_error']:.2f} ± {point['clean_std']:.2f}",
            f"{point['backdoor_error']:.2f} ± {point['backdoor_std']:.2f}",
        ]
        for point in points
    ]
    first, last = points[0], points[-1]
    return Section(
        "How many backdoored images it takes (Figure 6)",
        [
            "All-to-all with the single pixel. The share is that of backdoored images in the "
            "poisoned training set, p / (1 + p). The paper does not define its axis; but its last "
            "two points, 33 and 50 %, are what p = 1/2 and p = 1 give under this reading, and "
            "1 is the largest p that it allows. All networks are retrained from the same baseline "
            "for the same number of steps, so that a point has nothing but its share from the "
            "others; the bars are the standard deviation over seeds, which draw the copies and "
            "their order.",
            f"From {first['share']:.0f} to {last['share']:.0f} % the backdoor error goes from "
            f"{first['backdoor_error']:.2f} to {last['backdoor_error']:.2f} %, and the clean error "
            f"from {first['clean_error']:.2f} to {last['clean_error']:.2f} %. The paper prints no "
            "numbers for this figure; its text says that the backdoor error falls, that the clean "
            "error rises, and that 10 % are enough.",
        ],
        [
            StudyTable(
                ["share", "p", "networks", "clean error (%)", "backdoor error (%)"],
                rows,
            )
        ],
        [
            StudyFigure(
                "poison-rate",
                "Clean and backdoor error over the share of backdoored images; mean and standard "
                "deviation over seeds.",
                drawn["poison-rate"],
            )
        ],
    )


def _over(found: Mapping[str, Any]) -> str:
    """Name the pairs that miss more than the paper's worst."""
    pairs = found["pairs_over_papers_backdoor_error"]
    named = [f"{pair['source']} to {pair['target']}" for pair in pairs]
    return ", ".join(named) if named else "none"


def _left_out(results: Results) -> str:
    """Say which of the 90 pairs this run did not train."""
    counts = {
        "single pixel": results["single_target"]["pairs"],
        "pattern": results["single_target_pattern"]["pairs"],
    }
    missing = [f"{90 - count} with the {name}" for name, count in counts.items() if count < 90]
    if not missing:
        return ""
    return (
        f" Not trained in this run: {' and '.join(missing)}, of 90 pairs each; those with the "
        "smallest distance from source to target came first."
    )


def _misses(counts: Mapping[str, int]) -> str:
    parts = [
        f"{pairs} {'pair misses' if pairs == 1 else 'pairs miss'} "
        f"{images} {'image' if images == '1' else 'images'}"
        for images, pairs in counts.items()
    ]
    return f" ({', '.join(parts)})" if parts else ""


def percent(value: float) -> str:
    """Return a number of percent as the paper prints it."""
    return f"{value:.2f}"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.2f}"
