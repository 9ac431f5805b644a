const TITLE = document.title;

function render() {
  const before = state.run;
  const key = document.activeElement?.dataset.key;
  state = read();
  palette.clear();
  for (const chart of document.querySelectorAll(".chart")) Plotly.purge(chart);
  const run = runs.find((one) => one.id === state.run);
  const [overview, single] = ["overview", "run"].map((id) => document.getElementById(id));
  overview.hidden = Boolean(run);
  single.hidden = !run;
  document.title = run ? `${run.called} · ${TITLE}` : TITLE;
  if (run) {
    drawRun(single, run);
    if (before !== state.run) {
      window.scrollTo(0, 0);
      single.focus({ preventScroll: true });
    }
    return;
  }
  single.replaceChildren();
  const seen = shown();
  const [ranked, others] = [true, false].map((isRanked) => listed(seen.filter((run) => run.ranked === isRanked)));
  const chosen = ticked(ranked.length ? ranked : others);
  const drawings = {
    leaderboard: (body) => drawLeaderboard(body, ranked, chosen),
    curves: (body) => drawCurves(body, chosen),
    laps: (body) => drawLaps(body, chosen),
    differences: (body) => drawDifferences(body, chosen),
    ladder: (body) => drawSeries(body, data.ladders, state.ladder, "No ladder here: it takes two steps, trained on one machine class."),
    scaling: (body) => drawSeries(body, data.scalings, state.scaling, "No recipe was run here with several numbers of processes yet."),
    history: drawHistory,
    unranked: (body) => drawLists(body, others, chosen),
  };
  document.getElementById("clock").textContent = `${state.protocol} time: ${data.protocols[state.protocol]}`;
  document.getElementById("unranked").hidden = !others.length;
  for (const link of contents) {
    link.href = address({ section: link.dataset.section });
    link.parentElement.hidden = document.getElementById(link.dataset.section).hidden;
  }
  foldSections();
  for (const fold of folds) {
    const body = fold.querySelector(".body");
    if (fold.open) drawings[idOf(fold)](body);
    else body.replaceChildren();
  }
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  if (before) document.querySelector(`[data-key="${CSS.escape(`run-${before}`)}"]`)?.focus();
}

function remembered(value) {
  try {
    if (value === undefined) return localStorage.getItem("paceline-theme") ?? "";
    localStorage.setItem("paceline-theme", value);
  } catch {
    return ""; // some browsers keep nothing for pages from disk
  }
  return value;
}

/** The action once, when nobody has typed for a moment. */
function later(action) {
  let waiting = 0;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(action, 150);
  };
}

function begin() {
  const alone = runs.filter((run) => !run.members.length);
  const trials = alone.reduce((sum, run) => sum + run.count, 0);
  const newest = runs.map((run) => run.cells.created[0]).sort().at(-1);
  document.getElementById("summary").textContent =
    `${count(alone.length, "run")}, ${count(trials, "trial")}` + (newest ? `, the newest of ${newest}` : "");
  form.elements.history.append(...data.histories.map((one) => el("option", { value: one.key }, one.key)));
  const controls = [...form.elements].filter((control) => control.name);
  for (const control of controls) {
    const value = () => (control.type === "checkbox" ? (control.checked ? "1" : "") : control.value);
    if (control.type !== "search") control.addEventListener("change", () => go({ [control.name]: value() }));
    else control.addEventListener("input", later(() => go({ [control.name]: value() }, { replace: true })));
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector("main:not([hidden])").focus();
  });
  const theme = document.getElementById("theme");
  const dress = () => { document.documentElement.dataset.theme = theme.value; };
  theme.value = remembered();
  theme.addEventListener("change", () => { remembered(theme.value); dress(); render(); });
  dress();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  window.addEventListener("popstate", render);
  beginSections();
  render();
  if (!state.run) visitSection(state.section);
}

begin();
