function drawHistory(body) {
  const chosen = data.histories.find((one) => one.key === state.history) ?? data.histories[0];
  form.elements.history.value = chosen ? chosen.key : "";
  body.replaceChildren();
  body.parentElement.classList.toggle("bare", !chosen);
  if (!chosen) {
    nothing(body, "No recipe was run twice on one machine class yet.");
    return;
  }
  const figure = resolved(chosen.figures[state.figure]);
  const steps = current(chosen.steps[state.figure]) ?? [];
  const chart = draw(body, `History of ${chosen.key}: ${count(steps.length, "step")}`, figure.data, figure.layout);
  chart.on("plotly_click", (event) => go({ run: chosen.runs[event.points[0].x][0] }));
  if (steps.length) body.append(stepsTable(chosen, steps));
}

/** Between which runs the level changed, and which commits lie between them; or what else changed. */
function stepsTable({ key, runs: all }, steps) {
  const link = ([id, commit, date]) => el("a", { href: address({ run: id }) }, `${date}${commit ? `, ${commit.slice(0, 7)}` : ""}`);
  const rows = steps.map(([last, first, size, isWorse, differs]) => [
    [size, el("small", {}, isWorse ? "worse" : "better")],
    link(all[last]),
    link(all[first]),
    [...range(all[last][1], all[first][1]), differs && el("small", {}, `not comparable: ${differs}`)],
  ]);
  return table({ title: `Steps of ${key}`, headers: ["step", "last run before", "first run after", "commits"], rows });
}

/** The commits after `before` up to `after`: a command that lists them, and a link where the repository is known. */
function range(before, after) {
  if (!before || !after) return ["not recorded"];
  if (before === after) return ["the same commit"];
  const command = `git log --oneline ${before}..${after}`;
  const words = [before, after].map((commit) => commit.slice(0, 7)).join("...");
  const link = data.repository && el("a", { href: `${data.repository}/compare/${before}...${after}`, rel: "noreferrer" }, words);
  return [link || words, " ", copyButton("copy command", command, `copy the command that lists ${words}`)];
}
