"use strict";
const find = document.getElementById("find");
const found = document.getElementById("found");
const rows = [...document.querySelectorAll(".row, .words li, .words tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
function look() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const [row, text] of rows) {
    const fits = words.every((word) => text.includes(word));
    row.hidden = !fits;
    count += fits;
    if (row.matches("details")) row.open = fits && words.length > 0;
  }
  found.textContent = words.length ? `${count} of ${rows.length} shown` : "";
}
find.addEventListener("input", look);
