const LAP_COLOURS = {
  startup: ["c7", 0.5], load: ["c5", 1], transfer: ["c2", 1], preprocess: ["c4", 0.5], build: ["c3", 0.5],
  whiten: ["c6", 1], pretrain: ["c2", 0.5], compile: ["c1", 1], augment: ["c4", 1], train: ["c0", 1],
  evaluate: ["c7", 1], final_evaluate: ["c3", 1],
};

function drawLaps(body, chosen) {
  const inside = new Set(data.protocols[state.protocol].laps);
  const isInside = (lap) => inside.has(lap) || inside.has("total");
  const swatch = (lap) => {
    const [name, opacity] = LAP_COLOURS[lap] ?? ["c7", 1];
    const made = el("span", { class: isInside(lap) ? "swatch" : "swatch outside" });
    made.style.color = `var(--${name})`;
    made.style.opacity = opacity;
    return made;
  };
  perGoal(body, chosen, (group, title) => {
    const sums = group.map((run) => (state.unit ? Object.values(run.laps).reduce((sum, one) => sum + one, 0) / 100 || 1 : 1));
    const places = group.map((_, place) => place);
    const names = group.map((run) => plain(label(run)));
    const laps = data.laps.filter((lap) => group.some((run) => run.laps[lap]));
    const traces = laps.map((lap) => {
      const [name, opacity] = LAP_COLOURS[lap] ?? ["c7", 1];
      const counts = isInside(lap);
      return {
        type: "bar", orientation: "h", name: lap,
        y: places,
        x: group.map((run, index) => (run.laps[lap] ?? 0) / sums[index]),
        customdata: group.map((run) => seconds(run.laps[lap] ?? 0)),
        marker: {
          color: colour(name), opacity, line: { width: 0 }, pattern: { shape: counts ? "" : "/", size: 6, solidity: 0.35 },
        },
        hovertemplate: `${lap}: %{customdata} s<br>${counts ? "inside" : "outside"} ${state.protocol} time<extra></extra>`,
      };
    });
    body.append(el("ul", { class: "key" }, laps.map((lap) => el("li", {}, swatch(lap), lap))));
    draw(body, `Laps of ${group.length} runs, ${title}`, traces, {
      barmode: "stack", bargap: 0.35, height: 70 + 36 * group.length, showlegend: false,
      xaxis: { title: state.unit ? "% of all laps" : "seconds" },
      yaxis: { autorange: "reversed", tickvals: places, ticktext: names, ticks: "", gridcolor: "rgba(0,0,0,0)" },
    });
  });
}
