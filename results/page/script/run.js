/** Nested values as pairs of a dotted path and a text. */
function flat(value, path = "") {
  const isPlain = (item) => item === null || typeof item !== "object";
  if (isPlain(value)) return [[path, value === null ? NOTHING : String(value)]];
  if (Array.isArray(value) && value.every(isPlain)) return [[path, value.join(", ") || NOTHING]];
  return Object.entries(value).flatMap(([key, item]) => flat(item, path ? `${path}.${key}` : key));
}

const pairs = (rows) => el("dl", {}, rows.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));

const knobs = (values) => pairs(flat(values).filter(([, text]) => text !== NOTHING));

function drawRun(main, run) {
  const isSample = run.sample ? el("p", { class: "warning" }, "A sample: shortened or made up, its numbers mean nothing.") : null;
  const p = run.accuracy?.p;
  const facts = pairs([
    ["status", run.status + (run.reason ? `: ${run.reason}` : "")],
    ...(run.origin ? [["origin", run.origin]] : []),
    ["machine", run.machine],
    ...(strategy(run) ? [["strategy", strategy(run)]] : []),
    ["data set", run.data_set],
    ["target", goal(run.target).replace(/^to /, "")],
    ["accuracy", [...accuracy(run), p == null ? "" : `, p = ${p.toPrecision(2)} of a mean this high if the true one were at the target`]],
    ["reached", `${run.reached} of ${run.trials.length}` + (run.missing_seeds.length ? `, ${run.missing_seeds.length} to come` : "")],
    [`time to target, ${state.protocol}`, time(run, "target", " s")],
    [`schedule, ${state.protocol}`, time(run, "schedule", " s")],
    ["date", run.created.replace("T", " ").replace("Z", " UTC")],
    ["commit", [commit(run), run.dirty ? " with changes" : ""]],
    ["recipe hash", el("code", {}, run.hash)],
    ["command", el("code", {}, run.command.join(" "))],
    ["directory", el("code", {}, run.directory)],
  ]);
  const rows = run.trials.map((trial) => [
    String(trial.seed), trial.outcome + (trial.reason ? `: ${trial.reason}` : ""), percent(trial.accuracy),
    trial.crossing ?? NOTHING, seconds(trial.target[state.protocol]), seconds(trial.schedule[state.protocol]), rate(trial.rate),
  ]);
  const [curves, laps] = [el("div"), el("div")];
  main.replaceChildren(
    el("p", {}, el("a", { href: address({ run: "" }) }, "← all runs")),
    el("h2", {}, run.name),
    el("p", { class: "muted" }, [run.title, run.trick].filter(Boolean).join(" · ")),
    ...[isSample, ...run.warnings.map((text) => el("p", { class: "warning" }, text))].filter(Boolean),
    facts,
    el("h3", {}, "Accuracy over time"), curves,
    el("h3", {}, "Laps"), laps,
    el("h3", {}, "Trials"),
    table(["#seed", "outcome", "#accuracy %", "#epochs to target", "#time to target s", "#schedule s", "#images/s"], rows, "Trials"),
    el("div", { class: "columns" },
      el("div", {}, el("h3", {}, "Recipe"), el("p", { class: "note" }, "Without the knobs that are null."), knobs(run.recipe)),
      el("div", {}, el("h3", {}, "Environment"), el("p", { class: "note" }, "Without what is not there."), knobs(run.environment)),
    ),
  );
  if (run.trials.length) {
    drawCurves(curves, [run]);
    drawLaps(laps, [run]);
  }
}
