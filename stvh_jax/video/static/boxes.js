"use strict";
// The boxes of people over a clip that plays: for the page of an index, and for the page of one
// file that plays pieces, which has this in its own script.

const stvhBoxes = (() => {
const UNITS = 10000, NEAR = 500;  // what boxes are counted in, and milliseconds

// The place of the last time, in milliseconds, that is not after the picture; -1 if it is not near.
function placeAt(times, now) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= now + 1) low = middle + 1; else high = middle;
  }
  const at = Math.max(0, low - 1);
  return times.length && Math.abs(times[at] - now) <= NEAR ? at : -1;
}

// Draws boxes, four numbers each, on a layer that is so many pixels wide and high.
function draw(layer, numbers, width, height) {
  const x = width / UNITS, y = height / UNITS;
  while (layer.childNodes.length > numbers.length / 4) layer.lastChild.remove();
  for (let k = 0; k < numbers.length; k += 4) {
    const rect = layer.childNodes[k / 4]
      || layer.appendChild(document.createElementNS(layer.namespaceURI, "rect"));
    const [top, left, bottom, right] = numbers.slice(k, k + 4);
    rect.setAttribute("x", left * x);
    rect.setAttribute("y", top * y);
    rect.setAttribute("width", Math.max(0, right - left) * x);
    rect.setAttribute("height", Math.max(0, bottom - top) * y);
  }
}

return {placeAt, draw};
})();
