"use strict";
// One cursor through all charts, moved by the mouse over any of them or by the slider; and the tables.
(function () {
  const data = report.data("curves");
  if (data === null) return;
  const slider = document.getElementById("curves-epoch");
  const lines = document.getElementById("curves-lines");
  const caption = document.getElementById("curves-caption");
  const readout = caption.closest("table");
  const names = ["curves-training", "curves-loss", "curves-accuracy", "curves-lr"];
  const header = ["run", "epoch", ...data.labels, "amplified"];

  function row(run, at) {
    return [data.runs[run], data.epoch[at], ...data.values.map((of) => of[run][at]), data.amplified[run][at] ? "yes" : ""];
  }
  function measured(run, at) {
    return data.values.some((of) => of[run][at] !== null);
  }
  function allRows() {
    const rows = [];
    data.runs.forEach((_, run) => data.epoch.forEach((_, at) => measured(run, at) && rows.push(row(run, at))));
    return rows;
  }
  function show(at) {
    slider.value = String(at);
    slider.setAttribute("aria-valuetext", String(data.epoch[at]));
    document.getElementById("curves-at").textContent = String(data.epoch[at]);
    for (const name of names) {
      const cursor = report.model("cursor-" + name);
      if (cursor !== null) cursor.location = data.epoch[at];
    }
    report.fillTable(readout, header, data.runs.map((_, run) => row(run, at)));
    readout.prepend(caption);
    caption.textContent = "Epoch " + data.epoch[at];
  }
  function nearest(x) {
    let best = 0;
    data.epoch.forEach((epoch, i) => {
      if (Math.abs(epoch - x) < Math.abs(data.epoch[best] - x)) best = i;
    });
    return best;
  }
  function applyLines() {
    for (const name of names) {
      for (const renderer of report.model(name)?.renderers ?? []) {
        const kind = renderer.name;
        if (kind === "raw" || kind === "smoothed") renderer.visible = lines.value === "both" || lines.value === kind;
      }
    }
  }

  report.curves = {
    move(x) {
      const at = Number.isFinite(x) ? nearest(x) : Number(slider.value);
      if (at !== Number(slider.value)) show(at);
    },
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  slider.addEventListener("change", () => report.setState("epoch", data.epoch[Number(slider.value)]));
  lines.addEventListener("change", () => {
    report.setState("lines", lines.value === "both" ? null : lines.value);
    applyLines();
  });
  document.getElementById("curves-csv").addEventListener("click", () => {
    report.downloadCsv("curves.csv", header, allRows());
  });
  const all = document.getElementById("curves-all");
  all.addEventListener("toggle", () => {
    const table = all.querySelector("table");
    if (all.open && table.tBodies.length === 0) report.fillTable(table, header, allRows());
  });
  report.ready(() => {
    const wanted = report.getState("lines");
    if (wanted === "raw" || wanted === "smoothed") lines.value = wanted;
    applyLines();
    const epoch = Number(report.getState("epoch") ?? NaN);
    show(Number.isFinite(epoch) ? nearest(epoch) : data.epoch.length - 1);
  });
})();
