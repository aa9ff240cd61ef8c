"use strict";
// The maps: colours, the class filter, the chosen image with its card, and the list of the selected images.
(function () {
  if (document.getElementById("map-mode") === null) return;
  const NEAR = { mousemove: 14, tap: 24 }; // pixels from the pointer to a point
  const STEP = 48; // images that the list grows by
  const look = report.data("embeddings").look;
  const find = (id) => document.getElementById(id);
  const mode = find("map-mode"), legend = find("map-legend"), live = find("map-live");
  const body = find("map-card-body"), list = find("map-list"), more = find("map-list-more");

  report.samples((samples) => report.ready(() => start(samples)));

  function start(samples) {
    const { mapped: n, labels, element } = samples; // images in the maps; others can be chosen by their number only
    const source = report.model("map-points"), cursor = report.model("map-cursor");
    const panels = samples.sides.map((_, side) => report.model("map-" + side));
    const places = panels.map((_, side) => [source.get_array("x" + side), source.get_array("y" + side)]);
    const code = new Map(look.labels.map((label, at) => [label, at]));
    let chosen = null, pinned = false, listed = [], limit = STEP;

    const isShown = (i) => report.classFilter === null || labels[i] === report.classFilter;

    // --- colours and shapes ---------------------------------------------------------------------------------
    const names = samples.compared.map((side) => side.name);
    const right = {
      both: { look: look.both, text: names.length > 1 ? "right in both" : "right" },
      first: { look: [samples.sides[0].color, "triangle"], text: `right in ${names[0]} only` },
      second: { look: [samples.compared.at(-1).color, "square"], text: `right in ${names.at(-1)} only` },
      neither: { look: look.neither, text: names.length > 1 ? "right in neither" : "wrong" },
    };
    const groups = names.length > 1 ? ["both", "first", "second", "neither"] : ["both", "neither"];
    // the last of a cycle of shapes must not be the first's: their hues are neighbours
    const period = look.markers.length - (look.labels.length === look.markers.length + 1 ? 1 : 0);
    const ofClass = (label) => {
      const at = code.get(label) ?? 0;
      const few = look.labels.length <= look.mostClasses;
      return [look.classColors[at], few ? look.markers[at % period] : "circle"];
    };
    const ofPoint = {
      class: (i) => ofClass(labels[i]),
      correct: (i) => right[samples.whoIsRight(i)].look,
      kept: (i) => [look.ramp[Math.min(31, Math.floor(32 * samples.kept[i]))], "circle"],
    };
    function paint() {
      const color = [], marker = [], alpha = new Float32Array(n);
      for (let i = 0; i < n; i++) {
        const [hue, shape] = ofPoint[mode.value](i);
        color.push(hue);
        marker.push(shape);
        const usual = mode.value === "correct" && samples.whoIsRight(i) === "both";
        alpha[i] = isShown(i) ? (usual ? 0.35 : 0.85) : 0.04;
      }
      const columns = { color, marker, alpha };
      places.forEach(([x, y], side) => Object.assign(columns, { ["x" + side]: x, ["y" + side]: y }));
      source.data = columns;
    }
    const SHAPES = {
      circle: "M8 2a6 6 0 1 1 0 12 6 6 0 1 1 0-12z", square: "M2 2h12v12H2z", triangle: "M8 1l7 13H1z",
      inverted_triangle: "M8 15L1 2h14z", diamond: "M8 0l6 8-6 8-6-8z", hex: "M4 1h8l4 7-4 7H4L0 8z",
      plus: "M6 1h4v5h5v4h-5v5H6v-5H1V6h5z", star: "M8 0l2 6h6l-5 4 2 6-5-4-5 4 2-6-5-4h6z",
      square_pin: "M1 1q7 4 14 0-4 7 0 14-7-4-14 0 4-7 0-14z", triangle_pin: "M8 1q1 8 7 13-7-3-14 0Q7 9 8 1z",
    };
    function entry([color, shape], text) {
      const made = element("span");
      const SVG = "http://www.w3.org/2000/svg";
      const mark = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
      mark.setAttribute("viewBox", "0 0 16 16");
      mark.setAttribute("aria-hidden", "true");
      path.setAttribute("fill", color);
      path.setAttribute("d", SHAPES[shape]);
      mark.append(path);
      made.append(mark, element("span", text));
      return made;
    }
    function explain() {
      const ramp = (colors, from, to) => {
        const bar = element("span", undefined, "ramp");
        bar.style.background = `linear-gradient(to right, ${colors.join(", ")})`;
        return [element("span", from), bar, element("span", to)];
      };
      if (mode.value === "correct") {
        const counts = Object.fromEntries(groups.map((group) => [group, 0]));
        for (let i = 0; i < n; i++) if (isShown(i)) counts[samples.whoIsRight(i)] += 1;
        legend.replaceChildren(...groups.map((g) => entry(right[g].look, `${right[g].text} (${counts[g].toLocaleString("en")})`)));
      } else if (mode.value === "kept") {
        const k = report.data("embeddings").k;
        legend.replaceChildren(...ramp(look.ramp, `0: none of its ${k} neighbours kept`, "1: all of them"));
      } else if (look.labels.length <= look.mostClasses) {
        const shown = look.labels.filter((label) => report.classFilter === null || label === report.classFilter);
        legend.replaceChildren(...shown.map((label) => entry(ofClass(label), samples.className(label))));
      } else {
        const ends = [look.labels[0], look.labels.at(-1)].map(samples.className);
        legend.replaceChildren(...ramp(look.classColors, ends[0], `${ends[1]} (in the order of the labels)`));
      }
    }

    // --- the chosen image -----------------------------------------------------------------------------------
    function choose(i, { keep = false, speak = false } = {}) {
      pinned = i !== null && keep;
      if (i !== chosen) {
        chosen = i;
        const at = {};
        places.forEach(([x, y], side) => {
          at["x" + side] = i === null || i >= n ? [] : [x[i]];
          at["y" + side] = i === null || i >= n ? [] : [y[i]];
        });
        cursor.data = at;
        showCard();
      }
      if (pinned || getPinned() !== null) report.setState("image", pinned ? samples.indices[i] : null);
      if (speak && i !== null) live.textContent = samples.describe(i);
    }
    function showCard() {
      if (chosen === null) {
        body.replaceChildren(element("p", "Point at a map, or step through it with the arrow keys.", "note"));
        return;
      }
      const facts = element("dl");
      const add = (name, value) => facts.append(element("dt", name), element("dd", value));
      add("image", String(samples.indices[chosen]));
      add("true class", samples.className(labels[chosen]));
      samples.sides.forEach((side, s) => {
        const words = [samples.says(s, chosen)];
        const wrong = labels[chosen] >= 0 && !samples.isRight(s, chosen);
        if (wrong) words.push(`true class ${side.trueProbability[chosen].toFixed(3)}`);
        if (side.inBox !== null && samples.hasBox(chosen)) {
          words.push(`${samples.percent(side.inBox[chosen])} of its map in the box`);
        }
        add(side.name, words.join("; "));
      });
      if (samples.moved !== null) add("maps", `${samples.percent(samples.moved[chosen])} of the mass moved`);
      if (chosen >= n) add("maps", "not in them: chosen by outcome, for the gallery");
      else if (samples.kept !== null) add("neighbours", `${samples.kept[chosen].toFixed(3)} kept`);
      const link = element("a", "Link to this image");
      link.href = "#image=" + samples.indices[chosen];
      body.replaceChildren(samples.pictures(chosen), facts, link);
      body.dataset.image = samples.indices[chosen];
    }
    const getPinned = () => report.getState("image");
    function nearest(panel, x, y, reach) {
      const figure = panels[panel], [xs, ys] = places[panel];
      const across = figure.inner_width / (figure.x_range.end - figure.x_range.start);
      const down = figure.inner_height / (figure.y_range.end - figure.y_range.start);
      let best = null, least = reach * reach;
      for (let i = 0; i < n; i++) {
        if (!isShown(i)) continue;
        const distance = ((xs[i] - x) * across) ** 2 + ((ys[i] - y) * down) ** 2;
        if (distance <= least) [best, least] = [i, distance];
      }
      return best;
    }
    document.addEventListener("report-map", (event) => {
      const { panel, kind, x, y } = event.detail;
      if (kind === "mousemove" && pinned) return;
      const i = nearest(panel, x, y, NEAR[kind]);
      if (kind === "tap") choose(i, { keep: true, speak: true });
      else if (i !== null) choose(i);
    });

    // --- keys -----------------------------------------------------------------------------------------------
    const DIRECTIONS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    function stepTowards(panel, [dx, dy]) {
      const [xs, ys] = places[panel];
      if (chosen === null || chosen >= n || !isShown(chosen)) return stepInOrder(1);
      let best = null, least = Infinity;
      for (let i = 0; i < n; i++) {
        if (i === chosen || !isShown(i)) continue;
        const x = xs[i] - xs[chosen], y = ys[i] - ys[chosen];
        const ahead = x * dx + y * dy, aside = Math.abs(x * dy + y * dx);
        if (ahead <= 0 || aside > ahead) continue; // a quarter of the map lies in each direction
        const distance = ahead + aside;
        if (distance < least) [best, least] = [i, distance];
      }
      return best ?? chosen;
    }
    function stepInOrder(step) {
      const start = chosen === null || chosen >= n ? (step > 0 ? -1 : n) : chosen;
      for (let i = start + step; i >= 0 && i < n; i += step) if (isShown(i)) return i;
      return chosen;
    }
    for (const area of document.querySelectorAll(".map-keys")) {
      // paper is wider or narrower, but what is drawn keeps its size
      window.addEventListener("beforeprint", () => { area.style.width = area.offsetWidth + "px"; });
      window.addEventListener("afterprint", () => { area.style.width = ""; });
      area.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        const target = event.composedPath()[0]; // inside Bokeh's shadow roots; its tools have keys of their own
        if (target !== area && !target.classList.contains("bk-events")) return;
        const panel = Number(area.dataset.panel), key = event.key;
        if (key in DIRECTIONS) choose(stepTowards(panel, DIRECTIONS[key]), { speak: true });
        else if (key === "PageDown") choose(stepInOrder(1), { speak: true });
        else if (key === "PageUp") choose(stepInOrder(-1), { speak: true });
        else if (key === "Enter" && chosen !== null) choose(chosen, { keep: true, speak: true });
        else if (key === "Escape") choose(null);
        else if (key === " " && chosen !== null) toggle(chosen);
        else return;
        event.preventDefault();
      }, true);
    }

    // --- the list -------------------------------------------------------------------------------------------
    function toggle(i) {
      if (i >= n) return;
      const indices = source.selected.indices;
      source.selected.indices = indices.includes(i) ? indices.filter((k) => k !== i) : [...indices, i];
    }
    function showList() {
      listed = [...source.selected.indices].filter(isShown).sort((a, b) => a - b);
      const any = source.selected.indices.length > 0;
      const words = listed.length === 1 ? "1 image" : `${listed.length.toLocaleString("en")} images`;
      find("map-list-count").textContent = any ? words : "None: drag a box in a map.";
      find("map-list-clear").hidden = !any;
      find("map-list-csv").hidden = find("map-list-sheet").hidden = !listed.length;
      limit = STEP;
      list.replaceChildren();
      grow();
    }
    function grow() {
      for (const i of listed.slice(list.childElementCount, limit)) {
        const item = element("li"), button = element("button"), canvas = element("canvas");
        button.type = "button";
        button.dataset.image = samples.indices[i];
        canvas.setAttribute("aria-hidden", "true");
        samples.drawImage(canvas, i);
        const words = [samples.className(labels[i]), ...samples.sides.map((side, s) => `${side.name}: ${samples.says(s, i)}`)];
        const text = element("span");
        words.forEach((word, at) => text.append(...(at ? [element("br")] : []), word));
        button.append(canvas, text);
        button.addEventListener("click", () => choose(i, { keep: true, speak: true }));
        item.append(button);
        list.append(item);
      }
      more.hidden = listed.length <= limit;
    }
    more.addEventListener("click", () => {
      const first = list.childElementCount;
      limit += STEP;
      grow();
      list.children[first].firstElementChild.focus();
    });
    find("map-list-clear").addEventListener("click", () => { source.selected.indices = []; });
    find("map-list-shown").addEventListener("click", () => {
      source.selected.indices = Array.from({ length: n }, (_, i) => i).filter(isShown);
    });
    source.selected.properties.indices.change.connect(showList);

    // --- tables ---------------------------------------------------------------------------------------------
    function save(filename, chosenOnes) {
      const ofSide = (name) => ["predicted", "probability", "true_probability", "correct", "x", "y"].map((c) => `${name} ${c}`);
      const header = ["image", "class", ...samples.sides.flatMap((side) => ofSide(side.name))];
      if (samples.kept !== null) header.push("neighbours_kept");
      if (samples.moved !== null) header.push("map_mass_moved");
      const rows = chosenOnes.map((i) => {
        const row = [samples.indices[i], samples.className(labels[i])];
        samples.sides.forEach((side, s) => row.push(
          samples.className(side.predicted[i]), side.probability[i], side.trueProbability[i],
          labels[i] < 0 ? null : samples.isRight(s, i), places[s][0][i], places[s][1][i],
        ));
        if (samples.kept !== null) row.push(samples.kept[i]);
        if (samples.moved !== null) row.push(samples.moved[i]);
        return row;
      });
      report.downloadCsv(filename, header, rows);
    }
    find("map-csv").addEventListener("click", () => {
      save("images.csv", Array.from({ length: n }, (_, i) => i));
    });
    find("map-list-csv").addEventListener("click", () => save("selected-images.csv", listed));

    // Selected images on one picture, each with its class and what the networks say.
    const SHEET = { most: 400, side: 112, pad: 8, line: 15 };
    function saveSheet() {
      const shown = listed.slice(0, SHEET.most), lines = 1 + samples.sides.length;
      const columns = Math.min(shown.length, Math.max(3, Math.ceil(Math.sqrt(shown.length))));
      const across = SHEET.side + 9 * SHEET.pad, down = SHEET.side + lines * SHEET.line + 2 * SHEET.pad;
      const sheet = element("canvas"), picture = element("canvas"), ink = sheet.getContext("2d");
      const scale = 2; // for paper
      sheet.width = scale * columns * across;
      sheet.height = scale * Math.ceil(shown.length / columns) * down;
      ink.scale(scale, scale);
      ink.fillStyle = "white";
      ink.fillRect(0, 0, sheet.width, sheet.height);
      ink.fillStyle = "black";
      ink.font = "11px system-ui, sans-serif";
      ink.imageSmoothingEnabled = false;
      shown.forEach((i, k) => {
        const left = (k % columns) * across + SHEET.pad, top = Math.floor(k / columns) * down + SHEET.pad;
        samples.drawImage(picture, i);
        const fit = SHEET.side / Math.max(picture.width, picture.height);
        ink.drawImage(picture, left, top, fit * picture.width, fit * picture.height);
        const words = [`${samples.indices[i]}: ${samples.className(labels[i])}`, ...samples.sides.map((side, s) => `${side.name}: ${samples.says(s, i)}`)];
        words.forEach((word, at) => {
          let text = word;
          while (text.length > 1 && ink.measureText(text).width > across - SHEET.pad) text = text.slice(0, -2) + "…";
          ink.fillText(text, left, top + SHEET.side + (at + 1) * SHEET.line - 3);
        });
      });
      sheet.toBlob((blob) => report.download("selected-images.png", blob));
    }
    find("map-list-sheet").addEventListener("click", saveSheet);

    report.showImage = (i) => {
      if (!isShown(i)) report.setClass(null);
      choose(i, { keep: true, speak: true });
      document.querySelector(".maps").scrollIntoView();
      document.querySelector(".map-keys").focus({ preventScroll: true });
    };

    // --- state ----------------------------------------------------------------------------------------------
    mode.addEventListener("change", () => {
      report.setState("colour", mode.value === mode.options[0].value ? null : mode.value);
      paint();
      explain();
    });
    const wanted = report.getState("colour");
    if ([...mode.options].some((option) => option.value === wanted)) mode.value = wanted;
    report.onClass(() => {
      paint();
      explain();
      showList();
      if (chosen !== null && !isShown(chosen)) choose(null);
    });
    // a link to an image alone goes to its card; with the rest of a mailed state, that says where
    function applyImage() {
      const at = samples.indices.indexOf(Number(getPinned() ?? NaN));
      if (at < 0 || !isShown(at)) return;
      choose(at, { keep: true, speak: true });
      if (report.getState("at") === null) requestAnimationFrame(() => find("map-card").scrollIntoView({ block: "center" }));
    }
    window.addEventListener("hashchange", applyImage);
    applyImage();
    document.documentElement.dataset.maps = "ready";
  }
})();
