// Draws the plots that the page carries as JSON, and asks before an action. Without it the page has tables and checkboxes.
"use strict";

function colours() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return {text: value("--text"), line: value("--line"), series: ["--first", "--second", "--third", "--fourth"].map(value)};
}

function draw(figure) {
  const place = figure.querySelector(".drawing");
  const drawn = JSON.parse(figure.querySelector(".plot-data").textContent);
  const palette = colours();
  for (const trace of drawn.data) {
    if (trace.colour !== undefined) {
      trace.marker = {color: palette.series[trace.colour], ...trace.marker};
      trace.error_x = {color: trace.marker.color, ...trace.error_x};
      delete trace.colour;
    }
  }
  const axis = {gridcolor: palette.line, zerolinecolor: palette.line, linecolor: palette.line};
  const layout = {
    ...drawn.layout,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: palette.series,
    font: {color: palette.text, family: "inherit", size: 13},
    xaxis: {...axis, ...drawn.layout.xaxis}, yaxis: {...axis, ...drawn.layout.yaxis},
    shapes: (drawn.layout.shapes || []).map((shape) => ({...shape, line: {color: palette.text, ...shape.line}})),
  };
  place.hidden = false;
  window.Plotly.newPlot(place, drawn.data, layout, {displayModeBar: false, responsive: true})
    .then(() => { figure.dataset.drawn = "yes"; });
}

// Plotly adds the style of its maps while it loads, which the policy refuses; nothing here is a map.
const MAP_STYLE = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

function drawAll() {
  const figures = [...document.querySelectorAll("figure.plot")].filter((each) => each.querySelector(".plot-data"));
  if (figures.length === 0) return;
  const noMaps = document.createElement("meta");
  noMaps.id = MAP_STYLE;
  const script = document.createElement("script");
  script.src = "/page/static/plotly.js";
  script.onload = () => figures.forEach(draw);
  document.head.append(noMaps, script);
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
drawAll();
