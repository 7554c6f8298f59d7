// All tags of the dataset with their counts: a click filters, + and - change the selection. Only the rows in sight are in the page.

import { addTags, removeTag, tagsTogether } from "./actions.js";
import { byId, counted, el } from "./dom.js";
import { emit, model, on, plain, spelled, targets } from "./model.js";

const ROW_PX = 26;
const SORTS = { count: "most first", name: "a to z" };
const list = byId("tag-list"), spacer = list.querySelector(".spacer"), search = byId("tag-search"), button = byId("tag-sort");
let sort = "count", keys = [], at = -1, most = 1, here = new Map();
let asked = false;

function soon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    gather();
  });
}

function gather() {
  const wanted = plain(search.value);
  keys = [...model.counts.keys()].filter((key) => key.includes(wanted));
  const byName = new Intl.Collator("en", { numeric: true }).compare;
  keys.sort(sort === "name" ? byName : (one, two) => model.counts.get(two) - model.counts.get(one) || byName(one, two));
  most = Math.max(1, ...model.counts.values());
  at = Math.min(at, keys.length - 1);
  spacer.style.height = `${keys.length * ROW_PX}px`;
  byId("tag-total").textContent = keys.length === model.counts.size ? counted(keys.length, "tag") : `${keys.length} of ${counted(model.counts.size, "tag")}`;
  marks();
}

function marks() {
  const ids = targets();
  here = new Map(tagsTogether(ids).map(({ tag, times }) => [plain(tag), times === ids.length ? "all" : "some"]));
  render();
}

function render() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - 4);
  const last = Math.min(keys.length, first + Math.ceil(list.clientHeight / ROW_PX) + 8);
  spacer.replaceChildren(...keys.slice(first, last).map((key, index) => row(key, first + index)));
}

function row(key, index) {
  const times = model.counts.get(key), tag = spelled(key);
  const bar = el("i", { class: "bar" });
  bar.style.width = `${(100 * times) / most}%`;
  const found = el("div", { class: `tag-row ${here.get(key) || ""} ${index === at ? "at" : ""}`, data: { tag } }, bar,
    el("button", { type: "button", class: "name", tabIndex: -1, title: `${tag}: show only these\nCtrl: "and", Shift: "and not"` }, tag),
    el("span", { class: "times" }, times.toLocaleString("en")),
    el("button", { type: "button", class: "take", tabIndex: -1, title: `take "${tag}" out of the selection` }, "\u2212"),
    el("button", { type: "button", class: "put", tabIndex: -1, title: `add "${tag}" to the selection` }, "+"));
  found.style.top = `${index * ROW_PX}px`;
  return found;
}

// A tag as an expression says it: quoted where it would mean something else.
export function expression(tag) {
  if (tag.includes('"')) return tag.replace(/["()]/g, "*");
  return /[()*]|(^|\s)(and|or|not)(\s|$)/i.test(tag) ? `"${tag.replaceAll("\\(", "(").replaceAll("\\)", ")")}"` : tag;
}

function act(tag, event) {
  emit("filter-by", { text: expression(tag), how: event.ctrlKey || event.metaKey ? "and" : event.shiftKey ? "and not" : "" });
}

list.addEventListener("click", (event) => {
  const tag = event.target.closest(".tag-row")?.dataset.tag;
  if (!tag) return;
  if (event.target.closest(".put")) addTags(tag);
  else if (event.target.closest(".take")) removeTag(tag);
  else act(tag, event);
});
list.addEventListener("scroll", render, { passive: true });
new ResizeObserver(render).observe(list);

search.addEventListener("input", () => {
  at = -1;
  list.scrollTop = 0;
  gather();
});
search.addEventListener("keydown", (event) => {
  const tag = keys[at] && spelled(keys[at]);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    at = Math.max(0, Math.min(keys.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)));
    list.scrollTop = Math.min(Math.max(list.scrollTop, (at + 1) * ROW_PX - list.clientHeight), at * ROW_PX);
    render();
  } else if (event.key === "Enter" && tag) act(tag, event);
  else if (event.key === "+" && tag) addTags(tag);
  else if (event.key === "-" && tag) removeTag(tag);
  else return;
  event.preventDefault();
});

button.addEventListener("click", () => {
  sort = sort === "count" ? "name" : "count";
  button.textContent = SORTS[sort];
  list.scrollTop = 0;
  gather();
});
button.textContent = SORTS[sort];
on("items list", soon);
let marking = false;
on("selection", () => {
  if (marking) return;
  marking = true;
  requestAnimationFrame(() => {
    marking = false;
    marks();
  });
});
