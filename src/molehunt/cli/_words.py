"""The library names settings, as `clean`; who typed a command reads its flags, as --clean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def with_flags(text: str, commands: Iterable[Any]) -> str:
    """Return a message that names flags in place of the settings that commands have flags for."""
    flags = {
        option.removeprefix("--").replace("-", "_"): option
        for command in commands
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    return re.sub(r"`(\w+)`", lambda found: flags.get(found[1], found[0]), text)
