"use strict";
// The page works without this script, through links and forms. With it a new answer takes the place
// of the old one piece by piece, the slider searches while it moves, clips play, and keys work.

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const GLIDE = 200;           // milliseconds in which a card glides to its new place
const SLOW = 1000;           // after so many milliseconds the page says that it waits
const AWAY = "The server does not answer. Is it still running?";
const MARKED = 12;           // so many hits are marked on the map
const results = document.getElementById("results");
const $ = id => document.getElementById(id);
const part = name => results.querySelector(`[data-part="${name}"]`);

// ---- One state of the page at a time ---------------------------------------------------------

let asked = 0, running = null, waiting = null;

// Shows the state of an address: at once if nothing is under way, else after what is, and of many
// that wait the last one alone.
function show(address, how) {
  // What the slider changes goes on from what waits, and both are one step of the history.
  if (waiting?.how.history === "push" && how.history === "replace") how = {...how, history: "push"};
  waiting = {address, how};
  if (!running) next();
}

// The address of what is shown, or soon will be.
function latest() {
  return new URL(waiting?.address ?? running ?? location.href, location.href);
}

async function next() {
  const {address, how} = waiting;
  waiting = null;
  running = address;
  const number = ++asked;
  const late = setTimeout(() => how.quiet || say("Searching …"), SLOW);
  try {
    const url = new URL(address, location.href);
    const answer = await fetch("/results" + url.search, {headers: {Accept: "text/html"}});
    const text = await answer.text();
    if (!answer.headers.get("content-type")?.startsWith("text/html")) throw new Error(text);
    if (!answer.ok) throw new Error(errorIn(text));
    if (how.history === "push") history.pushState(null, "", url);
    if (how.history === "replace") history.replaceState(null, "", url);
    if (number === asked) put(text, how);
  } catch (error) {
    sayWrong(error instanceof TypeError ? AWAY : error.message, address, how);
  } finally {
    clearTimeout(late);
    running = null;
    if (waiting) next();
  }
}

// What is wrong with a question, as the page that answers it says; what was found before stays.
function errorIn(text) {
  return new DOMParser().parseFromString(text, "text/html").querySelector(".error")?.textContent ?? text;
}

function say(text) {
  part("status").textContent = text;
}

function sayWrong(text, address, how) {
  const words = document.createElement("strong"), retry = document.createElement("button");
  words.className = "error";
  words.textContent = text + " ";
  retry.textContent = "Try again";
  retry.addEventListener("click", () => show(address, how));
  part("status").replaceChildren(words, retry);
}

// Puts a new answer in place of the old one.
function put(text, how) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const find = name => fresh.querySelector(`[data-part="${name}"]`);
  if (!$("scale") !== !fresh.getElementById("scale")) {   // the first question, or none any more
    fresh.getElementById("map")?.replaceWith($("map"));
    results.replaceChildren(...fresh.body.childNodes);
    pending.clear();
    begin();
    return;
  }
  const open = new Set(Array.from(results.querySelectorAll("details[open]"), each => each.dataset.key));
  const focused = document.activeElement?.id;
  for (const old of results.querySelectorAll("[data-part]")) {
    const own = find(old.dataset.part);
    if (old.dataset.part === "hits") rearrange(old, own, how);
    else if (old.dataset.part === "scale") putScale(fresh, how);
    else if (old.dataset.part === "upload" || how.quiet && old.dataset.part === "status") continue;
    else if (old.innerHTML === own.innerHTML) continue;
    else old.replaceChildren(...own.childNodes);
    if (old.dataset.part === "query") old.dataset.queryPlaces = own.dataset.queryPlaces ?? "";
  }
  const map = fresh.getElementById("map");
  if (map && $("map")) $("map").dataset.src = map.dataset.src;
  for (const each of results.querySelectorAll("details")) if (open.has(each.dataset.key)) each.open = true;
  if (focused && document.activeElement === document.body) $(focused)?.focus();
  if (!how.slide) pending.clear();
  begin();
}

function putScale(fresh, how) {
  const form = $("scale-form"), own = fresh.getElementById("scale-form");
  for (const field of form.querySelectorAll("input[type=hidden]")) field.remove();
  form.prepend(...own.querySelectorAll("input[type=hidden]"));
  if (!how.slide) $("scale").value = own.querySelector("#scale").value;
  tellScale();
}

// Cards that stay glide to their new places, so that the eye follows them; others come and go.
function rearrange(list, fresh, how) {
  const old = new Map(Array.from(list.children, card => [card.dataset.key, card]));
  const before = new Map(Array.from(old, ([key, card]) => [key, card.getBoundingClientRect()]));
  const here = list.querySelector(".here")?.dataset.key;
  const cards = Array.from(fresh.children, card => {
    const own = old.get(card.dataset.key);
    if (!own) return card;
    keepStage(own, card);
    return card;
  });
  list.toggleAttribute("data-browsing", fresh.hasAttribute("data-browsing"));
  list.replaceChildren(...cards);
  for (const card of cards) {
    if (card.dataset.key === here) card.classList.add("here");
    const from = before.get(card.dataset.key);
    if (calm.matches || !how.slide && !how.glide) continue;
    if (!from) {
      card.animate([{opacity: 0}, {opacity: 1}], GLIDE);
      continue;
    }
    const to = card.getBoundingClientRect();
    const x = from.left - to.left, y = from.top - to.top;
    if (x || y) card.animate([{transform: `translate(${x}px, ${y}px)`}, {transform: "none"}], {duration: GLIDE, easing: "ease-out"});
  }
}

// A clip that stays goes on playing.
function keepStage(old, card) {
  const stage = old.querySelector(".stage"), own = card.querySelector(".stage");
  if (stage && own) own.replaceWith(stage);
}

addEventListener("popstate", () => show(location.href, {glide: true}));

document.addEventListener("click", event => {
  const link = event.target.closest("a[data-live]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  show(link.href, {history: "push", glide: link.hasAttribute("data-keep")});
  if (!link.hasAttribute("data-keep")) scrollTo({top: 0, behavior: calm.matches ? "auto" : "smooth"});
});

// ---- The slider ------------------------------------------------------------------------------

function scaleAddress() {
  const pairs = latest().searchParams;
  const value = Number($("scale").value);
  pairs.delete("scale");
  if (value !== 1) pairs.set("scale", String(value));
  return "/?" + pairs;
}

function tellScale() {
  const scale = $("scale"), value = Number(scale.value);
  if (!scale.disabled) scale.title = `${value} from 0, who and where, to 1, what they do`;
  scale.setAttribute("aria-valuetext", `${Math.round(100 * value)} percent what they do`);
  drawMap();
}

document.addEventListener("input", event => {
  if (event.target.id === "scale") {
    tellScale();
    show(scaleAddress(), {slide: true, history: "replace"});
  }
});

function moveScale(by) {
  const scale = $("scale");
  if (!scale || scale.disabled) return;
  scale.value = String(Math.min(1, Math.max(0, Number(scale.value) + by)));
  scale.dispatchEvent(new Event("input", {bubbles: true}));
}

// ---- Narrowing -------------------------------------------------------------------------------

function narrow() {
  const pairs = new URLSearchParams();
  for (const [name, value] of new FormData($("narrow"))) if (value) pairs.append(name, value);
  if ($("scale")) pairs.set("scale", $("scale").value);   // it may have moved since
  show("/?" + pairs, {history: "push", glide: true});
}

document.addEventListener("change", event => {
  if (event.target.closest("#narrow")) narrow();
  if (event.target.name === "select") tellTaken();
});

document.addEventListener("submit", event => {
  if (event.target.id === "narrow") { event.preventDefault(); narrow(); }
  if (event.target.id === "scale-form") event.preventDefault();
  if (event.target.id === "teach") event.preventDefault();
  if (event.target.id === "take") { event.preventDefault(); take(event.target, event.submitter); }
  if (event.target.id === "save") { event.preventDefault(); save(event.target); }
  if (event.target.id === "upload") { event.preventDefault(); upload(event.target); }
});

// ---- Teaching --------------------------------------------------------------------------------

const pending = new Map();   // by the name of a clip: "like" or "not"

function teach(card, sign) {
  const name = card.dataset.name;
  if (pending.get(name) === sign) pending.delete(name);
  else pending.set(name, sign);
  tellTaught();
}

function tellTaught() {
  for (const button of results.querySelectorAll("button[form=teach]")) {
    const before = button.closest(".card").classList.contains(button.name === "like" ? "liked" : "not");
    const mark = pending.get(button.value);
    button.setAttribute("aria-pressed", mark ? mark === button.name : before);
  }
  const again = $("again");
  if (!again) return;
  again.hidden = false;
  again.disabled = !pending.size;
  const liked = Array.from(pending.values()).filter(sign => sign === "like").length;
  again.textContent = pending.size ? `Search again (${liked} +, ${pending.size - liked} −)` : "Search again";
}

function again() {
  if (!pending.size) return;
  const pairs = latest().searchParams;
  const names = {like: new Set(pairs.getAll("like")), not: new Set(pairs.getAll("not"))};
  for (const [name, sign] of pending) {
    names.like.delete(name);
    names.not.delete(name);
    names[sign].add(name);
  }
  for (const sign of ["like", "not"]) {
    pairs.delete(sign);
    for (const name of names[sign]) pairs.append(sign, name);
  }
  if ($("scale")) {
    const liked = Array.from(pending.values()).filter(sign => sign === "like").length;
    pairs.append("round", (liked / pending.size).toFixed(2));
  }
  show("/?" + pairs, {history: "push", glide: true});
}

document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.getAttribute("form") === "teach") {
    event.preventDefault();
    teach(button.closest(".card"), button.name);
  }
  if (button.id === "again") again();
  if (button.id === "help-button") $("keys").showModal();
  if (button.classList.contains("copy")) copy(button);
});

async function copy(button) {
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy || location.href);
    button.textContent = "Copied";
  } catch {
    prompt("Copy this:", button.dataset.copy || location.href);
  }
  setTimeout(() => { button.textContent = words; }, 1500);
}

// ---- Taking away -----------------------------------------------------------------------------

function tellTaken() {
  const count = results.querySelectorAll("input[name=select]:checked").length;
  if ($("taken")) $("taken").textContent = count ? `${count} selected.` : "All that is shown, or what you select.";
}

// A file is fetched first, so that what cannot be made is said here.
async function take(form, button) {
  const name = new URL(button.formAction).pathname.split("/").pop();
  say(`Making ${name} …`);
  try {
    const answer = await fetch(`${button.formAction}?${new URLSearchParams(new FormData(form))}`);
    if (!answer.ok) throw new Error(await answer.text());
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`${name} is done.`);
  } catch (error) {
    say(error instanceof TypeError ? AWAY : error.message);
  }
}

async function save(form) {
  const body = new URLSearchParams(new FormData(form));
  try {
    const answer = await fetch("/save", {method: "POST", body, headers: {Accept: "text/plain"}});
    say(await answer.text());
  } catch {
    say(AWAY);
  }
}

async function upload(form) {
  const status = $("upload-status"), button = form.querySelector("button");
  button.disabled = true;
  status.textContent = "Uploading and encoding; this takes some seconds …";
  try {
    const answer = await fetch("/upload", {method: "POST", body: new FormData(form), headers: {Accept: "text/plain"}});
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    status.textContent = "Done.";
    show(text.trim(), {history: "push"});
  } catch (error) {
    status.textContent = error instanceof TypeError ? "The upload was cut off; try again." : error.message;
  } finally {
    button.disabled = false;
  }
}

// ---- The map -----------------------------------------------------------------------------------

function drawMap() {
  if (!window.stvhMap || !$("map")) return;
  const query = part("query").dataset.queryPlaces;
  const marks = (query ? JSON.parse(query) : []).map(places => ({kind: "query", places}));
  for (const card of Array.from(results.querySelectorAll("#hits > [data-places]")).slice(0, MARKED)) {
    const [match, clip] = splitName(card.dataset.name);
    marks.push({kind: "hit", rank: Number(card.querySelector(".rank").textContent), places: JSON.parse(card.dataset.places), match, clip});
  }
  window.stvhMap.show($("scale") ? Number($("scale").value) : 1, marks);
}

function splitName(name) {
  const at = name.lastIndexOf("/");
  return [name.slice(0, at), name.slice(at + 1)];
}

// Before the map was made, nothing said where hits stand on it.
document.addEventListener("stvh-map-ready", () => {
  if ($("scale") && !waiting && !results.querySelector("[data-places]")) show(latest().href, {slide: true, quiet: true});
});

document.addEventListener("stvh-map-choose", event => {
  const pairs = new URLSearchParams({clip: `${event.detail.match}/${event.detail.clip}`});
  show("/?" + pairs, {history: "push"});
});

// ---- Keys --------------------------------------------------------------------------------------

function here() {
  const focused = document.activeElement?.closest?.("#hits > .card");
  return focused || results.querySelector("#hits > .here");
}

function move(by) {
  const cards = Array.from(results.querySelectorAll("#hits > .card"));
  if (!cards.length) return;
  const now = cards.indexOf(here());
  const card = cards[now < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, now + by))];
  for (const other of cards) other.classList.toggle("here", other === card);
  card.querySelector(".choose").focus({preventScroll: true});
  card.scrollIntoView({block: "nearest", behavior: calm.matches ? "auto" : "smooth"});
}

const onCard = {
  "+": card => teach(card, "like"),
  "=": card => teach(card, "like"),
  "-": card => teach(card, "not"),
  "x": card => card.querySelector("input[name=select]")?.click(),
  " ": card => {
    const video = card.querySelector("video");
    if (video) window.stvhClips.toggle(video);
  },
};
const anywhere = {
  "j": () => move(1), "k": () => move(-1), "a": again,
  "[": () => moveScale(-0.05), "]": () => moveScale(0.05),
  "/": () => $("text").focus(), "?": () => $("keys").showModal(),
};

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const target = event.target;
  if (target.matches("input:not([type=checkbox]):not([type=range]), textarea, select")) return;
  if (event.key === " " && target.matches("button, input, summary")) return;
  const card = here();
  if (anywhere[event.key]) anywhere[event.key]();
  else if (onCard[event.key] && card) onCard[event.key](card);
  else return;
  event.preventDefault();
});

// ---- Beginning -----------------------------------------------------------------------------------

function begin() {
  results.querySelectorAll("video[data-src]").forEach(window.stvhClips.watch);
  for (const button of results.querySelectorAll(".copy")) button.hidden = false;
  if ($("narrow")) $("narrow").querySelector("button:not([type])")?.classList.add("visually-hidden");
  tellTaught();
  tellTaken();
  if ($("scale")) tellScale(); else drawMap();
}

$("help-button").hidden = false;
begin();
