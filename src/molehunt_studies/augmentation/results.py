"""From scores to learning curves and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molehunt.arrays import Floats
from molehunt.study import Bench, Records, zoo_figures
from molehunt_studies.augmentation.fits import ChoiceRecord, FitRecord, Scores, choose
from molehunt_studies.augmentation.plan import OTHER, OWN, PLAIN, AugmentationPlan

_BOOTSTRAPS = 2000


def measures(bench: Bench[AugmentationPlan], records: Records) -> dict[str, Any]:
    """Return AUC by kind and number of models, and what each kind adds to it."""
    plan = bench.plan
    choices: Sequence[ChoiceRecord] = records["choices"]
    chosen = choose(choices)
    fits: Sequence[FitRecord] = records["fits"]
    curves, gains = {}, {}
    for zoo in (OWN, OTHER):
        wins = {
            (kind, size): _wins(fits, zoo, kind, size)
            for kind in (PLAIN, *chosen)
            for size in plan.sizes
        }
        curves[zoo] = {
            kind: {
                str(size): {
                    "auc": float(wins[kind, size].mean()),
                    "seeds": wins[kind, size].mean((1, 2)).tolist(),
                    "gain": _gain([wins[kind, size] - wins[PLAIN, size]]),
                }
                for size in plan.sizes
            }
            for kind in (PLAIN, *chosen)
        }
        gains[zoo] = {
            kind: {
                "all": _gain([wins[kind, size] - wins[PLAIN, size] for size in plan.sizes]),
                "half": _gain(
                    [
                        wins[kind, size] - wins[PLAIN, 2 * size]
                        for size in plan.sizes
                        if 2 * size in plan.sizes
                    ]
                ),
            }
            for kind in chosen
        }
    return {
        "curves": curves,
        "gains": gains,
        "choices": [
            {"kind": each.kind, "settings": each.settings, "auc": _mean_auc(choices, each)}
            for each in choices
            if each.seed == 0
        ],
        "chosen": chosen,
        "chosen_at": plan.chosen_at,
        "sizes": list(plan.sizes),
        "seeds": plan.seeds,
        "seconds": sum(each.seconds for part in (choices, fits) for each in part),
        "zoos": {
            name: {
                **zoo_figures(bench.zoo(name)),
                "seed": zoo.seed,
                "network": zoo.network.name,
                "pairs": {split.value: counts.pairs for split, counts in zoo.models.items()},
            }
            for name, zoo in plan.zoos.items()
        },
    }


def _mean_auc(choices: Sequence[ChoiceRecord], one: ChoiceRecord) -> float:
    own = [e.auc for e in choices if (e.kind, e.settings) == (one.kind, one.settings)]
    return float(np.mean(own))


def _wins(fits: Sequence[FitRecord], zoo: str, kind: str, size: int) -> Floats:
    """Return 1 where a backdoored model scores over a clean one, [seeds, pairs, pairs]."""
    own = sorted(
        (fit for fit in fits if (fit.kind, fit.models) == (kind, size)), key=lambda fit: fit.seed
    )
    return np.stack([_compare(fit.scores[zoo]) for fit in own])


def _compare(scores: Scores) -> Floats:
    clean, backdoored = np.array(scores["clean"]), np.array(scores["backdoored"])
    over = backdoored[:, None] > clean
    level = backdoored[:, None] == clean
    found: Floats = over + 0.5 * level
    return found


def _gain(differences: Sequence[Floats]) -> dict[str, Any]:
    """Return the mean difference of AUCs with its 95 % interval.

    Pairs of test models and seeds are drawn with replacement, the same for both sides and
    for all sizes: what is compared is compared on the same models and fits.
    """
    if not differences:
        return {"mean": None, "interval": None}
    together = np.mean(differences, axis=0)
    seeds, pairs, _ = together.shape
    rng = np.random.default_rng(0)
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_BOOTSTRAPS) / seeds
    by_pair = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=_BOOTSTRAPS) / pairs
    drawn = np.einsum("bs,bi,bj,sij->b", by_seed, by_pair, by_pair, together, optimize=True)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": float(together.mean()), "interval": [float(low), float(high)]}
