const COLOURS = 8;

/** What a custom property of the style is under the theme in force. */
function colour(name) {
  const probe = document.body.appendChild(el("span"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function draw(parent, description, traces, { height = 380, xaxis = {}, yaxis = {}, ...rest } = {}) {
  const [ink, muted, line, paper] = ["ink", "muted", "line", "paper"].map(colour);
  const axis = {
    gridcolor: line, linecolor: line, zeroline: false, automargin: true, tickfont: { color: muted }, fixedrange: isNarrow(),
  };
  const titled = (text) => ({ title: { text: text ?? "", font: { color: muted, size: 12 }, standoff: 10 } });
  const layout = {
    height,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
    margin: { l: 50, r: 12, t: 12, b: 40 },
    hoverlabel: { bgcolor: paper, bordercolor: muted, font: { color: ink }, namelength: -1, align: "left" },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
    hovermode: "closest",
    ...rest,
    xaxis: { ...axis, tickangle: 0, nticks: isNarrow() ? 5 : 0, ...xaxis, ...titled(xaxis.title) },
    yaxis: { ...axis, ...yaxis, ...titled(yaxis.title) },
  };
  const chart = el("div", { class: "chart", role: "img", "aria-label": description });
  parent.append(chart);
  Plotly.newPlot(chart, traces, layout, {
    responsive: true, displaylogo: false, displayModeBar: isNarrow() ? false : "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
  });
  return chart;
}

/** An empty section, which says why. */
function nothing(body, why) {
  body.replaceChildren(el("p", { class: "empty" }, why));
}

const sameGoal = (run) => [run.data_set, run.target];

/** Calls `one` for every data set and target, which never share an axis, with a heading where there are several. */
function perGoal(body, chosen, one) {
  body.replaceChildren();
  if (!chosen.length) nothing(body, "Tick runs in the leaderboard to see them here.");
  const groups = grouped(chosen, sameGoal);
  for (const group of groups) {
    const title = `${group[0].data_set} ${goal(group[0].target)}`;
    if (groups.length > 1) body.append(el("h3", {}, title));
    one(group, title);
  }
}
