// Shows the values at the pointer. The page is whole without it.
"use strict";
for (const figure of document.querySelectorAll("figure[data-curves]")) {
  const svg = figure.querySelector("svg"), out = figure.querySelector("output");
  const { left, right, width, top, bottom, low, high, lines } = JSON.parse(figure.dataset.curves);
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("y1", top);
  cursor.setAttribute("y2", bottom);
  const nearest = (points, step) => points.reduce(
    (best, point) => Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * width;
    const step = low + (x - left) / (right - left) * (high - low);
    const found = lines.map((line) => [line.name, ...nearest(line.points, step)]);
    const at = found.reduce((a, b) => Math.abs(a[1] - step) <= Math.abs(b[1] - step) ? a : b)[1];
    const drawn = left + (at - low) / (high - low) * (right - left);
    cursor.setAttribute("x1", drawn);
    cursor.setAttribute("x2", drawn);
    svg.append(cursor);
    const shown = found.map(([name, , value]) =>
      (lines.length > 1 ? name + " " : "") + (value === null ? "no number" : Number(value.toPrecision(4))));
    out.textContent = "step " + at + ": " + shown.join(" · ");
  });
  svg.addEventListener("pointerleave", () => { cursor.remove(); out.textContent = out.dataset.last; });
}
