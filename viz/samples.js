// Opens the samples behind a part of a figure when it is clicked. They are listed below the figure,
// where they fold out by keyboard, and without a script too.
function pellucidSamples(plot) {
  const list = document.getElementById(`${plot.id}-samples`);
  if (!list) return;
  const parts = new Map();
  for (const part of list.querySelectorAll("[data-part]")) parts.set(part.dataset.part, part);
  plot.classList.add("clickable");
  plot.on("plotly_click", (event) => {
    const point = event.points[0];
    const place = [point.pointIndex ?? point.pointNumber].flat().join(",");
    const part = parts.get(`${point.curveNumber}:${place}`);
    if (!part) return;
    list.open = true;
    list.querySelector("summary").after(part); // beside the figure, not below all the others
    for (const other of parts.values()) other.open = other === part;
    part.querySelector("summary").focus({ preventScroll: true });
    part.scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
}
