"""Fixed results of scans, with every status: what the golden files are made of."""

from __future__ import annotations

import numpy as np

from molehunt.findings import (
    BACKDOOR,
    UNSAFE_SERIALIZATION,
    WRONG_CONTRACT,
    Finding,
    Picture,
    Status,
)
from molehunt.networks import ModelCard
from molehunt.scanning import ScanResult

NULL = "50 clean calibration models of the zoo “mnist”"
CARD = ModelCard(
    input_shape=(1, 12, 12),
    mean=(0.1307,),
    std=(0.3081,),
    class_names=tuple(str(digit) for digit in range(10)),
    architecture="vgg",
    arguments={"width": 4, "stages": [1, 1]},
    recipe={"epochs": 3},
)
SIGNS = ModelCard(
    input_shape=(3, 32, 32),
    value_range=(0.0, 255.0),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    channel_order="bgr",
    class_names=("stop", "yield", "speed limit 50", "priority road"),
    architecture="torchscript",
)


def picture(caption: str, channels: int, side: int) -> Picture:
    """A gradient with a bright square in the corner, the same on every machine."""
    ramp = np.linspace(0.2, 0.7, side)[None, None, :] * np.ones((channels, side, 1))
    ramp[0, -5:-1, -5:-1] = 1.0
    return Picture(caption, ramp)


def example(name: str, digit: str, *findings: Finding, **known: object) -> ScanResult:
    return ScanResult(f"models/{name}", digit * 64 if digit else None, findings, **known)


def of_file(status: Status, message: str) -> Finding:
    return Finding("serialization", status, message, UNSAFE_SERIALIZATION)


FILE_CHECKS = (
    Finding(
        "serialization",
        Status.CLEAR,
        "safetensors: tensors and text, nothing to run",
        UNSAFE_SERIALIZATION,
    ),
    Finding(
        "contract",
        Status.CLEAR,
        "99.1 % right on 200 clean images, chance is 10.0 %",
        WRONG_CONTRACT,
    ),
)
NOT_RUN = Finding("signature", Status.NOT_RUN, "no signature beside the file, none was asked for")

RESULTS = [
    example(
        "digits.safetensors",
        "a",
        *FILE_CHECKS,
        Finding(
            "litmus",
            Status.FOUND,
            "p = 0.020, at most 0.025",
            BACKDOOR,
            score=4.125,
            p_value=0.0196,
            threshold=0.025,
            null=NULL,
        ),
        Finding(
            "trigger-search",
            Status.FOUND,
            "a pattern of 16 pixels turns 98 % of clean images into one class",
            BACKDOOR,
            score=3.5,
            p_value=0.00004,
            threshold=0.025,
            null="the published null of medians of absolute deviations",
            target=7,
            exhibits=(
                picture("reconstructed trigger", 1, 12),
                picture("on a clean 3: called 7", 1, 12),
            ),
        ),
        NOT_RUN,
        format="safetensors",
        card=CARD,
    ),
    example(
        "signs (final).pt",
        "b",
        Finding(
            "serialization",
            Status.CLEAR,
            "TorchScript, opened in a process without rights",
            UNSAFE_SERIALIZATION,
        ),
        Finding(
            "trigger-search",
            Status.CLEAR,
            "no small pattern leads to one class",
            BACKDOOR,
            score=0.5,
            p_value=0.6,
            threshold=0.05,
            target=2,
            exhibits=(picture("least pattern found", 3, 32),),
        ),
        Finding("litmus", Status.NOT_RUN, "expected images (1, 12, 12), got (3, 32, 32)", BACKDOOR),
        format="torchscript",
        card=SIGNS,
    ),
    example(
        "evil.pkl",
        "c",
        Finding(
            "serialization",
            Status.FOUND,
            "pickle: calls posix.system; it was not loaded",
            UNSAFE_SERIALIZATION,
        ),
        format="pickle",
    ),
    example("readme.md", "", Finding("file", Status.NO_MODEL, "plain text")),
    example(
        "more.tar.gz", "", Finding("file", Status.SKIPPED, "not judged: gzip: unpack it first")
    ),
    example(
        "bgr.onnx",
        "f",
        Finding(
            "contract",
            Status.FOUND,
            "the contract looks wrong: accuracy 97.0% with BGR, 31.0% as stated, on 200 images",
            WRONG_CONTRACT,
        ),
        card=SIGNS,
    ),
    example("cut.onnx", "d", Finding("file", Status.FAILED, "ONNX: ends after 12 of 4096 bytes")),
    example(
        "large.safetensors",
        "e",
        Finding(
            "litmus",
            Status.INCONCLUSIVE,
            "unlike every model of the detector's zoo, so p = 0.020 means nothing",
            BACKDOOR,
            score=9.0,
            p_value=0.02,
            threshold=0.05,
            null=NULL,
        ),
        card=CARD,
    ),
    ScanResult(
        "https://models.example/v1/predict",
        None,
        (Finding("weights", Status.NOT_RUN, "an endpoint has no weights to look at"),),
        card=SIGNS,
    ),
]
