// What a person can do to the dataset, from whatever part of the page: each sends one change and says what came of it.

import { change, Refused } from "./api.js";
import { counted, toast } from "./dom.js";
import { emit, model, oneLine, plain, tagsOf, targets } from "./model.js";

const SHOWN_PROBLEMS = 3;
const sent = new Map(); // id: the caption that is on its way, so that the next edit is based on it

async function run(name, body, { quiet = false } = {}) {
  try {
    const told = await change(name, body);
    for (const problem of told.problems.slice(0, SHOWN_PROBLEMS)) toast(problem, "bad");
    if (told.problems.length > SHOWN_PROBLEMS) toast(`and ${told.problems.length - SHOWN_PROBLEMS} more`, "bad");
    if (!quiet) toast(told.said);
    emit("changed", told);
    return told;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast(error.text, "bad");
    return null;
  }
}

// Tags of the targets: {add, add_first, remove, replace, exactly}, each a list.
export function editTags(edits, ids = targets()) {
  if (!ids.length) return toast("no picture is selected", "bad");
  return run("tags", { ids, ...edits }, { quiet: ids.length === 1 });
}

export const addTags = (text, first = false) => tagsOf(text).length && editTags({ [first ? "add_first" : "add"]: [oneLine(text)] });
export const removeTag = (tag) => editTags({ exactly: [tag] });

// One caption changed by `edit`, a function of its text. It is asked when its turn comes, of the caption as it is then: earlier changes may
// still be on their way. Where it answers null, `stale` is sent, for the server to say that the caption was changed meanwhile.
export async function editCaption(id, edit, stale = null) {
  const shown = textOf(model.items.get(id)), guess = edit(shown);
  if (guess === shown) return;
  const text = guess ?? stale.text;
  sent.set(id, text);
  const body = () => {
    const base = model.items.get(id)?.text ?? "", now = edit(base);
    return now === null ? { id, ...stale } : { id, base, text: now };
  };
  const told = await run("caption", body, { quiet: true });
  if (sent.get(id) === text) sent.delete(id);
  if (!told) emit("refused", { id, text });
}

// A caption as typed by a person who saw `base`.
export function writeCaption(id, base, typed) {
  const text = oneLine(typed);
  if (text !== base) editCaption(id, (now) => moved(now, base, text), { base, text });
}

// What was typed before or behind `base`, on the caption as it is now; null for what was typed in its midst.
export function moved(now, base, typed) {
  if (now === base) return typed;
  if (base && typed.startsWith(base)) return now + typed.slice(base.length);
  if (base && typed.endsWith(base)) return typed.slice(0, typed.length - base.length) + now;
  return null;
}
export const textOf = (item) => sent.get(item.id) ?? item.text ?? "";

export const draw = (item, kind, box, fill) => run("draw", { id: item.id, kind, box, stamp: item.stamp, fill });
export const unmask = (ids = targets()) => run("unmask", { ids });
export const undo = (number = 0) => run("undo", { number });

// Tags of several pictures with how many of them carry each, most first.
export function tagsTogether(ids) {
  const found = new Map();
  for (const id of ids) {
    const seen = new Set();
    for (const tag of tagsOf(model.items.get(id)?.text)) {
      const key = plain(tag);
      if (seen.has(key)) continue;
      seen.add(key);
      const entry = found.get(key) || { tag, times: 0 };
      entry.times += 1;
      found.set(key, entry);
    }
  }
  return [...found.values()].sort((one, two) => two.times - one.times);
}

// How the panel and the messages name what is meant.
export function named(ids) {
  return ids.length === 1 ? model.items.get(ids[0]).name : counted(ids.length, "picture");
}
