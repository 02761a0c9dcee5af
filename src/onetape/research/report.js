(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 760px)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function layoutOf(figure) {
    const grid = { gridcolor: color("--rule"), linecolor: color("--rule"), zerolinecolor: color("--rule"), automargin: true };
    const layout = Object.assign({
      margin: { l: 46, r: 8, t: figure.layout.showlegend ? 34 : 8, b: 30 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", size: 12, color: color("--soft") },
      hovermode: "x unified",
      hoverlabel: { bgcolor: color("--paper"), bordercolor: color("--rule"), font: { color: color("--ink") } },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
      dragmode: narrow.matches ? false : "zoom",
    }, figure.layout);
    for (const axis of ["xaxis", "yaxis", "yaxis2"]) {
      if (figure.layout[axis]) layout[axis] = Object.assign({}, grid, figure.layout[axis]);
    }
    if (layout.xaxis) layout.xaxis.showgrid = false;
    return layout;
  }

  function draw() {
    for (const [id, figure] of Object.entries(figures)) {
      Plotly.react(id, figure.data, layoutOf(figure), { responsive: true, displayModeBar: false });
    }
  }
  draw();
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
})();
