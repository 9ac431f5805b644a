const historyKey = (one) =>
  [one.name, one.data_set, one.machine, one.strategy, one.target].filter((word) => word !== "none").join(" · ");

/** What of a run a history can show: of each trial, of the run, and as text. */
function historyFigure() {
  const name = state.figure || "schedule";
  if (name === "accuracy") {
    return {
      title: "mean accuracy %", unit: "%", scale: 100, levels: (one) => one.levels.accuracy,
      samples: (run) => run.trials.map((trial) => trial.accuracy && 100 * trial.accuracy),
      centre: (run) => run.accuracy && 100 * run.accuracy.mean,
      change: (before, after) => `${(100 * (after - before)).toFixed(2)} points`,
    };
  }
  const samples = (run) => run.trials.map((trial) => trial[name][state.protocol]);
  return {
    title: `${name === "target" ? "time to target" : "schedule"} s, ${state.protocol} time`, unit: "s", scale: 1,
    levels: (one) => one.levels[name][state.protocol],
    samples, centre: (run) => median(samples(run)), change: (before, after) => signed(after / before - 1),
  };
}

function drawHistory(body) {
  const chosen = data.histories.find((one) => historyKey(one) === state.history) ?? data.histories[0];
  form.elements.history.value = chosen ? historyKey(chosen) : "";
  body.replaceChildren();
  body.parentElement.classList.toggle("bare", !chosen);
  if (!chosen) {
    nothing(body, "No recipe was run twice on one machine class yet.");
    return;
  }
  const figure = historyFigure();
  const levels = figure.levels(chosen);
  const members = chosen.runs.map((index) => runs[index]);
  const recipes = members.flatMap((run, at) => (at && run.hash !== members[at - 1].hash ? [at - 0.5] : []));
  const every = Math.ceil(members.length / (isNarrow() ? 5 : 12));
  const ticks = members.map((_, at) => at).filter((at) => at % every === 0);
  const step = colour("c1");
  const upright = (x, stroked, dash) => ({
    type: "line", yref: "paper", y0: 0, y1: 1, x0: x, x1: x, line: { color: stroked, dash, width: 1 },
  });
  const description = `History of ${historyKey(chosen)}: ${count(Math.max(0, levels.length - 1), "step")}`;
  const chart = draw(body, description, historyTraces(members, levels, figure), {
    showlegend: false, margin: { l: 50, r: 12, t: 28, b: 40 },
    xaxis: {
      title: "commit", range: [-0.7, members.length - 0.3], tickvals: ticks,
      ticktext: ticks.map((at) => plain((members[at].commit ?? members[at].created).slice(0, 7))),
    },
    yaxis: { title: figure.title },
    annotations: levels.slice(1).map((level, index) => ({
      x: level.start - 0.5, y: 1, yref: "paper", yanchor: "bottom", showarrow: false, font: { color: step },
      text: figure.change(levels[index].value, level.value),
    })),
    shapes: [
      ...levels.slice(1).map((level) => upright(level.start - 0.5, step, "dot")),
      ...recipes.map((at) => upright(at, colour("muted"), "dash")),
    ],
  });
  chart.on("plotly_click", (event) => go({ run: members[event.points[0].x].id }));
  if (recipes.length) body.append(el("p", { class: "note" }, "A grey dashed line: the recipe itself changed there."));
}

function historyTraces(members, levels, { unit, scale, samples, centre }) {
  const points = members.flatMap((run, at) => samples(run).map((value) => [at, value]));
  const stroke = colour("c0");
  const about = (run) => `${(run.commit ?? "no commit").slice(0, 7)}, ${run.created.slice(0, 16).replace("T", " ")}, run ${run.id}`;
  const ends = levels.slice(1).map((level) => level.start).concat(members.length);
  return [
    {
      x: points.map((point) => point[0]), y: points.map((point) => point[1]), mode: "markers",
      marker: { color: stroke, size: 4, opacity: 0.3 }, hoverinfo: "skip",
    },
    {
      x: levels.flatMap((level, index) => [level.start - 0.4, ends[index] - 0.6, null]),
      y: levels.flatMap((level) => [scale * level.value, scale * level.value, null]),
      mode: "lines", line: { color: colour("c1"), width: 2 }, hoverinfo: "skip",
    },
    {
      x: members.map((_, at) => at), y: members.map(centre), mode: "markers",
      marker: { color: members.map((run) => (run.enough ? stroke : colour("paper"))), size: 8, line: { color: stroke, width: 1.5 } },
      customdata: members.map((run) => plain(about(run))),
      hovertemplate: `%{y:.5~g} ${unit}<br>%{customdata}<extra></extra>`,
    },
  ];
}
