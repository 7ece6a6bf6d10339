"""Every set of weights in a checkpoint is found and judged, whatever wraps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.provenance import inspect_serialization
from molehunt.subjects import Opened, Opening, StatedContract, open_subject
from tests.subjects.foreign_networks import Small

HERE = "tests.subjects.foreign_networks"
IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
State = dict[str, Tensor]


def small(seed: int) -> Small:
    torch.manual_seed(seed)
    network = Small().eval()
    network.bn.running_mean += 0.1 * seed
    return network


RAW, AVERAGED = small(1), small(2)
RAW_STATE, AVERAGED_STATE = RAW.state_dict(), AVERAGED.state_dict()


def opened(content: Any, folder: Path, arch: str = "Small", **settings: Any) -> Opened:
    path = folder / "file.pt"
    torch.save(content, path)
    contract: dict[str, Any] = {
        "architecture": f"{HERE}:{arch}", "input_shape": (1, 8, 8), "classes": 4,
        "mean": (0.0,), "std": (1.0,),
    }  # fmt: skip
    weights = settings.pop("weights", None)
    opening = Opening(StatedContract(**{**contract, **settings}), weights=weights)
    return open_subject(path, inspect_serialization(path), opening)


def answers_of(found: Opened) -> dict[str, Tensor]:
    return {name: model(IMAGES) for name, model in found.models.items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def renamed(state: State, rename: Callable[[str], str]) -> State:
    return {rename(name): value for name, value in state.items()}


def parameters(network: Small) -> list[Tensor]:
    return [each.detach() for each in network.parameters()]


def learned(network: Small) -> State:
    return {name: each.detach() for name, each in network.named_parameters()}


PAIRS: dict[str, tuple[Any, list[str]]] = {
    "YOLO": ({"model": RAW_STATE, "ema": AVERAGED_STATE, "updates": 3}, ["model", "ema"]),
    "averaged in torch": (
        {"net": RAW_STATE,
         "swa": {"n_averaged": torch.tensor(3), **prefixed(AVERAGED_STATE, "module.")}},
        ["net", "swa"],
    ),
    "a callback of Lightning": (
        {"state_dict": prefixed(RAW_STATE, "model."),
         "callbacks": {"EMA{'every': 1}": {"ema_state_dict": prefixed(AVERAGED_STATE, "model.")}}},
        ["state_dict", "callbacks.EMA{'every': 1}.ema_state_dict"],
    ),
    "beside each other in one state_dict": (
        {**prefixed(RAW_STATE, "online_model."), **prefixed(AVERAGED_STATE, "ema_model."),
         "initted": torch.tensor(True)},
        ["online_model", "ema_model"],
    ),
    "teacher and student of one module": (
        {"state_dict": {**prefixed(RAW_STATE, "student.backbone."),
                        **prefixed(AVERAGED_STATE, "teacher.backbone.")}},
        ["state_dict.student.backbone", "state_dict.teacher.backbone"],
    ),
    "deep in lists": ({"runs": [{"best": [RAW_STATE]}, {"best": [AVERAGED_STATE]}]},
                      ["runs.0.best.0", "runs.1.best.0"]),
    "two parts each": (
        {"raw": {"conv": {"weight": RAW_STATE["conv.weight"]},
                 "bn": {k[3:]: v for k, v in RAW_STATE.items() if k.startswith("bn.")},
                 "fc": {k[3:]: v for k, v in RAW_STATE.items() if k.startswith("fc.")}},
         "mean": AVERAGED_STATE},
        ["mean", "raw"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_all_sets_are_opened_and_named(name: str, tmp_path: Path) -> None:
    content, names = PAIRS[name]
    found = opened(content, tmp_path)
    assert sorted(found.models) == sorted(names)
    assert any("2 sets of weights, each of them judged" in remark for remark in found.remarks)
    answers = answers_of(found)
    raw = next(each for each in names if torch.allclose(answers[each], RAW(IMAGES), atol=1e-6))
    (other,) = set(names) - {raw}
    assert torch.allclose(answers[other], AVERAGED(IMAGES), atol=1e-6)
    (chosen,) = opened(content, tmp_path, weights=other).models.items()
    assert chosen[0] == ""
    assert torch.equal(chosen[1](IMAGES), answers[other])


PARAMETERS: dict[str, Any] = {
    "by name": {"model": RAW_STATE, "shadow": learned(AVERAGED)},
    "torch_ema, by order": {
        "model": RAW_STATE,
        "ema": {"decay": 0.9, "num_updates": 7, "shadow_params": parameters(AVERAGED)},
    },
    "names without dots": {
        "state_dict": {
            **prefixed(RAW_STATE, "model."),
            **renamed(learned(AVERAGED), lambda name: "model_ema." + name.replace(".", "")),
            "model_ema.decay": torch.tensor(0.9),
        }
    },
    "names with underscores": {
        "model": RAW_STATE,
        "ema": renamed(learned(AVERAGED), lambda name: name.replace(".", "_")),
    },
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_averages_of_parameters_take_the_rest_from_the_raw_set(name: str, tmp_path: Path) -> None:
    found = opened(PARAMETERS[name], tmp_path)
    expected = small(2)
    expected.load_state_dict(
        {key: value for key, value in RAW_STATE.items() if key.startswith("bn.running")},
        strict=False,
    )
    assert len(found.models) == 2
    ema = next(found.models[each] for each in found.models if "ema" in each or "shadow" in each)
    assert torch.allclose(ema(IMAGES), expected(IMAGES), atol=1e-6)
    assert any("bn.running_mean" in remark and "taken from" in remark for remark in found.remarks)


def test_what_cannot_be_named_is_told(tmp_path: Path) -> None:
    some = [*parameters(AVERAGED)[:-1]]
    found = opened({"model": RAW_STATE, "ema": {"shadow_params": some}}, tmp_path)
    assert list(found.models) == [""]
    assert any("ema.shadow_params is a list of 4 tensors" in each for each in found.unjudged)


def test_equal_sets_count_once_and_broken_ones_are_told(tmp_path: Path) -> None:
    copy = {name: value.clone() for name, value in RAW_STATE.items()}
    broken = {**AVERAGED_STATE, "fc.weight": torch.zeros(9, 3)}
    found = opened({"model": RAW_STATE, "best": copy, "ema": broken}, tmp_path)
    assert list(found.models) == [""]
    said = "\n".join(found.remarks)
    assert "best holds the same weights as model" in said
    (doubt,) = found.unjudged
    assert "ema looks like weights of the architecture and is not judged: fc.weight [9, 3]" in doubt
    assert "`weights` chooses" in doubt
    chosen = opened({"model": RAW_STATE, "ema": broken}, tmp_path, weights="model")
    assert not chosen.unjudged


@pytest.mark.parametrize("counters", [True, False])
def test_a_list_may_hold_the_whole_state(counters: bool, tmp_path: Path) -> None:
    shadow = [v for k, v in AVERAGED_STATE.items() if counters or "num_batches" not in k]
    found = opened({"model": RAW_STATE, "ema": shadow}, tmp_path)
    assert torch.allclose(found.models["ema"](IMAGES), AVERAGED(IMAGES), atol=1e-6)


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"`weights`: expected one of model, ema, got"):
        opened({"model": RAW_STATE, "ema": AVERAGED_STATE}, tmp_path, weights="emma")


WRAPPED: dict[str, State] = {
    "DataParallel inside": renamed(RAW_STATE, lambda name: name.replace("conv.", "conv.module.")),
    "FSDP inside": renamed(
        RAW_STATE, lambda name: f"_fsdp_wrapped_module.{name.replace('bn.', 'bn._orig_mod.')}"
    ),
    "compiled in parallel in Lightning": prefixed(RAW_STATE, "model.module._orig_mod."),
    "Lightning in parallel, compiled": prefixed(RAW_STATE, "_orig_mod.module.model."),
    "DeepSpeed": prefixed(RAW_STATE, "_forward_module.net."),
    "a prefix that nobody knows": prefixed(RAW_STATE, "tower_7.trunk."),
    "with a loss's weights and metrics": {
        **prefixed(RAW_STATE, "model."),
        "criterion.weight": torch.ones(4),
        "val_acc.correct": torch.tensor(3),
    },
    "a body and a head": {
        ("head." if name.startswith("fc") else "backbone.") + name: value
        for name, value in RAW_STATE.items()
    },
    "without counters": {k: v for k, v in RAW_STATE.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_names_are_seen_through(name: str, tmp_path: Path) -> None:
    found = opened({"epoch": 1, "state_dict": WRAPPED[name]}, tmp_path)
    assert torch.allclose(found.models[""](IMAGES), RAW(IMAGES), atol=1e-6)
    told = any("criterion.weight" in remark for remark in found.remarks)
    assert told == ("criterion.weight" in WRAPPED[name])


def test_an_architecture_may_be_the_wrapper(tmp_path: Path) -> None:
    for state in (RAW_STATE, prefixed(RAW_STATE, "model."), prefixed(RAW_STATE, "module.model.")):
        found = opened(state, tmp_path, "Wrapped")
        assert torch.allclose(found.models[""](IMAGES), RAW(IMAGES), atol=1e-6)


def test_an_architecture_may_know_older_names(tmp_path: Path) -> None:
    older = renamed(RAW_STATE, lambda name: name.replace("fc.", "head."))
    for state in (older, prefixed(older, "module.")):
        found = opened(state, tmp_path, "Renamed")
        assert not found.unjudged
        assert torch.allclose(found.models[""](IMAGES), RAW(IMAGES), atol=1e-6)
    for content in (older, {"state_dict": prefixed(older, "net.")}, {"a": {"b": older}}):
        with pytest.raises(UnreadableFileError, match=r"missing fc\.weight, fc\.bias; not in the"):
            opened(content, tmp_path)


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        found = opened(
            {k: v.to(dtype) if v.is_floating_point() else v for k, v in RAW_STATE.items()}, tmp_path
        )
        assert found.models[""](IMAGES).dtype == torch.float32
        assert torch.allclose(found.models[""](IMAGES), RAW(IMAGES), atol=0.05)


def _itself() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["model"] = content
    return content


def _own_list() -> list[Any]:
    content: list[Any] = []
    content.append(content)
    return content


def _deep(levels: int, inside: Any) -> Any:
    for _ in range(levels):
        inside = {"model": inside}
    return inside


def _stretched(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(1, dtype=torch.float16).expand(shape)


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "holds itself": (_itself, "a dict of model, which holds itself"),
    "40 levels": (lambda: _deep(40, RAW_STATE), "at most 32 levels"),
    "a list that holds itself": (_own_list, "got list"),
    "nothing": (dict, "a dict of nothing"),
    "numbers": (lambda: {"epoch": 3, "loss": [1.0, 2.0]}, "a dict of epoch, loss"),
    "a stretched tensor": (
        lambda: {**RAW_STATE, "fc.weight": _stretched((2_000_000, 1_000))},
        r"a tensor of 2e\+09 elements where 1 lie",
    ),
    "a stretched tensor of few numbers": (
        lambda: {**RAW_STATE, "fc.weight": _stretched((60, 1_000))},
        r"of other shapes: fc.weight \[60, 1000\], not \[4, 3\]",
    ),
    "33 sets": (
        lambda: {str(n): {k: v + n for k, v in RAW_STATE.items()} for n in range(33)},
        "at most 32 sets",
    ),
    "whole numbers": (
        lambda: {k: v.to(torch.int8) for k, v in RAW_STATE.items()}, "not the weights of"
    ),
    "a name of a megabyte": (lambda: {"a." * 500_000: torch.zeros(2)}, "expected a state_dict"),
    "only half": (lambda: learned(RAW), "missing bn.running_mean, bn.running_var"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoints_are_one_line(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(UnreadableFileError, match=message) as caught:
        opened(make(), tmp_path)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_a_stretched_tensor_of_the_right_shape_is_refused(tmp_path: Path) -> None:
    """Its architecture is as large as the file says, and the file stores next to nothing."""
    state = {"0.weight": _stretched((20_000, 20_000)), "0.bias": _stretched((20_000,))}
    with pytest.raises(UnreadableFileError, match=r"a tensor of 4e\+08 elements where 1 lie"):
        opened(state, tmp_path, "huge_layer")
