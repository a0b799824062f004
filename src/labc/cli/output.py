"""What is printed, and how: values, tables, complaints. Rich is only loaded for a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from labc.cli.jsonform import is_array, to_json


def complain(sentence: str) -> None:
    """Say on stderr why it could not be done."""
    print(f"labc: {sentence}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON document, on one line."""
    print(json_text(value), flush=True)


def json_text(value: Any) -> str:
    return json.dumps(to_json(value), ensure_ascii=False)


def print_value(value: Any) -> None:
    """For people: text as it is, nothing for None, other values as JSON; bytes as they are when they go to a file."""
    if value is None:
        return
    if isinstance(value, (bytes, bytearray, memoryview)) and not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    elif isinstance(value, (dict, list, tuple)) and value and sys.stdout.isatty():
        from rich import print_json as print_pretty

        print_pretty(json_text(value), ensure_ascii=False)
    else:
        print(readable(value), flush=True)


def readable(value: Any) -> str:
    """Text and what has a text of its own (arrays, bytes, dates) as that; anything else as JSON."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return repr(bytes(value))
    if is_array(value):
        return str(value)
    form = to_json(value)
    return form if isinstance(form, str) else json.dumps(form, ensure_ascii=False)


def one_line(value: Any) -> str:
    """The same where it must not break the line: text with control characters is quoted."""
    text = readable(value)
    return text if text.isprintable() else json.dumps(text if isinstance(value, str) else to_json(value))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """On a terminal with rich; elsewhere in plain columns, nothing cut off, for grep and awk."""
    cells = [[str(cell) for cell in row] for row in rows]
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    if sys.stdout.isatty():
        _print_rich(columns, cells, numeric)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [columns, *cells]:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(aligned).rstrip())


def _print_rich(columns: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title, right in zip(columns, numeric, strict=True):
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)
