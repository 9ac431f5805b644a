// How a recipe scales over processes. Strong: one batch shared by more; weak: more of the same batch.

const SCALINGS = {
  "": { title: "images/s", of: (trial) => trial.rate, show: rate, more: true },
  schedule: { title: "schedule s", of: (trial) => trial.schedule[state.protocol], show: seconds },
  target: { title: "time to target s", of: (trial) => trial.target[state.protocol], show: seconds },
};

function drawScaling(body) {
  const found = data.scalings.filter((one) => one.runs.some((index) => passes(runs[index])));
  body.replaceChildren();
  body.parentElement.classList.toggle("bare", !found.length);
  if (!found.length) nothing(body, "No recipe was run here with several numbers of processes yet.");
  const figure = SCALINGS[state.scaling];
  for (const group of grouped(found, (one) => [one.name, one.data_set, one.machine])) {
    const title = `${group[0].name} · ${group[0].data_set} · ${group[0].machine}`;
    body.append(el("h3", {}, title));
    drawScalingCurves(body, title, group, figure);
    for (const one of group) body.append(scalingTable(one, title));
  }
}

const scalingName = (one) => [one.batch, one.strategy].filter((word) => word !== "none").join(", ");

function drawScalingCurves(body, title, group, figure) {
  const traces = group.flatMap((one, place) => {
    const stroke = colour(`c${place % COLOURS}`);
    const trials = one.runs.map((index) => runs[index].trials.map(figure.of));
    const middles = trials.map(median);
    const first = middles.findIndex((value) => value != null);
    const isFaster = (world) => (figure.more ? world / one.worlds[first] : one.worlds[first] / world);
    const shared = { legendgroup: String(place), line: { color: stroke, width: 1.6 }, marker: { color: stroke, size: 8 } };
    return [
      {
        ...shared, name: plain(scalingName(one)), x: one.worlds, y: middles, mode: "lines+markers",
        hovertemplate: `%{y:.4~g} ${figure.title.split(" ").at(-1)} with %{x}<extra>${plain(scalingName(one))}</extra>`,
      },
      {
        ...shared, x: trials.flatMap((values, at) => values.map(() => one.worlds[at])), y: trials.flat(), mode: "markers",
        marker: { color: stroke, size: 4, opacity: 0.4 }, hoverinfo: "skip", showlegend: false,
      },
      {
        ...shared, x: one.worlds, y: one.worlds.map((world) => middles[first] && middles[first] * isFaster(world)), mode: "lines",
        line: { color: stroke, width: 1, dash: "dot" }, hoverinfo: "skip", showlegend: false,
      },
    ];
  });
  const marks = logarithmicTicks(traces.flatMap((trace) => trace.y));
  const worlds = [...new Set(group.flatMap((one) => one.worlds))];
  draw(body, `${figure.title} of ${title} over the number of processes`, traces, {
    showlegend: true,
    xaxis: { title: "processes", type: "log", tickvals: worlds, ticktext: worlds.map(String) },
    yaxis: {
      title: state.scaling ? `${figure.title}, ${state.protocol} time` : figure.title,
      type: "log", tickvals: marks, ticktext: marks.map(rate),
    },
  });
}

/** 1, 2 and 5 times the powers of ten from the least to the greatest value: plotly's own ticks hide the powers. */
function logarithmicTicks(values) {
  const known = values.filter((value) => value > 0);
  if (!known.length) return [];
  const [first, end] = [Math.min(...known), Math.max(...known)].map((value) => Math.floor(Math.log10(value)));
  const powers = Array.from({ length: end - first + 1 }, (_, place) => first + place);
  return powers.flatMap((power) => [1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
}

function scalingTable(one, title) {
  const members = one.runs.map((index) => runs[index]);
  const rates = members.map((run) => median(run.trials.map((trial) => trial.rate)));
  const more = (at) => one.worlds[at] / one.worlds[0];
  const rows = members.map((run, at) => {
    const faster = rates[at] && rates[0] ? rates[at] / rates[0] : null;
    return [
      el("a", { href: address({ run: run.id }) }, String(one.worlds[at])), String(run.recipe.batch_size), rate(rates[at]),
      faster == null ? NOTHING : faster.toFixed(2), faster == null ? NOTHING : `${Math.round((100 * faster) / more(at))}%`,
      time(run, "schedule"), time(run, "target"), accuracy(run),
    ];
  });
  const headers = ["processes", "#batch", "#images/s", "#times as fast", "#efficiency", "#schedule s", "#time to target s", "#accuracy %"];
  return el("div", {}, el("p", { class: "note" }, scalingName(one)), table(headers, rows, `${title}, ${scalingName(one)}`));
}
