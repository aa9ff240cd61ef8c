"use strict";
// What the page shows, to be taken out: each table as CSV, each chart as PNG and SVG; and tables that scroll say so.
(function () {
  const NUMBER = /^[+−-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?(e[+−-]?\d+)?$/i;
  const INTERVAL = /^(\S+) \[(\S+), (\S+)\]$/;
  const fileName = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "table";
  const plain = (text) => (/\d/.test(text) && NUMBER.test(text) ? Number(text.replaceAll(",", "").replaceAll("−", "-")) : text);
  const words = (cell) => cell.textContent.trim().replaceAll(/\s+/g, " ");

  function button(text, name, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", name);
    made.addEventListener("click", act);
    return made;
  }

  // --- tables -----------------------------------------------------------------------------------------------
  // Rows of text; a column of intervals becomes three of numbers.
  function readTable(table) {
    const [header, ...rows] = [...table.rows].map((row) => [...row.cells].map(words));
    const split = header.map((_, k) => rows.some((row) => INTERVAL.test(row[k] ?? "")));
    const spread = (row, cells) => row.flatMap((text, k) => (split[k] ? cells(text) : [plain(text)]));
    const interval = (text) => (INTERVAL.exec(text)?.slice(1) ?? [text, "", ""]).map(plain);
    return [spread(header, (name) => [name, name + ", low", name + ", high"]), ...rows.map((row) => spread(row, interval))];
  }
  for (const area of document.querySelectorAll(".scroll, .table-wrap")) {
    const table = area.querySelector("table");
    const labelled = document.getElementById(area.getAttribute("aria-labelledby"));
    const name = area.getAttribute("aria-label") ?? labelled?.textContent ?? "table";
    const tools = document.createElement("p");
    tools.className = "table-tools";
    const hint = document.createElement("span");
    hint.className = "scroll-hint";
    hint.textContent = "⟷ This table scrolls sideways.";
    tools.append(hint);
    if (table.dataset.csv !== "own") {
      tools.append(button("CSV", `CSV: ${name}`, () => {
        const [header, ...rows] = readTable(table);
        report.downloadCsv(fileName(name) + ".csv", header, rows);
      }));
    }
    area.before(tools);
    const look = () => {
      const scrolls = area.scrollWidth > area.clientWidth + 1;
      area.classList.toggle("scrolls", scrolls);
      hint.hidden = !scrolls;
    };
    const watch = new ResizeObserver(look);
    watch.observe(area);
    watch.observe(table);
  }

  // --- charts -----------------------------------------------------------------------------------------------
  async function saveChart(name, type) {
    const chart = report.model(name), ground = chart.border_fill_color;
    chart.border_fill_color = "white";
    const picture = report.onPaper(() => Bokeh.index.find_one(chart).export(type));
    chart.border_fill_color = ground;
    report.download(`${name}.${type}`, await picture.to_blob());
  }
  report.ready(() => {
    for (const place of document.querySelectorAll("[id^='figure-']")) {
      const name = place.id.slice("figure-".length);
      if (report.model(name) === null) continue;
      const tools = document.createElement("p");
      tools.className = "chart-tools";
      for (const type of ["png", "svg"]) {
        tools.append(button(type.toUpperCase(), `${type.toUpperCase()}: ${name}`, () => saveChart(name, type)));
      }
      (place.closest(".chart, .map-keys, [role='group']") ?? place).after(tools);
    }
  });
})();
