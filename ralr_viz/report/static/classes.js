"use strict";
// Sort, filter and choose classes. The rows are in the page; nothing is made of text here.
(function () {
  const table = document.getElementById("classes-table");
  if (table === null) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const search = document.getElementById("classes-filter");
  const decided = document.getElementById("classes-decided");
  const status = document.getElementById("classes-count");
  let sorted = { column: null, direction: 1 };

  function value(row, column) {
    const text = row.dataset[column];
    if (column === "name") return text;
    return text === "nan" || text === undefined ? null : Number(text);
  }
  function compare(a, b) {
    const x = value(a, sorted.column), y = value(b, sorted.column);
    if (x === null || y === null) return (x === null) - (y === null); // unknown ones last, both ways
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return sorted.direction * order || Number(a.dataset.label) - Number(b.dataset.label);
  }
  function sortBy(column, direction) {
    sorted = { column, direction };
    body.append(...rows.slice().sort(compare));
    for (const button of table.tHead.querySelectorAll("button")) {
      const mine = button.dataset.column === column;
      button.closest("th").setAttribute("aria-sort", mine ? (direction > 0 ? "ascending" : "descending") : "none");
    }
    report.setState("sort", (direction > 0 ? "" : "-") + column);
  }
  function filter() {
    const text = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const keep =
        row.dataset.name.toLowerCase().includes(text) && !(decided?.checked && row.dataset.decided !== "true");
      row.hidden = !keep;
      shown += keep;
    }
    status.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " classes";
  }

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button === null) return;
    const column = button.dataset.column;
    const start = column === "name" ? 1 : -1; // of numbers the largest are wanted first
    sortBy(column, sorted.column === column ? -sorted.direction : start);
  });
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button.choose");
    if (button === null) return;
    const label = Number(button.closest("tr").dataset.label);
    report.setClass(report.classFilter === label ? null : label);
  });
  report.onClass((chosen) => {
    for (const row of rows) {
      const mine = chosen !== null && Number(row.dataset.label) === chosen;
      row.classList.toggle("chosen", mine);
      row.querySelector("button.choose").setAttribute("aria-pressed", String(mine));
    }
  });
  search.addEventListener("input", filter);
  decided?.addEventListener("change", filter);
  document.getElementById("classes-csv").addEventListener("click", () => {
    const { header, rows: numbers } = report.data("classes");
    const byLabel = new Map(numbers.map((row) => [String(row[0]), row]));
    const shown = [...body.rows].filter((row) => !row.hidden);
    report.downloadCsv("classes.csv", header, shown.map((row) => byLabel.get(row.dataset.label)));
  });

  const wanted = /^(-?)(\w+)$/.exec(report.getState("sort") ?? "");
  if (wanted && table.tHead.querySelector('button[data-column="' + wanted[2] + '"]')) {
    sortBy(wanted[2], wanted[1] ? -1 : 1);
  }
})();
