"use strict";
// What the sections share: the chosen class, the URL's state, Bokeh's models. Nothing here knows a section.
(function () {
  const classListeners = [];
  const waiting = [];
  let bokehDocument = null;
  let rendered = false;
  let chosen = null;

  function data(key) {
    const element = document.getElementById("data-" + key);
    return element === null ? null : JSON.parse(element.textContent);
  }
  const page = data("page");

  // The state of the page is in the hash, so that a link to a view can be mailed: #at=classes&class=3
  function readState() {
    return new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  }
  function getState(key) {
    return readState().get(key);
  }
  function setState(key, value) {
    const state = readState();
    if (value === null || value === undefined) state.delete(key);
    else state.set(key, String(value));
    const text = state.toString();
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  }

  function className(label) {
    return page.classNames[label] ?? String(label);
  }
  function announceClass() {
    document.getElementById("filter-text").textContent =
      chosen === null ? "" : "Only class " + className(chosen) + " is shown. ";
    document.getElementById("filter-clear").hidden = chosen === null;
    document.getElementById("filter").classList.toggle("on", chosen !== null);
    for (const listener of classListeners) listener(chosen);
  }
  function setClass(label) {
    if (label === chosen) return;
    chosen = label;
    setState("class", label);
    announceClass();
  }
  function onClass(listener) {
    classListeners.push(listener);
    listener(chosen);
  }
  function parseClass(text) {
    const label = text === null || text === "" ? NaN : Number(text);
    const known = page.classNames.length === 0 || label < page.classNames.length;
    return Number.isInteger(label) && label >= 0 && known ? label : null;
  }

  function ready(callback) {
    if (rendered) callback();
    else waiting.push(callback);
  }
  function model(name) {
    return bokehDocument === null ? null : bokehDocument.get_model_by_name(name);
  }

  function csvCell(value) {
    let text = value === null || value === undefined ? "" : String(value);
    // a spreadsheet would run a class called =HYPERLINK(...) as a formula; as ralr_viz/results/table_csv.py
    const number = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;
    if (typeof value === "string" && /^['=+\-@\t\r\n＝＋－＠]/.test(text) && !number.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }
  function downloadCsv(filename, header, rows) {
    const text = [header, ...rows].map((row) => row.map(csvCell).join(",") + "\n").join("");
    download(filename, new Blob([text], { type: "text/csv" }));
  }
  function download(filename, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = filename;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  // A table of text, made of nodes: a class called <script> stays text.
  function fillTable(table, header, rows) {
    table.replaceChildren();
    const head = table.createTHead().insertRow();
    for (const name of header) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      for (const value of row) line.insertCell().textContent = value === null ? "–" : String(value);
    }
  }

  // Paper is light: what is on canvases must be so before it is printed, and at once.
  function print(printing) {
    document.documentElement.toggleAttribute("data-printing", printing);
    recolour();
    for (const root of bokehDocument?.roots() ?? []) Bokeh.index.find_one(root)?.repaint();
  }
  // What a picture of a chart is made of: its light colours, whatever the page's are.
  function onPaper(make) {
    document.documentElement.toggleAttribute("data-printing", true);
    recolour();
    try {
      return make();
    } finally {
      document.documentElement.toggleAttribute("data-printing", false);
      recolour();
    }
  }
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));

  // Canvases know no CSS: the colours of text, axes and grids follow the page's.
  function recolour() {
    if (bokehDocument === null) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const text = color("--text"), line = color("--muted"), grid = color("--rule");
    const rules = {
      axis_label_text_color: text, major_label_text_color: text,
      axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: line,
      grid_line_color: grid,
    };
    for (const one of bokehDocument._all_models.values()) {
      for (const [name, value] of Object.entries(rules)) {
        if (name in one.properties && one[name] !== null) one[name] = value;
      }
    }
  }

  // Bokeh's tools are nameless boxes: say what they are and whether they are on.
  function describeTools(toolbar) {
    for (const tool of toolbar.querySelectorAll(".bk-OnOffButton, .bk-ClickButton, .bk-tool-overflow")) {
      tool.setAttribute("role", "button");
      tool.setAttribute("aria-label", tool.title || "More tools");
      if (tool.matches(".bk-OnOffButton")) tool.setAttribute("aria-pressed", tool.classList.contains("bk-active"));
    }
  }
  function describeCharts(node) {
    for (const element of node.querySelectorAll("*")) {
      if (element.shadowRoot === null) continue;
      // the pointer's: what keys do, they do on the map around it
      for (const layer of element.shadowRoot.querySelectorAll(".bk-events")) layer.tabIndex = -1;
      if (element.matches(".bk-Toolbar")) {
        describeTools(element.shadowRoot);
        const watch = { subtree: true, childList: true, attributeFilter: ["class", "title"] };
        new MutationObserver(() => describeTools(element.shadowRoot)).observe(element.shadowRoot, watch);
      }
      describeCharts(element.shadowRoot);
    }
  }

  async function embed() {
    const found = data("figures");
    if (found !== null && found.document !== null) {
      const ids = Object.keys(found.roots);
      const item = { docid: "report", roots: found.roots, root_ids: ids };
      await Bokeh.embed.embed_items({ report: found.document }, [item]);
      bokehDocument = Bokeh.documents[0];
      recolour();
      describeCharts(document);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    }
    rendered = true;
    document.documentElement.dataset.rendered = "yes";
    for (const callback of waiting.splice(0)) callback();
  }

  function goTo(id) {
    const target = document.getElementById(id);
    if (target === null) return;
    target.scrollIntoView({ behavior: "instant" });
    const heading = document.getElementById("heading-" + id) ?? target;
    heading.focus({ preventScroll: true });
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest ? event.target.closest("a[href^='#']") : null;
    if (link === null || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const id = link.getAttribute("href").slice(1);
    if (id.includes("=")) return; // a state of its own
    event.preventDefault(); // the browser would put the anchor in place of the state
    setState("at", id);
    goTo(id);
  });

  function applyState() {
    chosen = parseClass(getState("class"));
    announceClass();
    const at = getState("at") ?? (location.hash.includes("=") ? null : location.hash.slice(1));
    // only once the charts have their heights is it known where a section is
    if (at) ready(() => requestAnimationFrame(() => requestAnimationFrame(() => goTo(at))));
  }

  document.getElementById("filter-clear").addEventListener("click", () => {
    setClass(null);
    document.getElementById("main").focus({ preventScroll: true });
  });
  window.addEventListener("hashchange", applyState);
  document.addEventListener("DOMContentLoaded", () => {
    applyState();
    embed();
  });

  window.report = {
    data, getState, setState, className, setClass, onClass, ready, model, download, downloadCsv, fillTable, onPaper,
    get classFilter() { return chosen; },
  };
})();
