"""The rows of a model list: CSV in all its dialects, and what ``sha256sum`` writes."""

from __future__ import annotations

import csv
import io
import re

from molehunt.errors import mismatch, printable

_SEPARATORS = ",;\t|"
_SYNONYMS = {
    "name": ("name", "model_name", "model", "title", "id"),
    "location": (
        *("location", "file", "filename", "file_name", "path"),
        *("url", "link", "uri", "download_url", "model_url"),
    ),
    "hash": ("hash", "sha256", "sha_256", "sha1", "sha512", "md5", "checksum", "digest"),
    "signature": ("signature", "sig"),
}
_COLUMN = {synonym: column for column, listed in _SYNONYMS.items() for synonym in listed}
_SUMS = re.compile(r"\\?([0-9a-fA-F]{32,128})[ \t]+\*?(\S.*)")
_BSD = re.compile(r"(MD5|SHA1|SHA224|SHA256|SHA384|SHA512) \((.+)\) = ([0-9a-fA-F]{32,128})")


def list_rows(text: str) -> list[dict[str, object]]:
    """Return a row a model, with the columns name, location, hash and signature.

    Columns of other names are left out; the rows' ``remark`` names them.

    Raises
    ------
    ValueError, csv.Error
        If it is no such list; the message says what is allowed.

    Examples
    --------
    >>> list_rows("File;SHA-256\\na.pt;00ff00ff\\n")[0]["location"]
    'a.pt'
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    sums = [_sum(line) for line in lines]
    if sums and all(sums):
        return [row for row in sums if row]
    return _csv_rows("\n".join(line for line in text.splitlines() if line[:1] != "#"))


def _sum(line: str) -> dict[str, object] | None:
    if found := _BSD.fullmatch(line):
        return {"name": found[2], "location": found[2], "hash": f"{found[1]}:{found[3]}"}
    if found := _SUMS.fullmatch(line):
        return {"name": found[2], "location": found[2], "hash": found[1]}
    return None


def _csv_rows(text: str) -> list[dict[str, object]]:
    first = text.lstrip().partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=separator, strict=True)
    head = [re.sub(r"[\W_]+", "_", title.strip().lower()) for title in next(reader, [])]
    columns = [_COLUMN.get(title) for title in head]
    given = [column for column in columns if column]
    if "location" not in given or len(set(given)) != len(given):
        allowed = "name, location, hash and signature, each once, or usual words for them"
        raise ValueError(mismatch("columns", allowed, printable(", ".join(head), 200)))
    others = [
        printable(title, 40) for title, column in zip(head, columns, strict=True) if not column
    ]
    rows: list[dict[str, object]] = []
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if len(values) > len(head):
            raise ValueError(mismatch(f"line {reader.line_num}", f"{len(head)} values", "more"))
        row: dict[str, object] = {
            column: value for column, value in zip(columns, values, strict=False) if column
        }
        row.setdefault("location", "")
        row["name"] = row.get("name") or row["location"]
        if others:
            row["remark"] = f"columns left out: {', '.join(others[:5])}"
        rows.append(row)
    return rows
