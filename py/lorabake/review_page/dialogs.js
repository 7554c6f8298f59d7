// The two lists that open over the page: all keys, and everything that was changed in this dataset.

import { undo } from "./actions.js";
import { ask, settled } from "./api.js";
import { byId, counted, el, toast } from "./dom.js";

const KEYS = [
  ["Moving", [["arrows, Page, Home, End", "move"], ["Space", "select or not"], ["Shift + arrows, Shift + click", "select a range"], ["Ctrl + click", "select one more"],
    ["Ctrl + A", "select all that are shown"], ["Escape", "select nothing, then show all"], ["+ and -", "larger, smaller pictures"]]],
  ["Tags", [["/", "filter by an expression"], ["t", "search the list of tags"], ["a", "add tags to the selection"], ["x", "go to the tags; Delete takes one out"], ["r", "replace a tag in the selection"],
    ["e", "edit the caption; Enter saves, Escape does not"], ["Ctrl + Enter", "save and edit the next"], ["Tab", "take the first completion"], ["Alt + arrows", "move a tag forward or back"]]],
  ["Pictures", [["Enter, double click", "as large as the window"], ["c", "crop to a rectangle"], ["b", "blank a rectangle"], ["m", "leave a rectangle out of the loss"], ["arrows, with Shift", "move, resize the rectangle"], ["Enter", "apply it"]]],
  ["All", [["z, Ctrl + Z", "undo the newest change of this page"], ["h", "everything that was changed"], ["?", "this list"]]],
];
const FILTERS = [["1girl and not solo", "tags, joined by and, or, not and brackets"], ["* hair", "* stands for anything"], ['"fate (series)"', "quotes where a tag has brackets"], ["not *", "pictures without tags"]];

function fill(id, name, ...content) {
  const box = byId(id);
  box.replaceChildren(el("div", { class: "bar" }, el("b", {}, name), el("span", { class: "room" }), el("button", { type: "button", title: "close (Escape)", onclick: () => box.close() }, "\u2715")), ...content);
  if (!box.open) box.showModal();
}

export function help() {
  const groups = [...KEYS.map(([name, rows]) => [name, rows.map(([keys, what]) => [el("kbd", {}, keys), what])]), ["Filters", FILTERS.map(([text, what]) => [el("code", {}, text), what])]];
  fill("help-box", "Keys", el("div", { class: "keys" }, ...groups.map(([name, rows]) => el("section", {}, el("h3", {}, name), el("dl", {}, ...rows.flatMap(([key, what]) => [el("dt", {}, key), el("dd", {}, what)]))))),
    el("p", { class: "soft" }, "Every change is on the disk when the corner says saved. Originals of pictures are kept in _originals, all changes in _journal; tag.py --undo works too."));
}

export async function history() {
  let entries;
  await settled();
  try {
    ({ entries } = await ask("api/history"));
  } catch (error) {
    return toast(error.text || error.message, "bad");
  }
  const rows = entries.map((entry) => el("tr", { class: entry.state },
    el("td", { class: "number" }, String(entry.number)), el("td", {}, entry.when), el("td", { class: "title" }, entry.title), el("td", {}, `${entry.name}, ${counted(entry.files, "file")}`),
    el("td", {}, entry.state === "undone" ? "undone" : el("button", { type: "button", onclick: async () => ((await undo(entry.number)), history()) }, "Undo"))));
  fill("history-box", "What was changed here", rows.length ? el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows))) : el("p", { class: "soft" }, "Nothing yet."));
}

for (const id of ["help-box", "history-box"]) byId(id).addEventListener("click", (event) => event.target === byId(id) && byId(id).close());
