// The figures are made in Python (results/page/figures.py). Here they get the theme's colours, the protocol in force and
// the runs that are ticked.
const COLOURS = 8;
const TICKS = 18; // labels of an axis that a phone has room for
const palette = new Map();

/** What a custom property of the style is under the theme in force. */
function colour(name) {
  if (!palette.has(name)) {
    const probe = document.body.appendChild(el("span"));
    probe.style.color = `var(--${name})`;
    palette.set(name, getComputedStyle(probe).color);
    probe.remove();
  }
  return palette.get(name);
}

/** A figure, or a part of one, under the protocol and the theme in force. */
function resolved(value) {
  if (typeof value === "string") return /^var\(--[a-z0-9]+\)$/.test(value) ? colour(value.slice(6, -1)) : value;
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(resolved);
  if (value === null || typeof value !== "object") return value;
  if ("$protocol" in value) return resolved(current(value));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item)]));
}

/** `second` over `first`, group by group. */
function merged(first, second) {
  const isGroup = (item) => item !== null && typeof item === "object" && !Array.isArray(item);
  const both = Object.keys(second).filter((key) => isGroup(first[key]) && isGroup(second[key]));
  return { ...first, ...second, ...Object.fromEntries(both.map((key) => [key, merged(first[key], second[key])])) };
}

/** The ticks of an axis that fit on a phone. */
function fewTicks({ tickvals, ticktext }) {
  if (!tickvals) return { nticks: 5 };
  const every = Math.ceil(tickvals.length / TICKS);
  const thinned = (items) => items?.filter((_, place) => place % every === 0);
  return { tickvals: thinned(tickvals), ticktext: thinned(ticktext) };
}

/** A waterfall with its steps from top to bottom: a phone has room for their names there. */
function transposed({ data: [trace], layout: { xaxis, yaxis, ...rest } }) {
  const { x, y, ...own } = trace;
  const steps = { ...xaxis, autorange: "reversed", tickangle: 0, tickfont: { ...xaxis.tickfont, size: 10 } };
  const height = 90 + 20 * (x?.length ?? 0);
  return {
    data: [{ ...own, x: y, y: x, orientation: "h" }],
    layout: { ...rest, xaxis: yaxis, yaxis: steps, height, margin: { ...rest.margin, r: 48 } },
  };
}

function draw(parent, description, traces, layout) {
  const narrow = isNarrow();
  const named = layout.showlegend === false ? 0 : traces.filter((trace) => trace.name && trace.showlegend !== false).length;
  const legend = narrow && named > 2 ? 20 * named : 0; // it has one column there
  const fitted = merged(layout, {
    height: layout.height + legend,
    ...(legend ? { legend: { maxheight: legend + 10 } } : {}),
    font: { family: getComputedStyle(document.body).fontFamily },
    xaxis: { fixedrange: narrow, ...(narrow ? fewTicks(layout.xaxis) : {}) },
    yaxis: { fixedrange: narrow },
  });
  const chart = el("div", { class: "chart", role: "img", "aria-label": description });
  parent.append(chart);
  Plotly.newPlot(chart, traces, fitted, { responsive: true, displayModeBar: false });
  return chart;
}

/** An empty section, which says why. */
function nothing(body, why) {
  body.replaceChildren(el("p", { class: "empty" }, why));
}

const sameGoal = (run) => [run.data_set, run.goal];

/** Calls `one` for every data set and target, which never share an axis, with a heading where there are several. */
function perGoal(body, chosen, one) {
  body.replaceChildren();
  if (!chosen.length) nothing(body, "Tick runs in the leaderboard to see them here.");
  const groups = grouped(chosen, sameGoal);
  for (const group of groups) {
    const title = `${group[0].data_set} ${group[0].goal}`;
    if (groups.length > 1) body.append(el("h3", {}, title));
    one(group, title);
  }
}

function drawCurves(body, chosen) {
  const height = (value) => (state.axis === "error" ? 100 - value : value);
  perGoal(body, chosen, (group, title) => {
    const every = group.flatMap((run, place) => run.curves.map((trace) => {
      const own = {
        name: isNarrow() ? run.plain.split("/").pop() : run.label, legendgroup: run.id, meta: [trace.meta, run.plain],
        y: trace.y.map(height), line: { color: colour(`c${place % COLOURS}`) }, marker: { color: colour(`c${place % COLOURS}`) },
      };
      return merged(merged(data.styles[trace.style], resolved(trace)), own);
    }));
    const traces = every.filter((trace) => trace.x?.length); // without x, plotly draws at 0, 1, 2 …
    if (!traces.length) {
      body.append(el("p", { class: "empty" }, `No trial of these has the laps that ${state.protocol} time consists of.`));
      return;
    }
    if (group[0].has_no_target) {
      body.append(el("p", { class: "empty" }, "These runs have no target: there is no accuracy to draw."));
      return;
    }
    const layout = resolved(data.curves[group[0].goal][state.axis]);
    draw(body, `Accuracy over time, ${title}, of ${count(group.length, "run")}`, traces, layout);
  });
}

function drawLaps(body, chosen) {
  perGoal(body, chosen, (group, title) => {
    const places = group.map((_, place) => place);
    const traces = data.lap_names.flatMap((lap, index) => {
      if (!group.some((run) => run.laps[lap])) return [];
      const [x, customdata] = [0, 1].map((part) => group.map((run) => run.laps[lap]?.[part] ?? 0));
      return [{ ...resolved(data.lap_bars[index]), x, y: places, customdata }];
    });
    const names = group.map((run) => (isNarrow() ? run.plain.split("/").pop() : run.label));
    const layout = merged(resolved(data.laps[state.unit]), {
      height: 110 + 36 * group.length, yaxis: { tickvals: places, ticktext: names },
    });
    draw(body, `Laps of ${count(group.length, "run")}, ${title}`, traces, layout);
  });
}

/** Figures of several runs with their tables, one group after the other: ladders and scaling. */
function drawSeries(body, all, choice, empty) {
  const found = all.filter((one) => passes({ ...one, target: undefined }));
  body.replaceChildren();
  body.parentElement.classList.toggle("bare", !found.length);
  if (!found.length) nothing(body, empty);
  for (const one of found) {
    const title = `${one.name} · ${one.data_set} · ${one.machine}`;
    const upright = resolved(one.figures[choice]);
    const figure = isNarrow() && upright.data[0]?.type === "waterfall" ? transposed(upright) : upright;
    body.append(el("h3", {}, title));
    if (figure.data.some((trace) => trace.y?.length)) draw(body, title, figure.data, figure.layout);
    for (const entry of one.tables) {
      const shown = current(entry);
      body.append(el("p", { class: "muted" }, one.tables.length > 1 ? shown.title : ""), table(shown));
    }
  }
}
