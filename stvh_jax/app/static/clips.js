"use strict";
// Clips play in loops while they are seen, with the boxes of their people drawn over them. The page
// hands over its videos by window.stvhClips.watch(video); `toggle` plays or stops one.

(() => {
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const ALL_PLAY = 8;  // so few clips all play at once

const seen = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries) {
    target.dataset.inView = isIntersecting ? "1" : "";
    playOrPause(target);
  }
}, {threshold: 0.3});

function wanted(video) {
  if (!video.dataset.inView || calm.matches && !video.dataset.played) return false;
  if (video.dataset.stopped) return false;
  const few = document.querySelectorAll("#hits video").length <= ALL_PLAY || !video.closest("#hits");
  return Boolean(video.dataset.played || few || video.closest(".card")?.matches(":hover, :focus-within, .here"));
}

function playOrPause(video) {
  if (!wanted(video)) { video.pause(); return; }
  if (!video.src) { video.src = video.dataset.src; loadBoxes(video); }
  if (video.paused) video.play().then(() => requestAnimationFrame(() => follow(video)), () => {});
}

async function loadBoxes(video) {
  if (!video.dataset.boxes) return;
  try {
    const answer = await fetch(video.dataset.boxes);
    if (answer.ok) video.people = await answer.json();
    draw(video);
  } catch { /* the clip plays without them */ }
}

function follow(video) {
  if (!video.isConnected || video.paused) return;
  draw(video);
  requestAnimationFrame(() => follow(video));
}

function draw(video) {
  const people = video.people, layer = video.parentElement?.querySelector("svg");
  if (!people || !layer) return;
  const numbers = people.boxes[stvhBoxes.placeAt(people.times, 1000 * video.currentTime)] || [];
  layer.setAttribute("viewBox", `0 0 ${people.width} ${people.height}`);
  stvhBoxes.draw(layer, numbers, people.width, people.height);
}

// A clip that cannot be shown says why.
async function tellProblem(video) {
  if (video.dataset.told || !video.src) return;
  video.dataset.told = "1";
  const words = video.parentElement.querySelector(".problem");
  const answer = await fetch(video.src).catch(() => null);
  words.textContent = answer && !answer.ok ? await answer.text() : "This browser cannot play the clip.";
  words.hidden = false;
}

document.addEventListener("error", event => {
  if (event.target.tagName === "VIDEO") tellProblem(event.target);
}, true);
for (const kind of ["mouseover", "mouseout", "focusin", "focusout"]) {
  document.addEventListener(kind, event => {
    const video = event.target.closest?.(".card")?.querySelector("video");
    if (video) playOrPause(video);
  });
}

window.stvhClips = {
  watch: video => seen.observe(video),
  toggle(video) {
    const playing = !video.paused;
    video.dataset.stopped = playing ? "1" : "";
    video.dataset.played = playing ? "" : "1";
    playOrPause(video);
  },
};
})();
