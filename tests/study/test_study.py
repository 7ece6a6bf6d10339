from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, Field

from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.resumable import Task
from molehunt.study import Bench, Records, Report, Stage, Study, plan_for, run

TEMPLATE = """# Squares

{{ head("n", "square", "paper") }}
{% for n, square in results.squares.items() %}
{{ row(n, square | n("d"), paper.squares.get(n) | n("d")) }}
{% endfor %}

{{ figure("curve", "Squares | by number.") }}

{{ results.note }}
"""


class Recipe(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: int = 1


class SquaresPlan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: tuple[int, ...] = (1, 2)
    recipe: Recipe = Recipe()
    note: str = Field(default="", exclude=True)


class Square(Task):
    number: int


class SquareRecord(Square):
    square: int


class SquaresBench(Bench[SquaresPlan]):
    @cached_property
    def factor(self) -> int:
        return self.plan.recipe.factor


def tasks(bench: SquaresBench, records: Records) -> Sequence[Square]:
    assert not records
    return [Square(id=str(number), number=number) for number in bench.plan.numbers]


def square(task: Square, bench: SquaresBench) -> SquareRecord:
    return SquareRecord(**dict(task), square=bench.factor * task.number**2)


def measures(bench: SquaresBench, records: Records) -> dict[str, Any]:
    squares = {record.id: record.square for record in records["squares"]}
    return {"squares": squares, "note": bench.plan.note}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study[Any, Any]:
    """A study in a package of its own."""
    package = tmp_path / "packages" / f"study_{tmp_path.name}"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "report.md.j2").write_text(TEMPLATE)
    (package / "paper.toml").write_text("[squares]\n2 = 4\n")
    monkeypatch.syspath_prepend(str(package.parent))

    def drawn(_results: Any) -> dict[str, Figure]:
        return {"curve": Figure(figsize=(1, 1))}

    return Study(
        name="squares",
        title="Squares.",
        scales={"quick": SquaresPlan(), "full": SquaresPlan(numbers=(1, 2, 3))},
        bench=SquaresBench,
        stages=(Stage("squares", tasks, square, SquareRecord),),
        measures=measures,
        report=Report(package.name, drawn),
        unit="squares",
    )


def test_a_study_is_run_once_and_reported_twice(study: Study[Any, Any], tmp_path: Path) -> None:
    first = run(study, tmp_path / "run", docs=tmp_path / "docs", workers=2)
    assert first.made == 2 and first.figures["squares"] == {"1": 1, "2": 4}
    assert first.summary.head == ["n", "square", "paper"]
    assert [*first.summary.rows] == [["1", "1", "-"], ["2", "4", "4"]]
    readme = (tmp_path / "docs" / "README.md").read_text()
    assert "| 2 | 4 | 4 |" in readme and "](curve.png)" in readme
    assert (tmp_path / "docs" / "curve.png").read_bytes()[:4] == b"\x89PNG"
    page = first.report.read_text()
    assert "<svg" in page and '<td style="text-align:right">4</td>' in page
    again = run(study, tmp_path / "run", workers=2)
    assert again.made == 0 and again.figures == first.figures
    assert [each["squares"] for each in again.figures["runs"]] == [2]


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "<img src=x onerror=y>", "![](http://x/y.png)"]
)
def test_a_page_has_no_tag_that_is_not_ours(
    study: Study[Any, Any], tmp_path: Path, hostile: str
) -> None:
    page = run(study, tmp_path / "run", settings=[f"note={hostile}"], workers=1).report.read_text()
    assert "<script" not in page and "<img" not in page and "http://x" not in page


def test_settings_of_the_plan(study: Study[Any, Any], tmp_path: Path) -> None:
    found = run(study, tmp_path / "a", settings=["recipe.factor=3", "note=a/b/c"], workers=1)
    assert found.figures["squares"] == {"1": 3, "2": 12}
    assert found.figures["command"].endswith("--set recipe.factor=3 --set note=PATH")
    # What is excluded may change in a folder, the plan may not.
    assert run(study, tmp_path / "a", settings=["recipe.factor=3", "note=x"], workers=1).made == 0
    with pytest.raises(InvalidRequestError, match="differs in recipe"):
        run(study, tmp_path / "a", workers=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["numbers"], "KEY=VALUE with a key of numbers, recipe, note"),
        (["nummbers=[1]"], "KEY=VALUE with a key of numbers, recipe, note, got 'nummbers"),
        (["recipe.speed=1"], "KEY=VALUE"),
        (["recipe.factor.deep=1"], "KEY=VALUE"),
        (["numbers=many"], "numbers: .*tuple"),
        (["recipe.factor=none"], "recipe.factor: .*integer"),
    ],
)
def test_impossible_settings_are_refused_before_the_work(
    study: Study[Any, Any], tmp_path: Path, settings: list[str], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        run(study, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_impossible_scales_are_refused(study: Study[Any, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="scale: expected quick, full, got 'huge'"):
        plan_for(study, "huge")


def test_parts_of_other_studies_stay(study: Study[Any, Any], tmp_path: Path) -> None:
    from dataclasses import replace  # noqa: PLC0415

    parts = ("first", "second")
    template = tmp_path / "packages" / study.report.package / "report.md.j2"
    template.write_text("# Parts\n\n{{ results | listed }}\n")
    first, second = (
        replace(study, part=part, report=replace(study.report, parts=parts)) for part in parts
    )
    docs = tmp_path / "docs"
    run(second, tmp_path / "b", docs=docs, workers=1)
    run(first, tmp_path / "a", docs=docs, workers=1)
    assert [*json.loads((docs / "results.json").read_text())] == ["first", "second"]
    assert "first and second" in (docs / "README.md").read_text()
    (docs / "results.json").write_text('{"third": 1}')
    with pytest.raises(UnreadableFileError, match="first, second"):
        run(first, tmp_path / "c", docs=docs)
    assert not (tmp_path / "c").exists()
