from __future__ import annotations

import pytest
import torch

from molehunt.attacks import RandomSquares, evade
from molehunt.errors import InvalidRequestError
from molehunt.guard import (
    Action,
    Blinded,
    Canary,
    Guard,
    Guarded,
    Logged,
    MemoryStore,
    NearestNeighbours,
    Reply,
    answer_wrongly,
)
from molehunt.images import load_images
from molehunt.networks import Queried, Reveals, build_classifier
from molehunt.training import Recipe, train

DIGITS = load_images("digits", size=12)
MODEL = build_classifier("mlp", DIGITS.train, arguments={"hidden": [16]}, seed=0)
train(MODEL, DIGITS.train, Recipe(epochs=5, lr=0.05), seed=0)
SAME = torch.full((6, 1, 12, 12), 0.5)
LABELS = torch.zeros(6, dtype=torch.int64)
NEAR = NearestNeighbours(neighbours=2, window=30, threshold=-0.05)


@pytest.mark.parametrize(
    ("action", "reply"),
    [
        (Action.LOG, Reply.ANSWER),
        (Action.THROTTLE, Reply.WAIT),
        (Action.BLOCK, Reply.REFUSE),
        (Action.WRONG, Reply.MISLEAD),
    ],
)
def test_an_account_is_treated_so_from_its_first_alarm_on(action: Action, reply: Reply) -> None:
    guard = Guard([NEAR], action=action)
    first = guard.ask("ann", SAME[:4], LABELS[:4])
    assert [decision.reply for decision in first] == [Reply.ANSWER] * 2 + [reply] * 2
    assert [decision.reply for decision in guard.ask("ann", SAME[:1] * 0, LABELS[:1])] == [reply]
    assert guard.standing("ann").flagged_at == 3
    assert guard.standing("ann").flagged_by == "neighbours"
    assert guard.ask("ben", SAME[:1], LABELS[:1])[0].reply is Reply.ANSWER
    guard.pardon("ann")
    assert guard.ask("ann", SAME[:1], LABELS[:1])[0].reply is Reply.ANSWER


def test_one_by_one_is_as_all_at_once() -> None:
    together, alone = Guard([NEAR], action=Action.LOG), Guard([NEAR], action=Action.LOG)
    parts = [alone.ask("ann", SAME[n : n + 1], LABELS[:1])[0] for n in range(6)]
    assert parts == together.ask("ann", SAME, LABELS)
    assert alone.standing("ann") == together.standing("ann")
    assert alone.standing("ann").alarms == 4


def test_what_is_refused_is_not_remembered() -> None:
    guard = Guard([NEAR])
    guard.ask("ann", SAME, LABELS)
    assert guard.standing("ann").queries == 3
    guard.ask("ann", SAME, LABELS)
    assert guard.standing("ann").queries == 3
    assert len(guard.store.recall("ann", {"neighbours": 9})["neighbours"]) == 3


def test_a_store_forgets_old_digests_and_quiet_accounts_before_flagged_ones() -> None:
    store = MemoryStore(accounts=3)
    guard = Guard([NEAR], store, action=Action.LOG)
    guard.ask("bad", SAME, LABELS)
    for number in range(10):
        guard.ask(f"honest-{number}", SAME[:1], LABELS[:1])
    assert len(store) == 3
    assert guard.standing("bad").is_flagged
    assert not guard.standing("honest-0").queries
    for _ in range(10):
        guard.ask("bad", SAME, LABELS)
    assert len(store.recall("bad", {"neighbours": 99})["neighbours"]) == NEAR.memory
    assert guard.standing("bad").queries == 66


def test_attacks_run_through_a_guard_until_every_account_is_refused() -> None:
    clean = DIGITS.test.take(Queried(MODEL).judge(DIGITS.test.images) == DIGITS.test.labels)
    attack = RandomSquares(epsilon=0.01, queries=20)
    near = NEAR.model_copy(update={"threshold": -0.5})
    asked = []
    for accounts in (1, 4):
        guarded = Guarded(MODEL, Guard([near]), accounts=accounts)
        target = Queried(guarded, reveals=Reveals.CONFIDENCES)
        found = evade(target, clean.take(torch.arange(4)), attack, batch_size=1)
        assert "the guard refuses all" in found.note
        assert len(guarded.flagged) == accounts
        assert max(guarded.flagged.values()) <= guarded.asked
        asked.append(guarded.asked)
    # Two neighbours need three queries of an account, the third of which is refused.
    assert asked == [3, 12]


def test_wrong_answers_are_wrong_and_the_same_each_time() -> None:
    strange = Canary(count=1, window=1, threshold=-1)
    guarded = Guarded(MODEL, Guard([strange], action=Action.WRONG))
    pixels = DIGITS.test.pixels()[:20]
    honest = MODEL(pixels).argmax(1)
    assert not bool((guarded(pixels).argmax(1) == honest).any())
    assert torch.equal(guarded(pixels), answer_wrongly(MODEL(pixels)))
    assert torch.equal(Queried(guarded).judge(DIGITS.test.images[:20]), honest)


def test_guards_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="one of a kind, got none"):
        Guard([])
    with pytest.raises(InvalidRequestError, match="one of a kind, got neighbours, neighbours"):
        Guard([NEAR, NEAR])
    with pytest.raises(InvalidRequestError, match="canary: expected a threshold"):
        Guard([Canary()])


def test_blinded_queries_keep_apart_and_measures_stay_true() -> None:
    guarded = Guarded(MODEL, Guard([NEAR]))
    blinded = Blinded(guarded, noise=0.1, turn=10, shift=0.1, scale=0.1, seed=0)
    target = Queried(blinded, reveals=Reveals.LABELS)
    target.predict(DIGITS.test.pixels()[:1].repeat(20, 1, 1, 1))
    assert not guarded.flagged
    assert torch.equal(target.judge(DIGITS.test.images), Queried(MODEL).judge(DIGITS.test.images))
    with pytest.raises(InvalidRequestError, match="turn of blinded queries: expected 0 or more"):
        Blinded(MODEL, turn=-1)


def test_votes_cost_queries_and_make_answers_surer() -> None:
    pixels, right = DIGITS.test.pixels()[:60], Queried(MODEL).judge(DIGITS.test.images[:60])
    agree = []
    for votes in (1, 9):
        logged = Logged(MODEL)
        blinded = Blinded(logged, noise=0.5, votes=votes, reveals=Reveals.LABELS, seed=0)
        agree.append(int((blinded(pixels).argmax(1) == right).sum()))
        assert len(logged.log()) == 60 * votes
    assert agree[1] > agree[0]
