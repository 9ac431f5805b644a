// A ladder's rungs as a waterfall: of the whole schedule's time, or of an epoch's, which rungs that were cut short have.

function drawLadder(body) {
  const visible = (ladder) => passes({ ...ladder, target: undefined });
  const found = data.ladders.filter(visible);
  body.replaceChildren();
  body.parentElement.classList.toggle("bare", !found.length);
  if (!found.length) nothing(body, "No ladder here: it takes two rungs, trained on one machine class.");
  for (const ladder of found) {
    const perEpoch = state.ladder ? state.ladder === "epoch" : known(ladder.seconds[state.protocol]) < 2;
    const times = perEpoch ? ladder.epochs : ladder.seconds[state.protocol];
    const rungs = ladder.runs.map((index, place) => ({ run: runs[index], time: times[place], before: times[place - 1] }));
    const timed = rungs.filter((rung) => rung.time != null);
    const title = `${ladder.name} · ${ladder.data_set} · ${ladder.machine}`;
    const what = perEpoch ? "seconds an epoch" : `seconds, ${state.protocol} time`;
    body.append(el("h3", {}, title));
    if (timed.length > 1) drawWaterfall(body, title, what, timed);
    const rows = rungs.map((rung) => ladderRow(rung, perEpoch));
    body.append(table(["rung", "trick", "#accuracy %", perEpoch ? "#s an epoch" : "#schedule s", "#gain", "#published s"], rows, title));
  }
}

const known = (values) => values.filter((value) => value != null).length;

function ladderRow({ run, time: at, before }, perEpoch) {
  const figure = data.published.find((one) => one.recipe === run.name);
  return [
    el("a", { href: address({ run: run.id }) }, last(run.name)), run.trick, accuracy(run),
    at == null ? (perEpoch ? NOTHING : "missed") : seconds(at),
    at == null || before == null ? NOTHING : signed(at / before - 1),
    figure ? [figure.seconds ?? NOTHING, el("small", {}, `${figure.hardware}, ${figure.protocol ?? "its own clock"}`)] : NOTHING,
  ];
}

function drawWaterfall(body, title, what, timed) {
  const steps = timed.slice(1).map((rung, index) => rung.time - timed[index].time);
  const gains = timed.slice(1).map((rung, index) => signed(rung.time / timed[index].time - 1));
  const end = timed.at(-1).time;
  const names = [...timed.map((rung) => plain(cut(last(rung.run.name), isNarrow() ? 12 : 24))), "all of them"];
  const places = names.map((_, place) => place);
  const isCrowded = timed.length > (isNarrow() ? 6 : 16);
  const trace = {
    type: "waterfall",
    x: places,
    y: [timed[0].time, ...steps, end],
    measure: ["absolute", ...steps.map(() => "relative"), "total"],
    text: [seconds(timed[0].time), ...(isCrowded ? steps.map(() => "") : gains), seconds(end)],
    textposition: "outside",
    cliponaxis: false,
    customdata: [...timed.map(({ run }) => `${plain(run.name)}<br>${plain(run.trick)}`), "all of them"],
    hovertext: ["", ...gains.map((gain) => ` (${gain})`), ""],
    hovertemplate: "%{customdata}<br>%{delta:.4~g} s%{hovertext}<extra></extra>",
    connector: { line: { color: colour("line"), width: 1 } },
    decreasing: { marker: { color: colour("good") } },
    increasing: { marker: { color: colour("bad") } },
    totals: { marker: { color: colour("c0") } },
  };
  draw(body, `What each rung of ${title} changed of the time`, [trace], {
    height: 420, showlegend: false, margin: { l: 50, r: 12, t: 28, b: 40 },
    xaxis: { tickvals: places, ticktext: names, tickangle: isCrowded ? -90 : -40, gridcolor: "rgba(0,0,0,0)" },
    yaxis: { title: what, rangemode: "tozero" },
  });
}
