"use strict";
const slider = document.getElementById("slider"), single = document.getElementById("single");
const lines = [...document.querySelectorAll("li")];
const last = Number(slider.max);

function show() {
  document.body.classList.toggle("one", single.checked);
  for (const line of lines) line.classList.toggle("now", line.dataset.number === slider.value);
  document.getElementById("now").textContent = document.querySelector("li.now .label").textContent;
}

function go(to) {
  single.checked = true;
  slider.value = String(Math.min(Math.max(to, 0), last));
  show();
}

single.addEventListener("change", show);
slider.addEventListener("input", () => go(Number(slider.value)));
document.getElementById("back").addEventListener("click", () => go(Number(slider.value) - 1));
document.getElementById("forth").addEventListener("click", () => go(Number(slider.value) + 1));
document.addEventListener("keydown", (event) => {
  if (event.target === slider || event.ctrlKey || event.altKey || event.metaKey) return; // the slider has keys of its own
  const to = { ArrowLeft: Number(slider.value) - 1, ArrowRight: Number(slider.value) + 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  go(to);
});
document.querySelector(".player").hidden = false;
show();
