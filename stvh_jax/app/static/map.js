// Draws the map of the archive's clips, made by maps.py, in <div id="map" data-src="ADDRESS">. The page
// says what to show by window.stvhMap.show(scale, marks). A click on a clip is told by an event
// "stvh-map-choose" on the <div>, with {match, clip} as its detail.
"use strict";

(() => {
  // Shapes beside colours, so that nobody has to tell colours apart.
  const SHAPES = ["\u25cf", "\u25a0", "\u25b2", "\u25c6"];
  const CORNERS = [
    [[1, -3], [3, -1], [3, 1], [1, 3], [-1, 3], [-3, 1], [-3, -1], [-1, -3]],
    [[-3, -3], [3, -3], [3, 3], [-3, 3]], [[0, -4], [4, 3], [-4, 3]], [[0, -4], [4, 0], [0, 4], [-4, 0]],
  ];
  const COLOURED = 8, NEAR = 12, HIT = 9, MILLISECONDS = 200;
  const root = document.getElementById("map");
  if (!root) return;

  const make = (tag, className, textContent = "") =>
    Object.assign(document.createElement(tag), { className, textContent });
  const canvas = make("canvas", "map-canvas"), tip = make("div", "map-tip");
  const key = make("ul", "map-key"), message = make("p", "map-message");
  const again = make("button", "map-again", "Try again");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Map of the clips");
  again.type = "button"; // it sends no form
  tip.hidden = again.hidden = true;
  message.setAttribute("role", "status");
  root.replaceChildren(canvas, tip, key, message, again);
  const pen = canvas.getContext("2d"), quiet = matchMedia("(prefers-reduced-motion: reduce)");

  let map = null, source = null; // what was fetched, and from where
  let scale = 1, shown = 1, marks = []; // where the slider is, and where the drawing is
  let [frame, from, begun, below, above, share] = [0, 1, 0, 0, 0, 0];

  // Positions are on the line from those of the focus below to those of the focus above.
  const toScreen = (a, b) => {
    const margin = HIT + 6, sides = [canvas.clientWidth - 2 * margin, canvas.clientHeight - 2 * margin];
    const [x, y] = [0, 1].map((axis) => a[axis] + share * (b[axis] - a[axis]));
    return [margin + ((x + 1) / 2) * sides[0], margin + ((1 - y) / 2) * sides[1]];
  };
  const at = (focus, clip) => [0, 1].map((axis) => map.layouts[focus][2 * clip + axis] / map.unit);
  const placeOf = (clip) => toScreen(at(below, clip), at(above, clip));
  const placeOfMark = (mark) => toScreen(mark.places[below], mark.places[above]);

  const draw = () => {
    const ratio = devicePixelRatio || 1, style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(`--map-${name}`).trim() || "gray";
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    if (!map) return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const [label, clips] of map.groups) {
      pen.fillStyle = colour(label < 0 ? "other" : label + 1);
      pen.beginPath();
      const corners = CORNERS[Math.max(0, label) % SHAPES.length];
      for (const clip of clips) {
        const [x, y] = placeOf(clip);
        corners.forEach(([right, down], i) => pen[i ? "lineTo" : "moveTo"](x + right, y + down));
      }
      pen.fill();
    }
    // Hits from the last to the first, then the query, so that the best are not hidden.
    for (const mark of [...marks].reverse()) {
      const [x, y] = placeOfMark(mark), isHit = mark.kind === "hit";
      pen.beginPath();
      pen.arc(x, y, isHit ? HIT : HIT + 4, 0, 2 * Math.PI);
      pen.lineWidth = isHit ? 2 : 6;
      pen.strokeStyle = colour("ground");
      pen.stroke();
      pen.fillStyle = pen.strokeStyle = colour("mark");
      pen.lineWidth = 3;
      pen[isHit ? "fill" : "stroke"]();
      pen.fillStyle = colour("ground");
      pen.font = "bold 11px system-ui, sans-serif";
      [pen.textAlign, pen.textBaseline] = ["center", "middle"];
      if (isHit) pen.fillText(mark.rank, x, y + 0.5);
    }
  };

  // What the map shows, in words.
  const describe = () => {
    const query = marks.find((mark) => mark.kind === "query");
    const hits = marks.filter((mark) => mark.kind === "hit");
    const parts = [`Map of ${map.clip.length} clips`];
    if (query) parts.push("the query");
    if (hits.length) parts.push(hits.length === 1 ? "1 hit" : `${hits.length} hits`);
    const nearest = query ? hits.slice(0, 3) : [];
    parts.push(...nearest.map((hit) => `hit ${hit.rank} lies ${whereFrom(query, hit)}`));
    canvas.setAttribute("aria-label", `${parts.join("; ")}.`);
  };
  const whereFrom = (query, hit) => {
    const [x, y] = placeOfMark(query), [hitX, hitY] = placeOfMark(hit);
    const right = hitX - x, down = hitY - y;
    if (Math.hypot(right, down) < canvas.clientWidth / 10) return "close to the query";
    const level = down < 0 ? "above" : "below", side = right < 0 ? "left of" : "right of";
    if (Math.abs(down) > 2 * Math.abs(right)) return `${level} the query`;
    return Math.abs(right) > 2 * Math.abs(down) ? `${side} the query` : `${level} and ${side} the query`;
  };

  const step = (now) => {
    const done = quiet.matches ? 1 : Math.min(1, Math.max(0, now - begun) / MILLISECONDS);
    shown = from + (scale - from) * (1 - (1 - done) ** 2);
    const focus = shown * map.foci.at(-1);
    above = Math.max(0, map.foci.findIndex((each) => each >= focus - 1e-9));
    below = Math.max(0, above - 1);
    share = above > below ? (focus - map.foci[below]) / (map.foci[above] - map.foci[below]) : 0;
    frame = done < 1 ? requestAnimationFrame(step) : 0;
    draw();
    if (!frame) describe();
  };
  const move = () => {
    [from, begun] = [shown, performance.now()];
    if (!frame) frame = requestAnimationFrame(step);
  };

  // Puts the clips in groups of one colour, the others first and so below, and names those.
  const group = () => {
    const numbers = [-1, ...map.labels.keys()].filter((label) => label < COLOURED);
    map.groups = new Map(numbers.map((label) => [label, []]));
    map.label.forEach((label, clip) => map.groups.get(label < COLOURED ? label : -1).push(clip));
    const others = map.labels.length > COLOURED ? "other activities" : "no activity known";
    const used = [...numbers.slice(1), -1].filter((label) => map.groups.get(label).length);
    const items = used.map((label) => {
      const item = make("li", `map-group-${label < 0 ? "other" : label + 1}`);
      const sign = make("span", "map-sign", SHAPES[Math.max(0, label) % SHAPES.length]);
      sign.setAttribute("aria-hidden", "true");
      item.append(sign, ` ${map.labels[label] ?? others}`);
      return item;
    });
    key.replaceChildren(...items);
  };

  const load = async () => {
    const wanted = (source = root.dataset.src);
    again.hidden = true;
    message.textContent = map ? "" : "The map is being made.";
    try {
      const response = await fetch(wanted);
      if (!response.ok) throw new Error(response.statusText);
      const fetched = await response.json();
      if (wanted !== source) return; // a newer one is on its way
      if (!map) shown = scale;
      map = fetched;
      message.textContent = map.clip.length ? "" : "The map is empty: there are no clips yet.";
      group();
      move();
      root.dispatchEvent(new CustomEvent("stvh-map-ready", { bubbles: true }));
    } catch {
      if (wanted !== source) return;
      message.textContent = "The map could not be loaded.";
      again.hidden = false;
    }
  };

  // The clip, or the hit, under the pointer.
  const under = (event) => {
    if (!map) return null;
    const box = canvas.getBoundingClientRect();
    const far = ([x, y]) => Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y);
    const hit = marks.find((mark) => mark.match !== undefined && far(placeOfMark(mark)) <= HIT);
    const named = hit && `hit ${hit.rank}: ${hit.match}/${hit.clip}`;
    if (hit) return { match: hit.match, clip: hit.clip, place: placeOfMark(hit), text: named };
    const distances = map.clip.map((_, place) => far(placeOf(place)));
    const nearest = distances.indexOf(distances.reduce((a, b) => Math.min(a, b), NEAR));
    if (nearest < 0) return null;
    const match = map.matches[map.match[nearest]], clip = map.clip[nearest];
    const activity = map.labels[map.label[nearest]] ?? "no activity known";
    const text = `${match}/${clip}: ${activity}${map.predicted[nearest] ? " (predicted)" : ""}`;
    return { match, clip, place: placeOf(nearest), text };
  };
  canvas.addEventListener("pointermove", (event) => {
    const found = under(event);
    tip.hidden = !found;
    canvas.style.cursor = found ? "pointer" : "";
    if (!found) return;
    const [x, y] = found.place;
    tip.textContent = found.text;
    tip.style.left = `${Math.max(0, Math.min(x, canvas.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y + HIT + 4}px`;
  });
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  canvas.addEventListener("click", (event) => {
    const found = under(event);
    if (!found) return;
    const detail = { match: found.match, clip: found.clip };
    root.dispatchEvent(new CustomEvent("stvh-map-choose", { detail, bubbles: true }));
  });
  again.addEventListener("click", load);
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  window.stvhMap = {
    // scale: from 0 to 1. marks: [{kind: "query" or "hit", rank, match, clip, places}], of which
    // places holds [x, y] for each focus.
    show(newScale, newMarks) {
      [scale, marks] = [newScale, newMarks];
      if (root.dataset.src !== source) load(); // the index has a new version
      if (map) move();
    },
  };
  load();
})();
