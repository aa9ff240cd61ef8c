"use strict";
// The sampled images: pictures, maps and what the networks say of them, drawn for whoever asks.
(function () {
  const found = report.data("embeddings");
  const payload = found === null ? null : found.samples;
  const waiting = [];
  let samples = null;
  report.samples = (callback) => {
    if (samples === null) waiting.push(callback);
    else callback(samples);
  };
  if (!payload) return;

  const TARGET = 128; // pixels of a canvas, at least; the style says how large it is shown
  function decode(text, Type) {
    if (text === null) return null;
    return new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  }
  const { n, mapped } = payload; // the first ones are in the maps
  const [height, width] = payload.cell;
  const zoom = Math.max(1, Math.ceil(TARGET / Math.max(height, width)));
  const indices = decode(payload.indices, Int32Array);
  const labels = decode(payload.labels, Int16Array);
  const boxes = decode(payload.boxes, Int16Array);
  const moved = decode(payload.moved, Float32Array);
  const kept = decode(payload.kept, Float32Array);
  const colors = {
    cam: decode(payload.colors.cam, Uint8Array),
    difference: decode(payload.colors.difference, Uint8Array),
  };
  const sides = payload.sides.map((side) => ({
    name: side.name,
    color: side.color,
    predicted: decode(side.predicted, Int16Array),
    probability: decode(side.probability, Float32Array),
    trueProbability: decode(side.trueProbability, Float32Array),
    maps: decode(side.maps, Uint8Array),
    mapSize: side.mapSize,
    inBox: decode(side.inBox, Float32Array),
  }));

  function className(label) {
    return label < 0 ? "unknown" : payload.classNames[label] ?? String(label);
  }
  function isRight(side, i) {
    return sides[side].predicted[i] === labels[i];
  }
  // Of A and B: "both", "first", "second", "neither"; of one: "both" where it is right. A control decides nothing.
  const compared = sides.slice(0, 2);
  function whoIsRight(i) {
    const right = compared.map((_, side) => isRight(side, i));
    if (right.every(Boolean)) return "both";
    if (!right.some(Boolean)) return "neither";
    return right[0] ? "first" : "second";
  }
  function hasBox(i) {
    return boxes !== null && boxes[4 * i] >= 0;
  }

  // --- pictures ---------------------------------------------------------------------------------------------
  const scratch = document.createElement("canvas");
  scratch.width = width;
  scratch.height = height;
  const ink = scratch.getContext("2d", { willReadFrequently: true });
  let sheets = [];

  function putImage(i) {
    let at = i;
    for (const sheet of sheets) {
      if (at < sheet.count) {
        const row = Math.floor(at / sheet.columns), column = at % sheet.columns;
        const top = row * sheet.stride[0], left = column * sheet.stride[1];
        ink.drawImage(sheet.picture, left, top, width, height, 0, 0, width, height);
        return;
      }
      at -= sheet.count;
    }
  }
  // Bilinear, samples in the middle of their cells, the border repeated: as results/interpolation.py.
  function weights(from, to) {
    return Array.from({ length: to }, (_, k) => {
      const place = Math.min(Math.max(((k + 0.5) * from) / to - 0.5, 0), from - 1);
      const low = Math.floor(place);
      return [low, Math.min(low + 1, from - 1), place - low];
    });
  }
  function pixels(side, i) {
    const [h, w] = sides[side].mapSize;
    const grid = sides[side].maps.subarray(i * h * w, (i + 1) * h * w);
    const rows = weights(h, height), columns = weights(w, width);
    const out = new Float64Array(height * width);
    let k = 0;
    for (const [top, bottom, down] of rows) {
      for (const [left, right, across] of columns) {
        const upper = grid[top * w + left] + across * (grid[top * w + right] - grid[top * w + left]);
        const lower = grid[bottom * w + left] + across * (grid[bottom * w + right] - grid[bottom * w + left]);
        out[k++] = upper + down * (lower - upper);
      }
    }
    return out;
  }
  function unitMass(side, i) {
    const values = pixels(side, i);
    const total = values.reduce((a, b) => a + b, 0);
    return values.map((value) => (total > 0 ? value / total : 1 / values.length));
  }
  function show(canvas, i, box) {
    canvas.width = width * zoom;
    canvas.height = height * zoom;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
    if (!box || !hasBox(i)) return;
    const across = canvas.width / payload.imageSize[1], down = canvas.height / payload.imageSize[0];
    const [x0, y0, x1, y1] = boxes.subarray(4 * i, 4 * i + 4);
    const place = [x0 * across, y0 * down, (x1 + 1 - x0) * across, (y1 + 1 - y0) * down];
    for (const [color, size] of [["black", 5], ["white", 2.5]]) {
      context.strokeStyle = color;
      context.lineWidth = size;
      context.strokeRect(...place);
    }
  }
  function drawImage(canvas, i) {
    putImage(i);
    show(canvas, i, true);
  }
  function drawMap(canvas, i, side) {
    const values = pixels(side, i);
    let low = Infinity, high = -Infinity;
    for (const value of values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    putImage(i);
    const picture = ink.getImageData(0, 0, width, height), data = picture.data;
    for (let k = 0; k < values.length; k++) {
      const grey = 0.299 * data[4 * k] + 0.587 * data[4 * k + 1] + 0.114 * data[4 * k + 2];
      const step = high > low ? Math.min(255, Math.floor((256 * (values[k] - low)) / (high - low))) : 0;
      for (let c = 0; c < 3; c++) {
        data[4 * k + c] = payload.heat * colors.cam[3 * step + c] + (1 - payload.heat) * grey;
      }
    }
    ink.putImageData(picture, 0, 0);
    show(canvas, i, true);
  }
  function drawDifference(canvas, i) {
    const a = unitMass(0, i), b = unitMass(1, i);
    const limit = payload.differenceLimit / a.length;
    const picture = ink.createImageData(width, height), data = picture.data;
    for (let k = 0; k < a.length; k++) {
      const share = 0.5 + (b[k] - a[k]) / (2 * limit);
      const step = Math.max(0, Math.min(255, Math.floor(256 * share)));
      for (let c = 0; c < 3; c++) data[4 * k + c] = colors.difference[3 * step + c];
      data[4 * k + 3] = 255;
    }
    ink.putImageData(picture, 0, 0);
    show(canvas, i, true);
  }

  // --- words ------------------------------------------------------------------------------------------------
  const percent = (value) => (Number.isFinite(value) ? (100 * value).toFixed(0) + " %" : "–");
  const mark = (side, i) => (labels[i] < 0 ? "" : isRight(side, i) ? "✓ " : "✗ ");
  function says(side, i) {
    const s = sides[side];
    return mark(side, i) + className(s.predicted[i]) + " " + s.probability[i].toFixed(3);
  }
  function describe(i) {
    const parts = sides.map((side, s) => {
      const verdict = labels[i] < 0 ? "" : isRight(s, i) ? ", right" : ", wrong";
      return `${side.name} says ${className(side.predicted[i])}, ${side.probability[i].toFixed(3)}${verdict}`;
    });
    const neighbours = kept === null || !Number.isFinite(kept[i]) ? "" : ` ${percent(kept[i])} of its neighbours kept.`;
    return `Image ${indices[i]}, ${className(labels[i])}. ${parts.join("; ")}.${neighbours}`;
  }
  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }
  function picture(title, alt, draw) {
    const figure = element("figure", undefined, "picture");
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", alt);
    draw(canvas);
    figure.append(canvas, element("figcaption", title));
    return figure;
  }
  // Image, the networks' maps and their difference, as far as there are any.
  function pictures(i) {
    const made = element("div", undefined, "pictures");
    const name = className(labels[i]);
    const boxed = hasBox(i) ? " with its box" : "";
    made.append(picture("image", `Image ${indices[i]}: ${name}${boxed}`, (c) => drawImage(c, i)));
    sides.forEach((side, s) => {
      if (side.maps === null) return;
      const inside = side.inBox !== null && hasBox(i) ? `, ${percent(side.inBox[i])} of it in the box` : "";
      made.append(picture(side.name, `Class activation map of ${side.name}${inside}`, (c) => drawMap(c, i, s)));
    });
    if (moved !== null) {
      const alt = `Map of ${sides[1].name} minus that of ${sides[0].name}: ${percent(moved[i])} of the mass moved`;
      made.append(picture("change", alt, (c) => drawDifference(c, i)));
    }
    return made;
  }

  // Colours of a scale as a CSS background.
  function gradient(name) {
    const stops = Array.from({ length: 17 }, (_, k) => `rgb(${colors[name].subarray(3 * Math.min(255, 16 * k), 3 * Math.min(255, 16 * k) + 3).join(",")})`);
    return `linear-gradient(to right, ${stops.join(", ")})`;
  }

  async function load() {
    sheets = await Promise.all(payload.sheets.map(async (sheet) => {
      const image = new Image();
      image.src = sheet.uri;
      await image.decode();
      return { ...sheet, picture: image };
    }));
    samples = {
      n, mapped, compared, indices, labels, kept, moved, sides, className, isRight, whoIsRight, hasBox, says, describe,
      percent, element, pictures, drawImage, gradient, decode,
      differenceLimit: payload.differenceLimit,
    };
    for (const callback of waiting.splice(0)) callback(samples);
  }
  load();
})();
