from __future__ import annotations

import pytest
import torch

from molehunt.images import load_images
from molehunt.study import StudyResult, run
from molehunt_studies.property_inference import PROPERTY
from molehunt_studies.property_inference.populations import GroupRecord, draw_images


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return run(PROPERTY, tmp_path_factory.mktemp("property"), scale="smoke", workers=1)


def test_every_reader_is_measured_on_its_property_and_on_the_others(study: StudyResult) -> None:
    found = study.figures["properties"]
    assert found.keys() == {"noise", "nothing"}
    for name, readers in found.items():
        assert len(readers) == 4
        for each in readers.values():
            assert each["placebos"].keys() == found.keys() - {name}
            for auc in (each, *each["placebos"].values()):
                assert 0 <= auc["interval"][0] <= auc["auc"] <= auc["interval"][1] <= 1


def test_half_of_each_part_has_the_property_and_a_second_run_trains_nothing(
    study: StudyResult,
) -> None:
    lines = (study.report.parent / "models.jsonl").read_text().splitlines()
    groups = [GroupRecord.model_validate_json(line) for line in lines]
    assert [(g.property, g.part, len(g.seeds), sum(g.has)) for g in groups] == [
        ("noise", "fit", 8, 4),
        ("noise", "test", 6, 3),
        ("nothing", "fit", 8, 4),
        ("nothing", "test", 6, 3),
    ]
    seeds = [seed for group in groups for seed in group.seeds]
    assert len({*seeds}) == len(seeds) == 28
    again = run(PROPERTY, study.report.parent, scale="smoke", workers=1)
    assert again.made == 0 < study.made == 4


def test_sets_have_their_property() -> None:
    digits = load_images("digits").train
    for has, share in ((True, 0.6), (False, 0.4)):
        drawn = draw_images(digits, "share", has, 400, torch.Generator().manual_seed(0))
        assert float((drawn.labels % 2 == 0).float().mean()) == pytest.approx(share)
    marked = draw_images(digits, "mark", True, 400, torch.Generator().manual_seed(0))
    corners = (marked.images[:, :, :2, :2] == 255).flatten(1).all(1)
    assert 20 < int(corners.sum()) < 60
    plain = draw_images(digits, "noise", False, 400, torch.Generator().manual_seed(0))
    noisy = draw_images(digits, "noise", True, 400, torch.Generator().manual_seed(0))
    assert torch.equal(plain.labels, noisy.labels)
    assert not torch.equal(plain.images, noisy.images)
    for has in (True, False):
        drawn = draw_images(digits, "nothing", has, 400, torch.Generator().manual_seed(0))
        assert torch.equal(drawn.images, plain.images)
