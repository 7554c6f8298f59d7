// Small pieces of the page: elements without HTML text, messages in the corner, counted nouns.

// An element; what is no node among the children becomes text, never HTML.
export function el(name, properties = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) found.addEventListener(key.slice(2), value);
    else if (key === "class") found.className = value;
    else if (key === "data") Object.assign(found.dataset, value);
    else if (key in found) found[key] = value;
    else found.setAttribute(key, value);
  }
  found.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return found;
}

export const byId = (id) => document.getElementById(id);
export const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
export const typing = (target) => target.matches?.("input:not([type=range]), textarea, select");

const STAYS_MS = { good: 4000, bad: 12000 };
const MOST = 4;

export function toast(text, kind = "good", action = null) {
  const box = byId("toasts");
  const close = () => message.remove();
  const message = el("div", { class: `toast ${kind}` }, el("span", {}, text));
  if (action) message.append(el("button", { type: "button", onclick: () => (close(), action.run()) }, action.name));
  message.append(el("button", { type: "button", class: "close", title: "close", onclick: close }, "\u2715"));
  box.append(message);
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover(); // again, so that it lies over a dialog that was opened meanwhile
  while (box.children.length > MOST) box.firstChild.remove();
  setTimeout(close, STAYS_MS[kind]);
}
