// Shows window.onetapePerformance, which performance.js beside the page sets. Names go in as text.
document.addEventListener("DOMContentLoaded", function () {
  const found = window.onetapePerformance;
  const place = document.getElementById("performance");
  if (!found || found.measurements_version !== 1) return;

  const known = (value) => value !== null && value !== undefined;
  const number = (value, digits) => known(value)
    ? value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
    : "not known";
  function microseconds(value) {
    if (!known(value)) return "not known";
    if (value >= 1e6) return number(value / 1e6, 2) + " s";
    if (value >= 1e3) return number(value / 1e3, 1) + " ms";
    return number(value, 2) + " µs";
  }
  const mebibytes = (value) => known(value) ? number(value, 0) + " MiB" : "not known";
  function add(parent, tag, text, name) {
    const made = document.createElement(tag);
    if (known(text)) made.textContent = text;
    if (name) made.className = name;
    return parent.appendChild(made);
  }

  place.textContent = "";
  if (found.first_row > 0) {
    add(place, "p", "The run was resumed. Measured is the part from row " + number(found.first_row, 0) + " on.");
  }
  const figures = add(place, "dl", null, "figures");
  for (const [label, value] of [
    ["Rows a second", number(found.rows_per_second, 0)],
    ["Rows", number(found.rows, 0)],
    ["Time", number(found.seconds, 2) + " s"],
    ["In strategies", known(found.strategy_ratio) ? number(100 * found.strategy_ratio, 1) + " %" : "not known"],
    ["Event, median", microseconds(found.latency_p50_us)],
    ["Event, 99 %", microseconds(found.latency_p99_us)],
    ["Event, longest", microseconds(found.latency_max_us)],
    ["Memory, most", mebibytes(found.memory_peak_mib)],
    ["Host", known(found.host) ? found.host : "python"],
  ]) {
    const cell = add(figures, "div");
    add(cell, "dt", label);
    add(cell, "dd", value);
  }

  if (found.callbacks.length) {
    add(place, "h3", "Callbacks");
    const scroll = add(place, "div", null, "scroll");
    const table = add(scroll, "table");
    const head = add(add(table, "thead"), "tr");
    ["Strategy", "Callback", "Calls", "Time", "Median", "99 %", "Longest"].forEach(
      (name, at) => add(head, "th", name, at < 2 ? "left" : ""));
    const body = add(table, "tbody");
    for (const each of found.callbacks) {
      const row = add(body, "tr");
      add(row, "td", each.strategy, "left");
      add(row, "td", each.callback, "left");
      add(row, "td", number(each.calls, 0));
      for (const value of [each.total_us, each.p50_us, each.p99_us, each.max_us]) {
        add(row, "td", microseconds(value));
      }
    }
  }
  add(place, "small", "Events and callbacks are measured in " + number(found.sampled_rows, 0) + " of " +
    number(found.rows, 0) + " rows. An event is a row with everything it caused; memory is that of the whole " +
    "process. These figures are of this one run and stand in performance.json.");

  if (found.points.length > 1 && window.Plotly) {
    const chart = add(place, "div", null, "chart");
    const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const draw = function () {
      const axis = { gridcolor: color("--rule"), linecolor: color("--rule"), zerolinecolor: color("--rule"), automargin: true };
      Plotly.react(chart, [
        { x: found.points.map((each) => each.row), y: found.points.map((each) => each.rows_per_second),
          name: "rows a second", mode: "lines", line: { color: color("--good"), width: 1.5 } },
        { x: found.points.map((each) => each.row), y: found.points.map((each) => each.memory_mib),
          name: "memory, MiB", mode: "lines", yaxis: "y2", line: { color: color("--soft"), width: 1.5, dash: "dot" } },
      ], {
        height: 240, margin: { l: 46, r: 46, t: 34, b: 30 }, hovermode: "x unified", showlegend: true,
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", size: 12, color: color("--soft") },
        hoverlabel: { bgcolor: color("--paper"), bordercolor: color("--rule"), font: { color: color("--ink") } },
        legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
        xaxis: Object.assign({}, axis, { showgrid: false, title: { text: "row" } }),
        yaxis: Object.assign({}, axis, { rangemode: "tozero" }),
        yaxis2: Object.assign({}, axis, { rangemode: "tozero", overlaying: "y", side: "right", showgrid: false, tickmode: "auto" }),
      }, { responsive: true, displayModeBar: false });
    };
    draw();
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
});
