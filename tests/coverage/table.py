"""The table of `docs/coverage.md`, made anew: ``python -m tests.coverage.table [CASE ...]``.

With names, only the cases that begin so are simulated and the rows of the others keep their numbers; ``-`` is none.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.coverage import boxes, calibration, effect, features, images, seeds, weights, words
from tests.coverage.case import Case, Row, measure_coverage

CASES: tuple[Case, ...] = tuple(
    case
    for theme in (seeds, images, calibration, features, weights, boxes, words, effect)
    for case in theme.CASES
)
PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
NOT_YET = "not run yet"
HEAD = ("case", "interval", "printed by", "law", "n", "coverage", "held to")
_BEGIN = "|" + "|".join("---" for _ in HEAD) + "|"


def read_rows(page: str) -> dict[tuple[str, str], list[str]]:
    """Cells of each row by its case and interval."""
    lines = [line for line in page.splitlines() if line.startswith("| ")][1:]  # not the head
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], row[1]): row for row in cells}


def first_cells(case: Case, row: Row) -> list[str]:
    """What the code says of a row, without what was measured."""
    return [case.name, row.interval, case.printed, case.law, case.n]


def last_cell(row: Row) -> str:
    """Between what the coverage must lie, and the words that say so where it is not 95 %."""
    ends = f"{row.low:.2f}–{row.high:.2f}".replace("0.", ".")
    return ends + (f"; “{row.says}”" if row.says else "")


def _write(rows: dict[tuple[str, str], list[str]]) -> None:
    page = PAGE.read_text()
    before = page.split("| " + " | ".join(HEAD))[0]
    wanted = [
        [*first_cells(case, row), rows[key][-2] if key in rows else NOT_YET, last_cell(row)]
        for case in CASES
        for row in case.rows
        for key in [(case.name, row.interval)]
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in (list(HEAD), *wanted)]
    lines.insert(1, _BEGIN)
    PAGE.write_text(before + "\n".join(lines) + "\n")


def main(names: list[str]) -> None:
    """Simulate, print and write."""
    rows = read_rows(PAGE.read_text())
    for case in [case for name in names or [""] for case in CASES if case.name.startswith(name)]:
        start, found = time.perf_counter(), case.simulate()
        for row in case.rows:
            measured = measure_coverage(found[row.interval])
            shown = f"{measured.share:.3f} ± {measured.error:.3f}".replace("0.", ".")
            if measured.printed < 1:
                shown += f" (of the {100 * measured.printed:.0f} % printed)"
            rows[case.name, row.interval] = [*first_cells(case, row), shown, last_cell(row)]
            mark = "" if row.low <= measured.share <= row.high else "  <-- outside"
            print(f"{case.name}: {row.interval}: {shown}{mark}", flush=True)
        print(f"  {time.perf_counter() - start:.1f} s", flush=True)
        _write(rows)
    _write(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
