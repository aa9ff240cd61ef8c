"use strict";
// The gallery: groups of the sampled images in an order, of all classes or of the chosen one.
(function () {
  const order = document.getElementById("gallery-order");
  if (order === null) return;
  const STEP = 8; // images that a group grows by

  report.samples((samples) => {
    const { n, mapped, labels, compared: sides, element } = samples;
    const found = report.data("gallery");
    const shuffled = [...samples.decode(found.order, Int32Array)];
    const drawn = shuffled.filter((i) => i < mapped); // the others were chosen by outcome
    const count = (number) => number.toLocaleString("en");
    const two = sides.length > 1;
    const belongs = {
      fixed: (i) => samples.whoIsRight(i) === "second",
      broken: (i) => samples.whoIsRight(i) === "first",
      wrong: (i) => labels[i] >= 0 && samples.whoIsRight(i) === "neither",
      random: () => true,
    };
    const change = (i) => two
      ? Math.abs(sides[1].trueProbability[i] - sides[0].trueProbability[i])
      : 1 - sides[0].trueProbability[i];
    const rank = shuffled.filter((i) => labels[i] >= 0).sort((a, b) => change(b) - change(a));
    rank.push(...shuffled.filter((i) => labels[i] < 0));

    function card(i) {
      const item = element("li");
      item.dataset.image = samples.indices[i];
      const words = element("p");
      words.append(element("strong", samples.className(labels[i])), ` (image ${samples.indices[i]})`);
      samples.sides.forEach((side, s) => words.append(element("br"), `${side.name}: ${samples.says(s, i)}`));
      if (samples.moved !== null) words.append(element("br"), `${samples.percent(samples.moved[i])} of the map moved`);
      item.append(samples.pictures(i), words);
      if (report.showImage) {
        const link = element("a", "Link", "image-link");
        link.href = "#image=" + samples.indices[i];
        link.setAttribute("aria-label", `Link to image ${samples.indices[i]}`);
        const button = element("button", "Show in the maps");
        button.type = "button";
        button.setAttribute("aria-label", `Show image ${samples.indices[i]} in the maps`);
        button.addEventListener("click", () => report.showImage(i));
        item.append(button, " ", link);
      }
      return item;
    }

    // The first screen: two that were fixed and two that were broken, those that changed most.
    function open() {
      const place = document.getElementById("first-pictures");
      if (place === null || !two) return;
      const chosen = ["fixed", "broken"].map((key) => rank.filter(belongs[key]).slice(0, 2));
      if (!chosen.flat().length) return;
      const shown = (i) => {
        const item = element(report.showImage ? "a" : "div"), canvas = element("canvas");
        if (report.showImage) item.href = "#image=" + samples.indices[i];
        canvas.setAttribute("aria-hidden", "true");
        samples.drawImage(canvas, i);
        item.append(canvas, element("strong", samples.className(labels[i])));
        sides.forEach((side, s) => item.append(element("br"), `${side.name}: ${samples.says(s, i)}`));
        return item;
      };
      const titles = document.querySelectorAll("#gallery .group h3");
      chosen.forEach((images, k) => images.length && place.append(element("h3", titles[k].textContent)));
      for (const images of chosen) {
        if (images.length === 1) images.push(null);
        for (const i of images) place.append(i === null ? element("div") : shown(i));
      }
      place.hidden = false;
    }

    function fill(group, limit) {
      const key = group.dataset.group, list = group.querySelector(".gallery");
      // the random sample stays random: sorted by change, it would be a third list of extremes
      const sorted = key === "random" ? drawn : order.value === "random" ? shuffled : rank;
      const wanted = report.classFilter;
      const chosen = sorted.filter((i) => belongs[key](i) && (wanted === null || labels[i] === wanted));
      for (const i of chosen.slice(list.childElementCount, limit)) list.append(card(i));
      const shown = list.childElementCount, where = wanted === null ? "" : ` of class ${samples.className(wanted)}`;
      group.querySelector(".count").textContent = chosen.length
        ? `${shown} shown of ${count(chosen.length)}${where} among the ${count(key === "random" ? mapped : n)} on this page.`
        : `none${where} among the ${count(n)} on this page.`;
      const more = group.querySelector(".more");
      more.hidden = shown >= chosen.length;
    }

    const groups = [...document.querySelectorAll("#gallery .group")];
    function fillAll() {
      for (const group of groups) {
        group.querySelector(".gallery").replaceChildren();
        fill(group, STEP);
      }
    }
    for (const group of groups) {
      group.querySelector(".more").addEventListener("click", () => {
        const list = group.querySelector(".gallery"), first = list.childElementCount;
        fill(group, first + STEP);
        const next = list.children[first];
        next.tabIndex = -1;
        next.focus();
      });
    }
    const scales = document.getElementById("gallery-scales");
    if (scales !== null) {
      const scale = (name, low, high) => {
        const made = element("span"), bar = element("span", undefined, "ramp");
        bar.style.background = samples.gradient(name);
        made.append(low, bar, high);
        return made;
      };
      scales.append(scale("cam", "map: its own lowest", "highest"));
      if (samples.moved !== null) {
        const limit = samples.differenceLimit.toPrecision(2);
        scales.append(scale("difference", `change: −${limit}`, `+${limit} times the density of an even map`));
      }
    }
    order.addEventListener("change", fillAll);
    // after the maps' script, which offers to show an image in them
    report.ready(() => {
      report.onClass(fillAll);
      open();
    });
    document.documentElement.dataset.gallery = "ready";
  });
})();
