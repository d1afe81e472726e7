// Draws a report's figures as they come into view, and lets go of them as they leave: a browser
// keeps only some 16 WebGL contexts, and a long page should not hold every figure at once.
(async () => {
  const read = (id) => document.getElementById(id).textContent;
  const packed = document.getElementById("plotly");
  if (!packed) return; // a report without figures
  const fail = (message) => {
    for (const plot of document.querySelectorAll(".plot")) plot.textContent = message;
  };

  if (typeof DecompressionStream === "undefined") {
    fail("This browser is too old to show the figures; any from 2023 on can.");
    return;
  }
  const bytes = Uint8Array.from(atob(packed.textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  packed.remove();

  const templates = JSON.parse(read("templates"));
  const config = JSON.parse(read("config"));
  const drawn = new Set();
  let printing = false;

  function draw(plot) {
    if (drawn.has(plot)) return;
    drawn.add(plot);
    // Parsed anew each time: Plotly writes into what it is given.
    const figure = JSON.parse(read(`${plot.id}-data`));
    if (figure.template !== null) figure.layout.template = templates[figure.template];
    plot.replaceChildren();
    window.Plotly.newPlot(plot, figure.data, figure.layout, config);
    plot.dataset.drawn = "true";
    pellucidHover(plot);
    pellucidSamples(plot);
  }

  function clear(plot) {
    if (!drawn.delete(plot)) return;
    window.Plotly.purge(plot);
    plot.replaceChildren();
    delete plot.dataset.drawn;
  }

  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) draw(entry.target);
        else if (!printing) clear(entry.target);
      }
    },
    { rootMargin: "300px 0px" },
  );
  const plots = [...document.querySelectorAll(".plot")];
  for (const plot of plots) observer.observe(plot);

  window.addEventListener("beforeprint", () => {
    printing = true;
    for (const detail of document.querySelectorAll("details")) detail.open = false;
    for (const plot of plots) {
      draw(plot);
      window.Plotly.Plots.resize(plot);
    }
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    for (const plot of plots) {
      const box = plot.getBoundingClientRect();
      if (box.bottom < -300 || box.top > window.innerHeight + 300) clear(plot);
    }
  });
})();
