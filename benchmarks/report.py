"""Tables, goals, and the file that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"

_PREFACE = """\
Everything ran on this one machine, on virtual hosts (network namespaces): the figures show what the software costs, not
what a network adds. labc and its peers took turns, several rounds each: the figures are medians over the rounds, and
the ratios medians of ratios between figures of the same round."""


@dataclass
class Table:
    """One table of a part."""

    part: str
    title: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    texts: int = 1
    """How many columns are text; the others are numbers, and stand at the right."""

    def text(self) -> str:
        """For the terminal."""
        lines = [list(self.head), *map(list, self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = ["  " + "  ".join(self._aligned(line, widths)).rstrip() for line in lines]
        return "\n".join([f"{self.part}: {self.title}", *body, *(f"  {note}" for note in self.notes), ""])

    def markdown(self) -> str:
        lines = [
            f"### {self.title}",
            "",
            _row(self.head),
            "|" + "---|" * self.texts + "--:|" * (len(self.head) - self.texts),
            *map(_row, self.rows),
        ]
        for note in self.notes:
            lines += ["", note]
        return "\n".join([*lines, ""])

    def _aligned(self, line: Sequence[str], widths: Sequence[int]) -> list[str]:
        cells = enumerate(zip(line, widths, strict=True))
        return [cell.ljust(width) if i < self.texts else cell.rjust(width) for i, (cell, width) in cells]


@dataclass(frozen=True)
class Goal:
    part: str
    text: str
    value: float | None
    """What was reached; None: it could not be measured."""
    met: bool | None
    unit: str

    @property
    def reached(self) -> str:
        return "not measured" if self.value is None else figure(self.value) + self.unit


@dataclass
class Report:
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def add(self, table: Table) -> None:
        """Keep a table, and show it."""
        self.tables.append(table)
        print("\n" + table.text(), flush=True)

    def at_most(self, part: str, text: str, value: float | None, limit: float, unit: str = "") -> None:
        """A goal that is met by a value up to the limit."""
        self._goal(part, text, value, None if value is None else value <= limit, unit)

    def at_least(self, part: str, text: str, value: float | None, limit: float, unit: str = "") -> None:
        """A goal that is met by a value from the limit on."""
        self._goal(part, text, value, None if value is None else value >= limit, unit)

    def _goal(self, part: str, text: str, value: float | None, met: bool | None, unit: str) -> None:
        self.goals.append(Goal(part, text, value, met, unit))

    def goals_table(self) -> Table:
        answer = {True: "yes", False: "no", None: "-"}
        rows = [(goal.part, goal.text, goal.reached, answer[goal.met]) for goal in self.goals]
        return Table("goals", "Goals", ("part", "goal", "reached", "met"), list(rows), texts=2)

    def markdown(self, description: Iterable[str]) -> str:
        parts = [
            "# Benchmark results",
            "",
            *(f"- {line}" for line in description),
            "",
            _PREFACE,
            "",
        ]
        shown = ""
        for table in [self.goals_table(), *self.tables] if self.goals else self.tables:
            if table.part != shown:
                parts += [f"## {table.part}", ""]
                shown = table.part
            parts.append(table.markdown())
        return "\n".join(parts)


def figure(value: float) -> str:
    """Three digits."""
    if value >= 1000:
        return f"{round(value, 2 - (len(str(int(value))) - 1)):,.0f}".replace(",", " ")
    return f"{value:.3g}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
