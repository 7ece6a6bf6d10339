"""What may be wrong with a model or its file, by numbers that never change."""

from __future__ import annotations

from dataclasses import dataclass

from molehunt.findings._verdict import Verdict


@dataclass(frozen=True)
class Weakness:
    """What may be wrong with a model or its file.

    Parameters
    ----------
    id : str
        ``MH002``; never given to another weakness.
    word : str
        In results, lower case.
    name : str
        In one word, as SARIF has it.
    severity : float, optional
        In [0, 10] as CVSS counts; GitHub calls 9 and more critical, 7 and more high. None
        where it does no harm by itself.
    cwe : int, optional
        Of the Common Weakness Enumeration.
    found : Verdict
        What a finding of it makes of the subject.
    clear : Verdict, optional
        What it makes of the subject where a check finds nothing of it; None: says nothing.
    short, full, advice : str
        What it is, what it stands on, what to do.
    """

    id: str
    word: str
    name: str
    severity: float | None
    cwe: int | None
    found: Verdict
    clear: Verdict | None
    short: str
    full: str
    advice: str


UNSAFE_SERIALIZATION = Weakness(
    "MH001",
    "unsafe serialization",
    "UnsafeFile",
    9.8,
    502,
    Verdict.UNSAFE,
    None,
    "Model file that is not safe to load",
    "Loading the file would run code or bring in something that is not what it claims to "
    "be. Molehunt did not load it.",
    "Do not load the file. Ask its source for safetensors, or for a file with a signature "
    "that you can verify.",
)
BACKDOOR = Weakness(
    "MH002",
    "backdoor",
    "Backdoor",
    8.8,
    506,
    Verdict.BACKDOORED,
    Verdict.CLEAN,
    "Model that looks backdoored",
    "The model looks more suspicious than clean models do, at the rate of false alarms that "
    "the scan was given. Images with the attacker's trigger would get the attacker's label.",
    "Do not deploy the model. Look at the HTML report: patterns, reconstructed triggers and "
    "the class that they point at. Train again from data that you trust, or have the model "
    "judged by a second detector.",
)
WRONG_CONTRACT = Weakness(
    "MH006",
    "wrong contract",
    "WrongContract",
    None,
    None,
    Verdict.INCONCLUSIVE,
    None,
    "Input contract that the model was not made for",
    "The model is right on clean images more often under another normalisation, channel order "
    "or value range than the one that was stated. Checks would judge another function.",
    "State the input contract with which the model was trained.",
)
# A weakness more is an entry more.
WEAKNESSES = {each.word: each for each in (UNSAFE_SERIALIZATION, BACKDOOR, WRONG_CONTRACT)}
