"""Every way to end a network gives the logits that it had, or says what is lost."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as f

from molehunt.errors import UnreadableFileError, UnsuitableSubjectError
from molehunt.networks import (
    AnswerKind,
    BlackBox,
    Classifier,
    ModelCard,
    Taken,
    choose_output,
    logits_in,
    recognise,
)
from molehunt.networks._answers import reason_to_doubt

SHAPE = (3, 8, 8)


def card(classes: int = 5) -> ModelCard:
    names = tuple(str(number) for number in range(classes))
    return ModelCard(
        architecture="x", input_shape=SHAPE, mean=(0.5,) * 3, std=(0.2,) * 3, class_names=names
    )


class Body(nn.Module):
    """A small network whose logits are far apart: its float32 probabilities are saturated."""

    def __init__(self, classes: int = 5, scale: float = 40.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8 * 36, classes)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.head(self.conv(x).relu().flatten(1))


class Ends(nn.Module):
    def __init__(self, end: Callable[[Tensor], object], body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body or Body()
        self.end = end

    def forward(self, x: Tensor) -> object:
        return self.end(self.body(x))


def softmax_in_place(z: Tensor) -> Tensor:
    return z.sigmoid_()


SOFTMAX_ENDS = {
    "F.softmax": lambda z: f.softmax(z, dim=1),
    "Tensor.softmax": lambda z: z.softmax(-1),
    "nn.Softmax": nn.Softmax(dim=1),
    "in a Sequential": nn.Sequential(nn.Identity(), nn.Softmax(1), nn.Flatten()),
    "with a keyword": lambda z: torch.softmax(input=z, dim=1),
    "then clamp": lambda z: z.softmax(1).clamp(1e-7, 1 - 1e-7),
    "exp of log_softmax": lambda z: z.log_softmax(1).exp(),
    "in 4 dimensions": lambda z: z[..., None, None].softmax(1),
    "in parts": lambda z: torch.cat([z[:3].softmax(1), z[3:].softmax(1)]),
    "in half precision": lambda z: z.half().softmax(1),
    "percent": lambda z: 100 * z.softmax(1),
    "in a dict": lambda z: {"probabilities": z.softmax(1), "features": z.new_zeros(len(z), 7)},
    "log_softmax": lambda z: f.log_softmax(z, 1),
    "log of softmax": lambda z: (z.softmax(1) + 1e-9).log(),
    "nn.LogSoftmax": nn.LogSoftmax(1),
    "sigmoid": torch.sigmoid,
    "nn.Sigmoid": nn.Sigmoid(),
    "sigmoid in place": softmax_in_place,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", SOFTMAX_ENDS)
def test_what_goes_into_the_last_function_is_taken(name: str) -> None:
    body = Body()
    plain = Classifier(body, card()).freeze()
    squashed = recognise(Classifier(Ends(SOFTMAX_ENDS[name], body), card()).freeze())
    images = torch.rand(6, *SHAPE)
    assert squashed.answers.taken is Taken.BEFORE
    assert not squashed.answers.doubt
    assert "judged" in squashed.answers.remark
    half = name == "in half precision"
    torch.testing.assert_close(
        squashed(images).float(), plain(images), rtol=1e-2 if half else 1e-5, atol=1e-4
    )


@pytest.mark.parametrize("name", ["F.softmax", "log_softmax", "sigmoid", "percent"])
def test_gradients_and_stacks_see_the_same(name: str) -> None:
    body = Body()
    plain = Classifier(body, card()).freeze()
    squashed = recognise(Classifier(Ends(SOFTMAX_ENDS[name], body), card()).freeze())
    images = torch.rand(4, *SHAPE, requires_grad=True)
    (expected,) = torch.autograd.grad(plain(images).square().sum(), images)
    (got,) = torch.autograd.grad(squashed(images).square().sum(), images)
    torch.testing.assert_close(got, expected)
    parameters, buffers = stack_module_state([squashed, squashed])
    stacked = torch.vmap(lambda p, b: functional_call(squashed, (p, b), (images,)), in_dims=(0, 0))(
        parameters, buffers
    )
    torch.testing.assert_close(stacked[1], plain(images))


def test_softmax_twice_is_undone_twice() -> None:
    body = Body(scale=10)
    model = recognise(Classifier(Ends(lambda z: z.softmax(1).softmax(1), body), card()).freeze())
    images = torch.rand(3, *SHAPE)
    assert model.answers.depth == 2
    torch.testing.assert_close(model(images), Classifier(body, card())(images))


def test_logits_are_left_alone_whatever_their_size() -> None:
    for scale in (0.01, 1.0, 1000.0):
        body = Body(scale=scale)
        model = recognise(Classifier(body, card()).freeze())
        assert model.answers.kind is AnswerKind.LOGITS
        assert model.answers.remark == ""
        images = torch.rand(3, *SHAPE)
        assert torch.equal(model(images), model.network((images - 0.5) / 0.2))


def test_attention_inside_is_not_taken_for_the_end() -> None:
    """A softmax over as many things as there are classes, in the middle of the network."""

    def attend(z: Tensor) -> Tensor:
        return z * z.softmax(1)

    model = recognise(Classifier(Ends(attend, Body(scale=1)), card()).freeze())
    assert model.answers.taken is Taken.AS_GIVEN


def asked(end: Callable[[Tensor], Tensor], classes: int = 5, scale: float = 4.0) -> BlackBox:
    network = Ends(end, Body(classes, scale)).eval()

    def answer(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(images)).numpy()

    return BlackBox(answer, card(classes))


BOXES = {
    "logits": (lambda z: z, AnswerKind.LOGITS),
    "log-probabilities": (lambda z: z.log_softmax(1), AnswerKind.LOG_PROBABILITIES),
    "probabilities": (lambda z: z.softmax(1), AnswerKind.PROBABILITIES),
    "hot": (lambda z: (z / 30).softmax(1), AnswerKind.PROBABILITIES),
    "half": (lambda z: z.half().softmax(1), AnswerKind.PROBABILITIES),
    "by hand": (lambda z: z.exp() / z.exp().sum(1, keepdim=True), AnswerKind.PROBABILITIES),
    "sigmoids": (torch.sigmoid, AnswerKind.SIGMOIDS),
    "4 decimals": (lambda z: z.softmax(1).round(decimals=4), AnswerKind.ROUNDED),
    "2 decimals": (lambda z: z.softmax(1).round(decimals=2), AnswerKind.ROUNDED),
    "bytes": (lambda z: (255 * z.softmax(1)).round() / 255, AnswerKind.ROUNDED),
    "sigmoids rounded": (lambda z: z.sigmoid().round(decimals=2), AnswerKind.ROUNDED),
    "whole logits": (lambda z: z.round() + 1, AnswerKind.ROUNDED),
    "labels": (lambda z: f.one_hot(z.argmax(1), z.shape[1]).float(), AnswerKind.LABELS),
    "constant": (lambda z: 0 * z + torch.arange(z.shape[1]), AnswerKind.CONSTANT),
    "NaN": (lambda z: z / 0 * 0, AnswerKind.NOT_FINITE),
}


@pytest.mark.parametrize("classes", [2, 5, 200])
@pytest.mark.parametrize("name", BOXES)
def test_kinds_of_answers_are_told_apart(name: str, classes: int) -> None:
    end, kind = BOXES[name]
    model = recognise(asked(end, classes))
    assert model.answers.kind is kind
    lost = kind in ("rounded", "labels", "constant", "not finite")
    assert bool(model.answers.doubt) == lost


@pytest.mark.parametrize("name", ["probabilities", "log-probabilities", "by hand", "hot"])
def test_a_box_gives_the_log_probabilities_of_its_logits(name: str) -> None:
    end, _ = BOXES[name]
    images = torch.rand(6, *SHAPE)
    expected = asked(lambda z: z / 30 if name == "hot" else z)(images).log_softmax(1)
    torch.testing.assert_close(recognise(asked(end))(images), expected, rtol=1e-4, atol=1e-4)


def test_probabilities_of_which_many_are_zero_are_doubted() -> None:
    model = recognise(asked(lambda z: z.softmax(1), scale=4000.0))
    assert "logits or probabilities" in model.answers.doubt
    model = recognise(asked(lambda z: z.softmax(1).round(decimals=6), scale=60.0))
    assert "exactly 0" in model.answers.doubt or "rounded" in model.answers.doubt


def test_a_model_that_fails_is_told_in_a_line() -> None:
    def fail(z: Tensor) -> Tensor:
        raise KeyError("a\nb")

    with pytest.raises(UnreadableFileError, match=r"fails on images of .* KeyError: 'a"):
        recognise(Classifier(Ends(fail), card()))


Named = namedtuple("Named", ["aux", "logits"])  # as networks have them


@dataclass
class Output:
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    loss: None = None


LOGITS, AUX, FEATURES = torch.ones(2, 5), torch.zeros(2, 5), torch.zeros(2, 64)
OUTPUTS = {
    "a tensor": LOGITS,
    "as convolutions give it": LOGITS[..., None, None],
    "a tuple with features": (FEATURES, LOGITS),
    "a list of one": [LOGITS],
    "a dict": {"features": FEATURES, "scores": LOGITS},
    "a dict with another head": {"aux": AUX, "logits": LOGITS},
    "ordered": OrderedDict(aux=AUX, logits=LOGITS),
    "a named tuple": Named(AUX, LOGITS),
    "a dataclass": Output(LOGITS, (FEATURES, AUX)),
    "nested": {"head": {"logits": LOGITS, "aux": AUX}, "more": [FEATURES]},
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_answers_are_found(name: str) -> None:
    assert torch.equal(logits_in(OUTPUTS[name], 5), LOGITS)


@pytest.mark.parametrize(
    "answer",
    [(AUX, LOGITS), {"main": LOGITS, "aux": AUX}, {"a": {"logits": LOGITS}, "b": {"logits": AUX}}],
)
def test_where_it_is_not_clear_all_are_listed(answer: object) -> None:
    with pytest.raises(UnsuitableSubjectError, match=r"\[2, 5\].*\[2, 5\].*by its name: `output`"):
        logits_in(answer, 5)


@pytest.mark.parametrize("answer", [FEATURES, (FEATURES,), {}, None, "text", torch.ones(2)])
def test_what_has_no_answers_is_refused(answer: object) -> None:
    with pytest.raises(UnsuitableSubjectError, match=r"\[N, 5\]"):
        logits_in(answer, 5)


def test_an_output_is_chosen_by_name_and_by_place() -> None:
    answer = {"main": LOGITS, "aux": AUX, "features": FEATURES}
    assert torch.equal(logits_in(answer, 5, "main"), LOGITS)
    assert torch.equal(logits_in((AUX, LOGITS), 5, "1"), LOGITS)
    assert torch.equal(logits_in({"a": [AUX, LOGITS]}, 5, "a.1"), LOGITS)
    with pytest.raises(UnsuitableSubjectError, match=r"expected one of, got main \[2, 5\]"):
        logits_in(answer, 5, "other")
    with pytest.raises(UnsuitableSubjectError, match=r"output features .* got \[2, 64\]"):
        logits_in(answer, 5, "features")
    assert choose_output({"aux": ["n", 5], "head/logits:0": ["n", 5]}, 5) == "head/logits:0"


def test_hostile_outputs_are_bounded() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(UnsuitableSubjectError):
        logits_in(loop, 5)
    with pytest.raises(UnsuitableSubjectError) as refusal:
        logits_in({f"\x1b{n}" * 1000: FEATURES for n in range(1000)}, 5)
    assert len(str(refusal.value)) < 2000 and str(refusal.value).isprintable()


@pytest.mark.parametrize("scale", [1.0, 3.0, 8.0])
def test_squashed_numbers_that_no_function_shows_are_doubted(scale: float) -> None:
    logits = scale * torch.randn(16, 10, generator=torch.Generator().manual_seed(1))
    normal = torch.nn.functional.normalize(logits, dim=1)
    assert "equal length" in reason_to_doubt(normal)
    assert "equal length" in reason_to_doubt(10 * normal)
    assert not reason_to_doubt(logits) and not reason_to_doubt(0.05 * logits)
    if scale > 1:
        assert "tanh" in reason_to_doubt(logits.tanh())
