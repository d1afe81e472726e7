// Shows a point's picture beside the pointer. The figure carries all pictures as one, in
// layout.meta.hover_images; a point's position among them is customdata[1].
function pellucidHover(plot) {
  const images = plot.layout?.meta?.hover_images;
  if (!images) return;
  const zoom = Math.max(1, Math.floor(112 / Math.max(images.width, images.height)));
  const width = images.width * zoom;
  const height = images.height * zoom;
  const rows = Math.ceil(images.count / images.columns);
  let box = document.querySelector(".pellucid-picture");
  if (!box) {
    box = document.createElement("div");
    box.className = "pellucid-picture";
    box.setAttribute("aria-hidden", "true");
    box.style.cssText =
      "position:fixed;display:none;pointer-events:none;z-index:1000;" +
      "image-rendering:pixelated;border:1px solid #888;border-radius:3px;" +
      "box-shadow:0 2px 10px rgba(0,0,0,.3);background-color:#fff";
    document.body.append(box);
  }
  plot.on("plotly_hover", (event) => {
    const position = Number(event.points[0].customdata?.[1]);
    if (!(position >= 0 && position < images.count)) return;
    const column = position % images.columns;
    const row = Math.floor(position / images.columns);
    Object.assign(box.style, {
      display: "block",
      width: `${width}px`,
      height: `${height}px`,
      backgroundImage: `url(${images.uri})`,
      backgroundSize: `${width * images.columns}px ${height * rows}px`,
      backgroundPosition: `${-column * width}px ${-row * height}px`,
    });
    // Above and to the left of the pointer: Plotly's own label mostly stands to the right.
    const x = event.event.clientX - width - 18;
    const y = event.event.clientY - height - 18;
    box.style.left = `${x >= 4 ? x : event.event.clientX + 18}px`;
    box.style.top = `${y >= 4 ? y : event.event.clientY + 18}px`;
  });
  plot.on("plotly_unhover", () => {
    box.style.display = "none";
  });
}
