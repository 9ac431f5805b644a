const ERRORS = [0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 40, 60, 100]; // ticks, in percent

/** Every trial of a run faintly, and over them its middle: at each epoch the median time and the mean accuracy. */
function curvesOf(run, stroke, height) {
  const name = plain(label(run));
  const isCrossing = (trial, epoch) => trial.outcome === "reached" && epoch === trial.crossing;
  const middle = run.trials.length > 2 ? middleCurve(run) : null;
  const trials = run.trials.map((trial, index) => ({
    x: trial.seconds[state.protocol] ?? [],
    y: trial.accuracies.map(height),
    customdata: trial.epochs,
    name,
    legendgroup: run.id,
    showlegend: index === 0 && !middle,
    mode: "lines+markers",
    line: { color: stroke, width: middle ? 1 : 1.6 },
    marker: { color: stroke, opacity: 1, line: { width: 0 }, size: trial.epochs.map((epoch) => (isCrossing(trial, epoch) ? 7 : 3)) },
    opacity: middle ? 0.3 : 1,
    hovertemplate: `%{y:.2f}% after %{x:.4~g} s<br>epoch %{customdata}, seed ${trial.seed}<extra>${plain(run.name)}</extra>`,
  }));
  if (!middle) return trials;
  const line = { color: stroke, width: 2.6 };
  return [...trials, { ...middle, y: middle.y.map(height), name, legendgroup: run.id, mode: "lines", line, hoverinfo: "skip" }];
}

/** Null where trials were not evaluated at the same epochs, as those that broke off. */
function middleCurve(run) {
  const [first] = run.trials;
  if (grouped(run.trials, (trial) => trial.epochs).length > 1) return null;
  const at = (place, values) => run.trials.map((trial) => values(trial)[place]);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    x: first.epochs.map((_, place) => median(at(place, (trial) => trial.seconds[state.protocol] ?? []))),
    y: first.epochs.map((_, place) => mean(at(place, (trial) => trial.accuracies))),
  };
}

function drawCurves(body, chosen) {
  const asError = state.axis === "error";
  const height = (value) => 100 * (asError ? 1 - value : value);
  perGoal(body, chosen, (group, title) => {
    const traces = group.flatMap((run, place) => curvesOf(run, colour(`c${place % COLOURS}`), height));
    const target = height(group[0].target);
    const chart = draw(body, `Accuracy over time, ${title}, of ${count(group.length, "run")}`, traces, {
      height: isNarrow() ? 300 + 24 * group.length : 400,
      xaxis: { title: `seconds, ${state.protocol} time`, rangemode: "tozero" },
      yaxis: asError ? { title: "error %", type: "log", autorange: "reversed", tickvals: ERRORS } : { title: "accuracy %" },
      shapes: [
        { type: "line", xref: "paper", x0: 0, x1: 1, y0: target, y1: target, line: { color: colour("muted"), dash: "dot", width: 1 } },
      ],
    });
    const isTimed = (trial) => trial.seconds[state.protocol]?.some((at) => at != null);
    if (!group.some((run) => run.trials.some(isTimed))) {
      chart.replaceWith(el("p", { class: "empty" }, `No trial of these has the laps that ${state.protocol} time is made of.`));
    }
  });
}
