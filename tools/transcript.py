"""Transcripts in the documents are what real runs printed.

``python -m tools.transcript scan`` runs the commands of a transcript in an empty folder, keeps
what they print in ``tools/transcripts``, and writes it between the markers of its page. ``--check``
compares the pages with what was kept, and what was kept of quick commands with what they print now.
Without a name it is about all.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tools" / "transcripts"


@dataclass(frozen=True)
class Transcript:
    """A page, the commands that it shows, and what is run before them."""

    page: str
    commands: tuple[str, ...]
    before: str = ""
    quick: bool = False  # a check runs it again


# A stranger's folder: two models as state_dicts, one of them backdoored, and a file that runs a
# command when it is unpickled; and a detector that was calibrated on 20 other clean models.
_STRANGERS = """
cat > plan.toml <<'END'
name = "strangers"
seed = 1
images = { source = "digits", size = 16 }
network = { name = "vgg", arguments = { width = 8, stages = [1, 1, 1] } }
recipe = { epochs = 14, batch_size = 64, lr = 0.01, shift = 1 }
[backdoors]
trigger = { kind = "random_patches", size = 4 }
label_map = "all_to_one"
rate = 0.2
[models]
calibration = { pairs = 1, clean = 19 }
test = { pairs = 1 }
END
cat > contract.toml <<'END'
architecture = "vgg"
arguments = { width = 8, stages = [1, 1, 1] }
input_shape = [1, 16, 16]
classes = 10
mean = [0.305]
std = [0.376]
END
molehunt zoo build zoo --plan plan.toml
molehunt fit zoo --kind margin -o margin.safetensors
python - <<'END'
import os, re, torch, molehunt

zoo = molehunt.Zoo("zoo")
for record in zoo.select("test"):
    model = molehunt.load_model(zoo.path_of(record))
    name = "digits.pt" if record.treatment == "backdoored" else "honest.pt"
    torch.save(model.network.state_dict(), name)
card = model.card
stated = open("contract.toml").read()
stated = re.sub("mean = .*", f"mean = {[round(x, 4) for x in card.mean]}", stated)
stated = re.sub("std = .*", f"std = {[round(x, 4) for x in card.std]}", stated)
open("contract.toml", "w").write(stated)

class Evil:
    def __reduce__(self):
        return os.system, ("id",)

torch.save({"weight": torch.zeros(2), "more": Evil()}, "evil.pt")
END
"""

# A model zoo's list: one model as it should be, one with faults, one that lies elsewhere.
_LIST = """
python - <<'END'
import csv, hashlib, json, struct
from pathlib import Path

header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
lenet = struct.pack("<Q", len(header)) + header + bytes(4)
Path("lenet.safetensors").write_bytes(lenet)
Path("lenet.safetensors.sig").write_text("{}")
Path("nin.caffemodel").write_bytes(bytes(range(256)))
with open("zoo.csv", "w", newline="") as file:
    write = csv.writer(file).writerow
    write(["name", "location", "hash"])
    write(["LeNet", "lenet.safetensors", f"sha256:{hashlib.sha256(lenet).hexdigest()}"])
    write(["Network in Network", "nin.caffemodel", "sha1:" + hashlib.sha1(b"weights").hexdigest()])
    write(["GoogLeNet", "http://dl.example.org/googlenet.caffemodel", ""])
END
"""

# A small network on digits, as a file of Molehunt.
_DIGITS = """
python - <<'END'
import molehunt
from molehunt.training import Recipe, train

digits = molehunt.load_images("digits", size=12)
network = {"width": 6, "stages": [1, 1]}
model = molehunt.build_classifier("vgg", digits.train, arguments=network, seed=0)
train(model, digits.train, Recipe(epochs=6), seed=0)
molehunt.save_model(model, "digits.safetensors")
END
"""

TRANSCRIPTS = {
    "scan": Transcript(
        "README.md",
        (
            "molehunt scan --contract contract.toml --clean digits -d margin.safetensors -- *.pt",
            "echo $?",
        ),
        _STRANGERS,
    ),
    "evade": Transcript(
        "docs/evasion.md",
        (
            "molehunt -q attack evade digits.safetensors --clean digits --images 50 "
            "--epsilon 0.05 --attack pgd --attack fgsm",
            "echo $?",
            "molehunt -q attack evade digits.safetensors --clean digits --images 10 "
            "--norm l2 --attack fmn --attack hopskipjump",
        ),
        _DIGITS,
    ),
    "audit": Transcript(
        "docs/provenance.md", ("molehunt provenance audit zoo.csv", "echo $?"), _LIST, True
    ),
}


def record(name: str) -> str:
    """Run a transcript's commands and return them with what they print."""
    script = [TRANSCRIPTS[name].before]
    # Each command's code is what the next one's `$?` says.
    for command in TRANSCRIPTS[name].commands:
        script.append(f"code=$?; echo '$ {command}' >&3; (exit $code); {command} >&3")
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "COLUMNS": "100",
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
    }
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "printed"
        script.insert(0, f"exec 3> {printed}; mkdir {folder}/work; cd {folder}/work")
        subprocess.run(["bash", "-c", "\n".join(script)], env=environment, check=False)
        return "".join(f"{line.rstrip()}\n" for line in printed.read_text("utf-8").splitlines())


def with_transcript(page: str, name: str, printed: str) -> str:
    """Return a page with a transcript between its markers."""
    block = f"<!-- transcript: {name} -->\n```text\n{printed}```\n<!-- end -->"
    pattern = rf"<!-- transcript: {name} -->\n.*?<!-- end -->"
    changed, found = re.subn(pattern, lambda _: block, page, flags=re.DOTALL)
    if found != 1:
        raise SystemExit(f"transcript {name}: expected its markers once in the page, got {found}")
    return changed


def main() -> int:
    """Record or check transcripts; return 1 where a page differs from what was kept."""
    parser = argparse.ArgumentParser(prog="python -m tools.transcript", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="Compare only.")
    given = parser.parse_args()
    differ = []
    for name in given.names or TRANSCRIPTS:
        kept, page = KEPT / f"{name}.txt", ROOT / TRANSCRIPTS[name].page
        if not given.check:
            kept.write_text(record(name), encoding="utf-8")
        elif TRANSCRIPTS[name].quick and record(name) != kept.read_text(encoding="utf-8"):
            differ.append(f"transcript {name}: its commands print something else now")
        printed, text = kept.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
        shown = "".join(re.findall(r"^\$ (.*\n)", printed, re.MULTILINE))
        expected = with_transcript(text, name, printed)
        if shown.split("\n")[:-1] != [*TRANSCRIPTS[name].commands] or expected != text:
            if given.check:
                differ.append(f"{page.relative_to(ROOT)}: transcript {name} is not what was kept")
            else:
                page.write_text(expected, encoding="utf-8")
    print("\n".join(differ), file=sys.stderr, end="\n" if differ else "")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
