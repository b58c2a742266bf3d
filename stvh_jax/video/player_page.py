"""The style and the script of the page that plays pieces."""

import importlib.resources

_BOXES = importlib.resources.files("stvh_jax.video").joinpath("static/boxes.js").read_text("utf-8")

# Both stand in the page as they are here, and its policy names their digests.
STYLE = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --text: #1a1f26; --soft: #59626d;
  --line: #d9dee4; --accent: #0067a3; --box: #ffd02e; }
@media (prefers-color-scheme: dark) { :root { --page: #111418; --card: #1a1e23; --text: #e7eaee;
  --soft: #a2abb6; --line: #2e353d; --accent: #6cb8e6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/24px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: end;
  gap: 8px 24px; padding: 24px 24px 16px; }
h1 { margin: 0; font-size: 24px; line-height: 32px; font-weight: 650; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--soft); }
#controls { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
#keys { color: var(--soft); font-size: 13px; margin-right: 8px; }
kbd { font: inherit; padding: 0 6px; border: 1px solid var(--line); border-radius: 2px;
  background: var(--card); }
header button { font: inherit; padding: 3px 12px; min-width: 88px; color: var(--text);
  background: var(--card); border: 1px solid var(--line); border-radius: 2px; cursor: pointer; }
header button:hover { border-color: var(--accent); }
header button[aria-pressed=true] { color: var(--accent); border-color: var(--accent); }
ol { list-style: none; margin: 0; padding: 0 24px 48px; display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 288px), 1fr)); }
li { background: var(--card); border: 1px solid var(--line); border-radius: 2px;
  overflow: hidden; }
li:focus-within { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
.stage { position: relative; aspect-ratio: 16 / 9; background: #000; }
video, svg, .toggle { position: absolute; inset: 0; width: 100%; height: 100%; }
video { object-fit: contain; }
svg { pointer-events: none; }
rect { fill: none; stroke: var(--box); stroke-width: 1.5px; vector-effect: non-scaling-stroke; }
.toggle { border: 0; padding: 0; background: none; cursor: pointer; outline: 0; }
.toggle::after { content: ""; position: absolute; left: 50%; top: 50%; margin: -24px;
  width: 48px; height: 48px; border-radius: 50%; background: #000a;
  opacity: 0; transition: opacity .15s; }
.toggle::before { content: ""; position: absolute; z-index: 1; left: 50%; top: 50%;
  margin: -10px -7px; border: solid transparent; border-width: 10px 0 10px 17px;
  border-left-color: #fff; opacity: 0; transition: opacity .15s; }
.still .toggle::after, .still .toggle::before { opacity: 1; }
.fault .toggle { display: none; }
.fault .stage::after { content: "This browser cannot play the clip"; position: absolute;
  inset: auto 0 0; padding: 4px 12px; color: #fff; background: #000c; font-size: 13px; }
.facts { display: grid; grid-template-columns: auto 1fr auto; gap: 0 8px; padding: 8px 12px; }
.rank { min-width: 16px; }
.match, .label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.time, .distance { text-align: right; color: var(--soft); white-space: nowrap; }
.label { grid-column: 2; color: var(--accent); }
@media (max-width: 480px) { header { padding: 16px 16px 8px; } ol { padding: 0 16px 32px; }
  #keys { display: none; } }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
"""

SCRIPT = (
    _BOXES
    + """
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
let showBoxes = true;

const cards = Array.from(document.querySelectorAll("li"), item => {
  const data = item.querySelector("script");
  const card = {
    item, video: item.querySelector("video"), layer: item.querySelector("svg"),
    toggle: item.querySelector(".toggle"), boxes: data && JSON.parse(data.textContent),
    drawn: -2, wanted: !calm, inView: false, retried: false,
  };
  card.name = card.video.getAttribute("aria-label");
  card.video.controls = false;
  card.toggle.hidden = false;
  card.toggle.addEventListener("click", () => { card.wanted = !card.wanted; update(card); });
  card.video.addEventListener("seeked", () => draw(card));
  card.video.addEventListener("error", () => retry(card));
  return card;
});
const all = document.getElementById("all"), boxesButton = document.getElementById("boxes");

function update(card) {
  const plays = card.wanted && card.inView;
  card.item.classList.toggle("still", !card.wanted);
  card.toggle.setAttribute("aria-label", (card.wanted ? "Pause " : "Play ") + card.name);
  if (plays && card.video.paused) {
    card.video.play().then(() => requestAnimationFrame(() => follow(card)), () => {});
  } else if (!plays) {
    card.video.pause();
  }
  draw(card);
  all.textContent = cards.some(other => other.wanted) ? "Pause all" : "Play all";
}

// Some browsers play long clips from a blob alone.
function retry(card) {
  if (card.retried || !card.video.src.startsWith("data:")) {
    card.item.classList.add("fault");
    return;
  }
  card.retried = true;
  const text = atob(card.video.src.split(",")[1]);
  const bytes = Uint8Array.from(text, letter => letter.charCodeAt(0));
  card.video.src = URL.createObjectURL(new Blob([bytes], {type: "video/mp4"}));
  update(card);
}

function follow(card) {
  if (card.video.paused) return;
  draw(card);
  requestAnimationFrame(() => follow(card));
}

function draw(card) {
  if (!card.boxes) return;
  const now = card.video.currentTime * 1000;
  const at = showBoxes ? stvhBoxes.placeAt(card.boxes.times, now) : -1;
  if (at === card.drawn) return;
  card.drawn = at;
  const [width, height] = ["width", "height"].map(name => card.video.getAttribute(name));
  stvhBoxes.draw(card.layer, at < 0 ? [] : card.boxes.boxes[at], width, height);
}

const observer = new IntersectionObserver(entries => {
  for (const entry of entries) {
    const card = cards.find(other => other.item === entry.target);
    card.inView = entry.isIntersecting;
    update(card);
  }
}, {threshold: 0.2});
for (const card of cards) observer.observe(card.item);

all.addEventListener("click", () => {
  const wanted = !cards.some(card => card.wanted);
  for (const card of cards) { card.wanted = wanted; update(card); }
});
if (boxesButton) boxesButton.addEventListener("click", () => {
  showBoxes = !showBoxes;
  boxesButton.setAttribute("aria-pressed", showBoxes);
  cards.forEach(draw);
});
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = {j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step) return;
  const here = cards.findIndex(card => card.item.contains(document.activeElement));
  const next = here < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, here + step));
  cards[next].toggle.focus();
  cards[next].item.scrollIntoView({block: "nearest"});
  event.preventDefault();
});
document.getElementById("controls").hidden = false;
"""
)
