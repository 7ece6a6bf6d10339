"""``make bench``: ratios against the plain way, each measured side by side in one run."""

from __future__ import annotations

import argparse

from benchmarks import (
    _assess,
    _autoattack,
    _badnets_pairs,
    _beside,
    _guard,
    _guard_soak,
    _litmus,
    _many_models,
    _paired,
    _sacroml,
    _scan,
    _sign_detector,
    _smoothing,
    _start,
    _stealing,
    _svm_poisoning,
    _training,
    _triggers,
    _twins,
)

BENCHMARKS = {
    "training": _training.run,
    "litmus": _litmus.run,
    "scan": _scan.run,
    "badnets-pairs": _badnets_pairs.run,
    "triggers": _triggers.run,
    "many-models": _many_models.run,
    "sign-detector": _sign_detector.run,
    "smoothing": _smoothing.run,
    "start": _start.run,
    "svm-poisoning": _svm_poisoning.run,
    "autoattack": _autoattack.run,
    "stealing": _stealing.run,
    "guard": _guard.run,
    "guard-soak": _guard_soak.run,
    "assess": _assess.run,
    "beside": _beside.run,
    "sacroml": _sacroml.run,
    "paired": _paired.run,
    "twins": _twins.run,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=[*BENCHMARKS], metavar="NAME")
    for name in parser.parse_args().names:
        print(f"{name}: {BENCHMARKS[name]()}", flush=True)
