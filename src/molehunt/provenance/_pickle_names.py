"""Three grades of the names in a pickle: dangerous, unknown, harmless.

A pickle names functions and classes that its reader imports and calls. Some are known to run
code or to reach outside the file; some only hold values, and training frameworks keep them
in checkpoints; of all others nothing is known here, which is neither of the two.
"""

from __future__ import annotations

import builtins
import io
import logging
import pickle
import re
import struct
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from enum import Enum
from functools import lru_cache

from picklescan.scanner import SafetyLevel, scan_pickle_bytes

from molehunt.errors import printable
from molehunt.provenance._judgement import Names, UnreadContentError

_MOST_NAMES = 5_000
_LONGEST_NAME = 200


class Grade(Enum):
    """What is known of a name."""

    DANGEROUS = "dangerous"  # runs code, or reaches outside the file
    UNKNOWN = "unknown"  # of a package that is not known here
    HARMLESS = "harmless"  # holds values; making one runs nothing of consequence


def _below(module: str, names: str) -> list[str]:
    return [f"{module}.{name}" for name in names.split()]


# What each harmless class is like, so that a stand-in can take its place: an object that takes
# attributes, a dict, a list. Their own constructors only store what they are given.
OBJECTS = {
    *("argparse.Namespace", "types.SimpleNamespace", "decimal.Decimal", "typing.Any"),
    *("uuid.UUID", "uuid.SafeUUID"),
    *_below("datetime", "date datetime time timedelta timezone"),
    *_below("pathlib", "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"),
    *_below("pathlib._local", "Path PosixPath WindowsPath"),
    *_below("pathlib._local", "PurePath PurePosixPath PureWindowsPath"),
    *_below("numpy", "ndarray dtype bool bool_ float16 float32 float64 str_"),
    *_below("numpy", "int8 int16 int32 int64 uint8 uint16 uint32 uint64"),
    *_below("torch.optim", "sgd.SGD adam.Adam adamw.AdamW rmsprop.RMSprop adagrad.Adagrad"),
    *("torchvision.transforms.functional.InterpolationMode", "PIL.Image.Resampling"),
    *_below("omegaconf", "dictconfig.DictConfig listconfig.ListConfig base.Metadata"),
    *_below("omegaconf", "base.ContainerMetadata nodes.AnyNode nodes.BooleanNode"),
    *_below("omegaconf.nodes", "FloatNode IntegerNode StringNode"),
    # Lightning once kept the classes of its callbacks as keys.
    *_below("pytorch_lightning.callbacks", "model_checkpoint.ModelCheckpoint"),
    *_below("pytorch_lightning.callbacks", "early_stopping.EarlyStopping"),
}
DICTS = {
    *("collections.defaultdict", "addict.addict.Dict", "easydict.EasyDict"),
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
}
LISTS = {"collections.deque"}
# Names of values that may be stated; they are called only as `_pickle_calls` says.
_STATED = {
    *_below("builtins", "set frozenset dict list tuple object int float bool complex str bytes"),
    *_below("builtins", "bytearray slice range"),
    *_below("collections", "Counter OrderedDict"),
    *("_codecs.encode", "copyreg._reconstructor", "torch.nn.parameter.Parameter"),
    *_below("numpy.core.multiarray", "_reconstruct scalar"),
    *_below("numpy._core.multiarray", "_reconstruct scalar"),
}
HARMLESS = OBJECTS | DICTS | LISTS | _STATED

# Python's own modules are dangerous, but for these, which only compute.
_COMPUTING = {
    *("abc", "array", "bisect", "calendar", "cmath", "collections", "colorsys", "copy"),
    *("datetime", "decimal", "difflib", "enum", "fractions", "hashlib", "heapq", "itertools"),
    *("json", "math", "numbers", "random", "re", "statistics", "string", "struct", "textwrap"),
    *("time", "uuid", "_collections", "_datetime", "_decimal", "_random", "_struct"),
}
_COMPUTING_NAMES = {"logging.getLogger", "logging.Logger", "collections.abc"}
# Beyond Python itself, packages, modules and names below which everything is dangerous: what runs
# programs or code, fetches, writes or unpickles.
_FAMILIES_TEXT = """
commands httplib urllib2 pip setuptools pkg_resources distutils IPython ipykernel pytest
_pytest nose py sh pexpect plumbum fabric paramiko invoke git docker requests httpx
aiohttp urllib3 dill cloudpickle joblib jsonpickle cffi pyximport Cython numexpr fire
jinja2 mako yaml fsspec s3fs boto3 gdown wget gradio mlflow huggingface_hub modelscope
hydra molehunt collections.namedtuple torch.load torch.save torch.compile torch.hub
torch.jit torch.ops torch.classes torch.package torch.serialization
torch.storage._load_from_bytes torch.export torch.onnx torch.fx torch.distributed
torch.multiprocessing torch.testing torch.profiler torch._inductor torch._dynamo
torch._C._jit torch.utils.cpp_extension torch.utils.model_zoo torch.utils.bottleneck
torch.utils.collect_env torch.utils._config_module torch.utils.data.datapipes
torchvision.io torchvision.datasets numpy.f2py numpy.testing numpy.distutils
numpy.ctypeslib numpy.lib numpy.load numpy.loadtxt numpy.fromfile numpy.genfromtxt
numpy.fromregex numpy.save numpy.savez numpy.savez_compressed numpy.savetxt numpy.memmap
numpy.DataSource numpy.vectorize numpy.apply_along_axis numpy.frompyfunc
numpy.fromfunction pandas.eval pandas.read_pickle pandas.io pandas.core.computation
scipy.io scipy.datasets sklearn.datasets transformers.pipelines
transformers.dynamic_module_utils keras.layers.Lambda keras.src.layers.core.lambda_layer
keras.models keras.saving tensorflow.io tensorflow.load_op_library
tensorflow.python.ops.io_ops tensorflow.python.framework.load_library
tensorflow.keras.models
"""
_FAMILIES = tuple(f"{family}." for family in _FAMILIES_TEXT.split())
# Wherever one of these stands in a name, the name leads to it: torch.serialization.os.system.
_LEADING = re.compile(
    r"_?(os|sys|posix|nt|subprocess|builtins|importlib|ctypes|socket|shutil|pty|runpy|marshal"
    r"|eval|exec|execfile|system|popen|Popen|getattr|setattr|delattr|globals|breakpoint"
    r"|attrgetter|methodcaller|import_module)|pickle|cPickle|__(?!init__$|main__$)\w+__"
)


def python3_name(module: str, name: str) -> tuple[str, str]:
    """Return the name as Python 3 looks it up; pickles of protocol 2 use those of Python 2."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


@lru_cache(maxsize=4096)
def grade_of(module: str, name: str) -> Grade:
    """Return what is known of a name; dangerous where any reading of it is.

    Examples
    --------
    >>> grade_of("posix", "system"), grade_of("argparse", "Namespace"), grade_of("yolo", "Model")
    (<Grade.DANGEROUS: 'dangerous'>, <Grade.HARMLESS: 'harmless'>, <Grade.UNKNOWN: 'unknown'>)
    """
    readings = {(module, name), python3_name(module, name)}
    full = ".".join(python3_name(module, name))
    if full in HARMLESS:
        return Grade.HARMLESS
    if any(_is_dangerous(*reading) for reading in readings):
        return Grade.DANGEROUS
    return Grade.UNKNOWN


class NameList:
    """The names of a pickle as they come; too many cannot be told apart in reasonable time."""

    def __init__(self) -> None:
        self._grades: dict[tuple[str, str], Grade] = {}

    def note(self, module: str, name: str) -> None:
        """Take a name into account.

        Raises
        ------
        UnreadContentError
            If there are more than a pickle can need.
        """
        if (module, name) not in self._grades:
            if len(self._grades) >= _MOST_NAMES:
                raise UnreadContentError(f"names more than {_MOST_NAMES} functions and classes")
            self._grades[module, name] = grade_of(module, name)

    def graded(self) -> Names:
        """Return the names by grade."""
        named = {f"{module}.{name}": grade for (module, name), grade in self._grades.items()}
        grades = (Grade.DANGEROUS, Grade.UNKNOWN, Grade.HARMLESS)
        return Names(
            *(
                tuple(printable(name, _LONGEST_NAME) for name, got in named.items() if got is grade)
                for grade in grades
            )
        )


def _is_dangerous(module: str, name: str) -> bool:
    # Blanks part a name as dots do: what one reader takes for a module another splits.
    parts = [part for part in re.split(r"[.\s]+", f"{module}.{name}") if part]
    full = ".".join(parts)
    root = parts[0] if parts else ""
    if root == "builtins":
        # Exceptions and functions of numbers do nothing by themselves.
        found = getattr(builtins, name, None)
        is_exception = isinstance(found, type) and issubclass(found, BaseException)
        return not (is_exception or name in ("abs", "len", "max", "min", "round", "sum"))
    return (
        (root in sys.stdlib_module_names and not _only_computes(root, full))
        or f"{full}.".startswith(_FAMILIES)
        or any(_LEADING.fullmatch(part) for part in parts)
        or _picklescan_fears(module, name)
    )


def _only_computes(root: str, full: str) -> bool:
    return root in _COMPUTING or full in _COMPUTING_NAMES


def _picklescan_fears(module: str, name: str) -> bool:
    """Ask picklescan, of which every name on its list counts here."""
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    texts = [part.encode("utf-8", "replace") for part in (module, name)]
    packed = b"".join(pickle.BINUNICODE + struct.pack("<I", len(part)) + part for part in texts)
    content = pickle.PROTO + b"\x04" + packed + pickle.STACK_GLOBAL + pickle.STOP
    try:
        found = scan_pickle_bytes(io.BytesIO(content), "name").globals
    except Exception:  # it raises what it likes; our own lists stand
        return False
    return any(item.safety is SafetyLevel.Dangerous for item in found)
