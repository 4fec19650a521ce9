// A table that is wider than its column becomes a list: a card for every row, a line for every cell.

function label(table) {
  const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
  for (const row of table.querySelectorAll("tbody tr"))
    [...row.cells].forEach((cell, i) => cell.setAttribute("data-label", heads[i] ?? ""));
}

function fit(table) {
  const column = table.parentElement;
  table.classList.remove("stacked");
  table.classList.toggle("stacked", column.scrollWidth > column.clientWidth + 1);
}

window.addEventListener("load", () => {
  for (const picture of document.querySelectorAll("article img:not(a img)")) {
    const whole = document.createElement("a"); // a click shows it at its full size
    whole.href = picture.src;
    picture.replaceWith(whole);
    whole.append(picture);
  }
  const tables = [...document.querySelectorAll("article table.docutils")];
  tables.forEach(label);
  const fitAll = () => tables.forEach(fit);
  fitAll();
  window.addEventListener("resize", fitAll);
});
