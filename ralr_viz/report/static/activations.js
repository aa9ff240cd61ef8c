"use strict";
// The histograms: which layer, and which of the two states.
(function () {
  const layer = document.getElementById("activations-layer");
  if (layer === null) return;
  const found = report.data("activations");
  const boxes = [...document.querySelectorAll(".activations-state")];
  const digits = (value) => Number(value.toPrecision(4));
  for (const swatch of document.querySelectorAll("#activations .swatch")) {
    swatch.style.borderColor = swatch.dataset.color;
    if (!swatch.classList.contains("outline")) swatch.style.background = swatch.dataset.color;
  }

  function show() {
    const { edges, density, zeros } = found.layers[Number(layer.value)];
    // printed, the captions say what the controls do
    for (const words of document.querySelectorAll(".activations-shown")) {
      words.textContent = layer.selectedOptions[0].textContent;
    }
    const top = Math.max(...density.flat(2));
    density.forEach(([earlier, later], row) => {
      const name = "activations-" + row;
      report.model(name + "-bars").data = { left: edges.slice(0, -1), right: edges.slice(1), top: earlier };
      report.model(name + "-outline").data = { x: edges, y: [...later, 0] };
    });
    // the ranges are those of all panels
    const { x_range: across, y_range: up } = report.model("activations-0");
    const wanted = [[across, edges[0], edges.at(-1)], [up, 0, top > 0 ? 1.05 * top : 1]];
    for (const [range, start, end] of wanted) range.setv({ start, end, reset_start: start, reset_end: end });
    for (const element of document.querySelectorAll(".activations-zeros")) {
      const [before, after] = zeros[Number(element.dataset.row)];
      element.textContent = `exact zeros: ${(100 * before).toFixed(1)} → ${(100 * after).toFixed(1)} %`;
    }
    const header = ["from", "to", ...found.rows.flatMap((row, r) => found.states[r].map((state) => `${row}, ${state}`))];
    const rows = edges.slice(0, -1).map((edge, j) =>
      [edge, edges[j + 1], ...density.flat().map((values) => values[j])].map(digits));
    report.fillTable(document.getElementById("activations-bins"), header, rows);
  }
  function choose() {
    for (const box of boxes) {
      for (const mark of document.querySelectorAll(`.activations-mark[data-state="${box.value}"]`)) {
        mark.hidden = !box.checked;
      }
      found.rows.forEach((_, row) => {
        report.model("activations-" + row + "-" + box.value).visible = box.checked;
      });
    }
  }
  const wanted = report.getState("layer");
  if (wanted !== null && found.layers[Number(wanted)] !== undefined) layer.value = wanted;
  layer.addEventListener("change", () => {
    report.setState("layer", Number(layer.value) === found.layers.length - 1 ? null : layer.value);
    report.ready(show);
  });
  for (const box of boxes) box.addEventListener("change", () => report.ready(choose));
  report.ready(show);
})();
