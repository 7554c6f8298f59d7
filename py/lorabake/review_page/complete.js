// Completing tags while they are typed: the dataset's own by how often they stand, then those of a tagger that is on the disk.

import { el } from "./dom.js";
import { model, plain, spelled } from "./model.js";

const MOST = 12;
let count = 0;

// Best matches for what is typed: from the start of the tag, then of one of its words, then anywhere.
export function matches(typed) {
  const wanted = plain(typed);
  if (!wanted) return [];
  const found = [];
  const rank = (key, times) => {
    const at = key.indexOf(wanted);
    if (at < 0) return;
    found.push({ key, times, rank: at === 0 ? 0 : /[\s(_-]/.test(key[at - 1]) ? 1 : 2 });
  };
  for (const [key, times] of model.counts) rank(key, times);
  if (wanted.length > 1) for (const [key] of knownKeys()) if (!model.counts.has(key)) rank(key, 0);
  found.sort((one, two) => (two.times > 0) - (one.times > 0) || one.rank - two.rank || two.times - one.times || one.key.length - two.key.length);
  return found.slice(0, MOST).map(({ key, times }) => ({ tag: times ? spelled(key) : knownKeys().get(key), times }));
}

let keysOf = null, keys = new Map();
function knownKeys() {
  if (keysOf !== model.known) {
    keysOf = model.known;
    keys = new Map(model.known.map((tag) => [plain(tag), tag]));
  }
  return keys;
}

// The piece between commas at the caret: [start, end].
export function betweenCommas(value, caret) {
  const start = value.lastIndexOf(",", caret - 1) + 1;
  const end = value.indexOf(",", caret);
  const blank = value.slice(start).match(/^\s*/)[0].length;
  return [Math.min(start + blank, caret), end < 0 ? value.length : end];
}

// The tag at the caret of an expression: what stands between brackets, quotes and the words and, or, not.
export function inExpression(value, caret) {
  const before = value.slice(0, caret);
  const start = Math.max(...[...before.matchAll(/[()"]|(?:^|\s)(?:and|or|not)\s/gi)].map((mark) => mark.index + mark[0].length), 0);
  return [start + before.slice(start).match(/^\s*/)[0].length, caret];
}

// Attach to an input or textarea. `place` finds the piece, `insert(tag)` says what is written for a tag, `after` what follows it,
// `done` is called when a tag was taken.
export function complete(input, { place = betweenCommas, insert = (tag) => tag, after = "", done = null } = {}) {
  const list = el("ul", { class: "complete", role: "listbox", id: `complete-${++count}`, hidden: true });
  document.body.append(list);
  input.setAttribute("autocomplete", "off");
  input.setAttribute("aria-controls", list.id);
  let found = [], at = -1;

  const close = () => {
    list.hidden = true;
    found = [];
    at = -1;
  };
  const mark = () => {
    [...list.children].forEach((row, index) => row.setAttribute("aria-selected", String(index === at)));
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  const show = () => {
    const [start, end] = place(input.value, input.selectionStart);
    found = document.activeElement === input ? matches(input.value.slice(start, end)) : [];
    at = -1;
    list.hidden = !found.length;
    list.replaceChildren(...found.map(({ tag, times }, index) => el("li", { role: "option", onmousedown: (event) => (event.preventDefault(), take(index)) },
      el("span", {}, tag), el("small", {}, times ? times.toLocaleString("en") : "tagger"))));
    mark();
    const box = input.getBoundingClientRect();
    const below = innerHeight - box.bottom > list.offsetHeight + 8 || box.top < list.offsetHeight;
    list.style.left = `${Math.min(box.left, innerWidth - 290)}px`;
    list.style.top = below ? `${box.bottom + 3}px` : `${box.top - list.offsetHeight - 3}px`;
  };
  const take = (index) => {
    const [start, end] = place(input.value, input.selectionStart);
    const text = insert(found[index].tag) + (end === input.value.length ? after : "");
    input.setRangeText(text, start, end, "end");
    close();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    close();
    if (done) done();
  };
  input.addEventListener("input", show);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      at = (at + (event.key === "ArrowDown" ? 1 : found.length - (at < 0 ? 0 : 1))) % found.length;
      mark();
    } else if (event.key === "Tab" && !event.shiftKey) take(Math.max(at, 0));
    else if (event.key === "Enter" && at >= 0 && !event.ctrlKey) take(at);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  });
  return { close, remove: () => list.remove() };
}
