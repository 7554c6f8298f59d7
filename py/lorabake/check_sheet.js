// Which cards are shown: one button at a time, and every word of the box in a picture's name or tags.
"use strict";
const buttons = [...document.querySelectorAll(".filters button")];
const box = document.querySelector(".filters input");
const cards = [...document.querySelectorAll("article")];
let shown = "";

function show() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const [what, name] = shown.split(":");
  let any = false;
  for (const card of cards) {
    const fits = !shown || (what === "grade" ? card.dataset.grade === name : card.dataset.kinds.split(" ").includes(name));
    card.hidden = !(fits && words.every((word) => card.dataset.text.includes(word)));
    any ||= !card.hidden;
  }
  document.querySelector(".none").hidden = any;
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    shown = button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.show;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other.dataset.show === shown));
    show();
  });
}
box.addEventListener("input", show);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== box) {
    event.preventDefault();
    box.focus();
  } else if (event.key === "Escape") {
    box.value = "";
    show();
  }
});
show();
