// Wide sheets begin at the suggested file.
for (const sheet of document.querySelectorAll(".scroll")) {
  const best = sheet.querySelector(".head.best");
  if (best) sheet.scrollLeft = best.offsetLeft - sheet.offsetLeft - sheet.clientWidth / 2;
}

// Any picture of the page large, with arrow keys to its neighbours. Without scripts the page only lacks this.
const box = document.querySelector("dialog");
const pictures = [...document.querySelectorAll(".pic")];
let shown = 0;
function show(index) {
  shown = (index + pictures.length) % pictures.length;
  const small = pictures[shown].querySelector("img");
  box.querySelector("img").src = small.src;
  box.querySelector("img").alt = small.alt;
  box.querySelector("p").textContent = small.alt;
  if (!box.open) box.showModal();
}
pictures.forEach((picture, index) => picture.addEventListener("click", () => show(index)));
box.addEventListener("click", () => box.close());
box.addEventListener("close", () => pictures[shown].focus());
box.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight" || event.key === "ArrowDown") show(shown + 1);
  else if (event.key === "ArrowLeft" || event.key === "ArrowUp") show(shown - 1);
  else return;
  event.preventDefault();
});
