"""What a file that runs in a child of its own can do, and what is said when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from molehunt.errors import UnreadableFileError
from molehunt.networks import BlackBox, ModelCard
from molehunt.subjects import _sandbox
from molehunt.subjects._sandbox import import_path, open_trusted
from tests.subjects import trusted_modules as modules

ROOT = Path(__file__).parents[2]
CARD = ModelCard(
    architecture="pickled module",
    input_shape=(1, 4, 4),
    mean=(0.0,),
    std=(1.0,),
    class_names=tuple("0123456789"),
)
IMAGES = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def opened(content: object, folder: Path, card: ModelCard = CARD) -> BlackBox:
    torch.save(content, folder / "module.pt")
    return open_trusted(folder / "module.pt", card, "pickle")


def with_classes(count: int) -> ModelCard:
    return CARD.model_copy(update={"class_names": tuple(map(str, range(count)))})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("two tensors", "got 0 [2, 10], 1 [2, 10]; choose one by its name: `output`"),
        ("unlike names", "got first [2, 10], second [2, 10]; choose one"),
        ("deep", "expected one of shape [N, 10], got dict"),
        ("text", "got str"),
        ("one number each", "got Tensor [2]"),
        ("too few", "expected one a image (2), got shape (3, 10)"),
        ("nothing", "got NoneType"),
    ],
)
def test_answers_that_are_no_logits_are_described(kind: str, said: str, tmp_path: Path) -> None:
    box = opened(modules.Answering(kind), tmp_path)
    lines = []
    for _ in range(2):  # the second time the child is gone, and the reason is the same
        with pytest.raises(UnreadableFileError) as caught:
            box(IMAGES)
        lines.append(str(caught.value))
    assert said in lines[0]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("kind", ["logits and features", "a tuple", "nested"])
def test_logits_are_found_among_other_outputs(kind: str, tmp_path: Path) -> None:
    torch.testing.assert_close(
        opened(modules.Answering(kind), tmp_path)(IMAGES), modules.ten(IMAGES)
    )


def test_of_several_outputs_the_user_chooses(tmp_path: Path) -> None:
    torch.save(modules.Answering("unlike names"), tmp_path / "module.pt")
    box = open_trusted(tmp_path / "module.pt", CARD, "pickle", "second")
    torch.testing.assert_close(box(IMAGES), modules.ten(IMAGES))


def test_a_module_is_found_in_a_checkpoint(tmp_path: Path) -> None:
    box = opened({"epoch": 3, "ema": None, "model": modules.Loud()}, tmp_path)
    torch.testing.assert_close(box(IMAGES), modules.ten(IMAGES))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": modules.Loud(), "ema": modules.Loud()}, "dict of 2 (model: Loud, ema: Loud)"),
        (Path("weights"), "got PosixPath"),
        (modules.Forking(), "Operation not permitted"),
    ],
    ids=["two modules", "no module", "a process left behind"],
)
def test_files_that_do_not_load_are_described(content: object, said: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UnreadableFileError) as caught:
        opened(content, tmp_path)
    assert said in str(caught.value)
    assert time.monotonic() - started < 50  # the process left behind sleeps for 60 s


def test_much_on_stderr_stops_nobody(tmp_path: Path) -> None:
    box = opened(modules.Loud(), tmp_path)
    torch.testing.assert_close(box(IMAGES), modules.ten(IMAGES))


@pytest.mark.parametrize("kind", [modules.Sleeping, modules.Dripping, modules.Lying])
def test_an_answer_has_a_deadline(
    kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = opened(kind(), tmp_path)
    monkeypatch.setattr(_sandbox, "SECONDS_AN_ANSWER", 1.0)
    started = time.monotonic()
    with pytest.raises(UnreadableFileError, match=r"no answer within 1 s|impossible size"):
        box(IMAGES)
    assert time.monotonic() - started < 5


def test_a_crash_is_told_with_its_last_words(tmp_path: Path) -> None:
    box = opened(modules.Crashing(), tmp_path)
    with pytest.raises(UnreadableFileError, match=r"Aborted.*terminate called") as caught:
        box(IMAGES)
    assert "\x1b" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promises")
def test_files_network_and_processes_are_out_of_reach(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o640)
    attempts = modules.attempts(tmp_path, os.getpid())
    box = opened(modules.Reaching(tmp_path, os.getpid()), tmp_path, with_classes(len(attempts)))
    assert box(IMAGES)[0].tolist() == [1.0] * len(attempts)
    assert victim.read_text() == "precious"
    assert victim.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["module.pt", "victim"]


def test_the_child_sees_little_of_its_surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLEHUNT_TEST_SECRET", "s3cret")
    box = opened(modules.Looking(), tmp_path, with_classes(3))
    assert box(IMAGES)[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["resource", "torch", "json", "molehunt", "sitecustomize"])
def test_nothing_of_the_current_folder_is_imported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    for place in ("", str(tmp_path), "."):
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", f":.:{ROOT}")
    box = opened(modules.Loud(), tmp_path)
    torch.testing.assert_close(box(IMAGES), modules.ten(IMAGES))
    assert not (tmp_path / "RAN").exists()


def test_the_current_folder_counts_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(tmp_path) not in import_path()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_path()[0] == str(tmp_path)


def test_a_class_that_is_nowhere_is_told_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_own.py").write_text("import torch\nclass Net(torch.nn.Module): pass\n")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as here:
        here.syspath_prepend(str(tmp_path))
        torch.save(__import__("their_own").Net(), tmp_path / "module.pt")
        with pytest.raises(UnreadableFileError, match="not in the current folder"):
            open_trusted(Path("module.pt"), CARD, "pickle")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promises")
def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    torch.save(modules.Sleeping(), tmp_path / "module.pt")
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from tests.subjects.test_sandbox import CARD, IMAGES, open_trusted\n"
        "from molehunt.subjects import _sandbox\n"
        "start = _sandbox.subprocess.Popen.__init__\n"
        "def note(self, *a, **k): start(self, *a, **k); print(self.pid, flush=True)\n"
        "_sandbox.subprocess.Popen.__init__ = note\n"
        "box = open_trusted(Path(sys.argv[1]), CARD, 'pickle'); print('open', flush=True)\n"
        "box(IMAGES)\n"
    )
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "module.pt"],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "open\n"
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 5
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < until:
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break  # nobody reaps it in some containers
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}").exists()
