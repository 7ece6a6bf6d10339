"""Fuzz the loaders: ``python -m tests.fuzz_loaders --minutes 10 --seed 0``.

Valid files of every kind are changed, at random and in their structure. Model files go
through `molehunt.provenance.inspect_serialization` and, many a call, through ``molehunt scan``;
detectors, contracts, image sets and plans through what reads them. None may give a traceback,
an internal error, an exit code outside 0 to 4, raw escapes, take 20 s of processor time or
2 GiB. Files that do are kept, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from molehunt.cli import run
from molehunt.errors import MolehuntError
from molehunt.provenance import inspect_serialization
from molehunt.zoo import read_plan
from tests.fuzz_loaders.mutations import CHANGES
from tests.fuzz_loaders.seeds import MODELS, Seeds, make_seeds
from tests.fuzz_loaders.watching import watch

_BATCH = 40
Read = Callable[[Sequence[Path]], int]


@dataclass
class Fuzzer:
    """Draws changed files, reads them under watch, and keeps what broke something."""

    seeds: Seeds
    folder: Path
    kept: Path
    random: Random
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def draw(self, kind: str, number: int) -> Path:
        """Write a changed file of a kind; of shards a folder."""
        suffix, content = self.seeds.files[kind]
        changed = self.random.choice(CHANGES[kind])(content, self.random)
        path = self.folder / f"{number:03}{suffix}"
        if kind == "shards":
            path = self.folder / f"{number:03}-shards"
            path.mkdir()
            for name, shard in self.seeds.shards.items():
                (path / name).write_bytes(shard)
            (path / f"model{suffix}").write_bytes(changed)
        else:
            path.write_bytes(changed)
        self.counts[kind] += 1
        return path

    def round(self) -> None:
        """Draw a batch of model files and one of every other input; read them all."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        kinds = [self.random.choice(MODELS) for _ in range(_BATCH)]
        models = [self.draw(kind, number) for number, kind in enumerate(kinds)]
        self.check("inspect", models, _inspect)
        self.check("scan", models, self._scan, alone=self._scan_here)
        others = [kind for kind in self.seeds.files if kind not in MODELS]
        for number, kind in enumerate(others, _BATCH):
            self.check(kind, [self.draw(kind, number)], self._reader_of(kind))

    def check(
        self, what: str, paths: Sequence[Path], read: Read, *, alone: Read | None = None
    ) -> None:
        """Read files together; if anything is wrong, each alone to see which it was."""
        found = watch(lambda: read(paths), files=len(paths))
        if not found.faults:
            return
        guilty = 0
        if len(paths) > 1:
            for path in paths:
                one = watch(lambda path=path: (alone or read)([path]))
                if one.faults:
                    self._keep(what, [path], one.faults, one.printed)
                    guilty += 1
        if not guilty:
            self._keep(what, paths, found.faults, found.printed)

    def _keep(self, what: str, paths: Sequence[Path], faults: Sequence[str], printed: str) -> None:
        place = self.kept / f"{len(self.faults):03}"
        place.mkdir(parents=True)
        for path in paths:
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, place / path.name)
        (place / "printed.txt").write_text(printed)
        lines = [line for line in printed.splitlines() if line.strip()]
        self.faults.append(f"{what}: {', '.join(faults)}: {place}: {ascii(lines[-1:])[:200]}")
        print(self.faults[-1], flush=True)

    def _options(self, **changed: Path) -> list[str]:
        given = {"contract": self.seeds.contract, "detector": self.seeds.detector, **changed}
        return [f"--{name}={path}" for name, path in given.items()]

    def _scan(self, paths: Sequence[Path]) -> int:
        """The real command line, in a process of its own."""
        command = [sys.executable, "-m", "molehunt", "scan", *self._options(), "--"]
        return subprocess.run([*command, *map(str, paths)], check=False).returncode

    def _scan_here(self, paths: Sequence[Path]) -> int:
        return run(["scan", *self._options(), "--", *map(str, paths)])

    def _reader_of(self, kind: str) -> Read:
        model = str(self.seeds.model)

        def scan(path: Path) -> int:
            if kind == "npz":
                return run(["scan", *self._options(), f"--clean=npz:{path}", "--", model])
            return run(["scan", *self._options(**{kind: path}), "--", model])

        def plan(path: Path) -> int:
            try:
                read_plan(path)
            except MolehuntError as error:
                print(error)
            return 0

        return lambda paths: plan(paths[0]) if kind.startswith("plan") else scan(paths[0])


def _inspect(paths: Sequence[Path]) -> int:
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                print(inspect_serialization(file).detail)
            except MolehuntError as error:
                print(error)
    return 0


def main() -> int:
    """Fuzz for so long and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_loaders", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="for failing files")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with tempfile.TemporaryDirectory(prefix="molehunt-fuzz-") as root:
        seeds = make_seeds(Path(root))
        fuzzer = Fuzzer(seeds, Path(root) / "files", options.keep, Random(options.seed))
        end = time.monotonic() + 60 * options.minutes
        while time.monotonic() < end:
            fuzzer.round()
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(fuzzer.counts.items()))
    print(f"seed {options.seed}: {fuzzer.counts.total()} files ({counts})")
    print(f"{len(fuzzer.faults)} failing" + (f", kept in {options.keep}" * bool(fuzzer.faults)))
    return 1 if fuzzer.faults else 0


if __name__ == "__main__":
    sys.exit(main())
