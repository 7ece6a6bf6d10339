"""Realised false alarms of three ways to calibrate, over draws from a zoo's own models.

``python -m benchmarks.calibration runs/demo/zoo --kind litmus --draws 14``: each draw fits on
50 other pairs, calibrates on 20 of the remaining clean models and tests on the rest of them.
*head* and *all* also calibrate on the 50 clean fitting models, each scored by a head, or by a
whole detector, that was fitted without its pair (5 folds). Nothing but a page rests on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from molehunt.backdoors import Treatment
from molehunt.detectors import conformal_p_values, new_detector
from molehunt.zoo import Zoo

FOLDS, PAIRS, CALIBRATION, RATE = 5, 50, 20, 0.05


def draw(zoo: Zoo, kind: str, seed: int) -> dict[str, tuple[float, float]]:
    """Return the shares of clean and backdoored test models that each way flags."""
    records = zoo.select(None, Treatment.CLEAN, Treatment.BACKDOORED)
    models = list(zoo.models(records))
    places = {record.id: place for place, record in enumerate(records)}
    pairs = [
        (place, places[record.twin or ""])
        for place, record in enumerate(records)
        if record.treatment is Treatment.BACKDOORED
    ]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs))
    # Backdoored in the first row, their clean twins in the second.
    fitted = np.array([pairs[n] for n in order[:PAIRS]]).T
    twins = {twin for _, twin in pairs}
    alone = [n for n, r in enumerate(records) if r.treatment is Treatment.CLEAN and n not in twins]
    spare = rng.permutation([*(pairs[n][1] for n in order[PAIRS:]), *alone])
    tests = spare[CALIBRATION:], np.array([pairs[n][0] for n in order[PAIRS:]])
    unfitted = new_detector(kind)
    if "random_state" in unfitted.get_params():
        unfitted.set_params(random_state=seed)

    def fit(kept: np.ndarray):
        rows = fitted[:, kept]
        truth = np.repeat([1, 0], rows.shape[1])
        return clone(unfitted).fit([models[n] for n in rows.ravel()], truth)

    whole = fit(np.ones(PAIRS, dtype=bool))
    features = whole.transform(models)

    def head(kept: np.ndarray) -> np.ndarray:
        rows = fitted[:, kept]
        regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        regression.fit(features[rows.ravel()], np.repeat([1, 0], rows.shape[1]))
        return regression.decision_function(features)

    folds = rng.permutation(PAIRS) % FOLDS
    by_head, by_all = np.empty(PAIRS), np.empty(PAIRS)
    for fold in range(FOLDS):
        out = folds == fold
        by_head[out] = head(~out)[fitted[1][out]]
        by_all[out] = fit(~out).decision_function([models[n] for n in fitted[1][out]])
    scores, heads = whole.score_features(features), head(np.ones(PAIRS, dtype=bool))
    nulls = {
        "split": (scores, scores[spare[:CALIBRATION]]),
        "head": (heads, np.append(heads[spare[:CALIBRATION]], by_head)),
        "all": (scores, np.append(scores[spare[:CALIBRATION]], by_all)),
    }
    return {
        way: tuple(float((conformal_p_values(of[test], null) <= RATE).mean()) for test in tests)
        for way, (of, null) in nulls.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--kind", default="litmus")
    parser.add_argument("--draws", type=int, default=14)
    given = parser.parse_args()
    found = [draw(Zoo(given.zoo), given.kind, seed) for seed in range(given.draws)]
    for name in found[0]:
        alarms, hits = np.array([each[name] for each in found]).T
        print(
            f"{given.kind} {name}: false alarms {alarms.mean():.1%}, from draw to draw "
            f"{np.quantile(alarms, 0.05):.1%} to {np.quantile(alarms, 0.95):.1%}; "
            f"detected {hits.mean():.1%}; {len(found)} draws"
        )
