/** Nested values as pairs of a dotted path and a text, without those that are null. */
function flat(value, path = "") {
  const isPlain = (item) => item === null || typeof item !== "object";
  if (isPlain(value)) return value === null ? [] : [[path, String(value)]];
  if (Array.isArray(value) && value.every(isPlain)) return value.length ? [[path, value.join(", ")]] : [];
  return Object.entries(value).flatMap(([key, item]) => flat(item, path ? `${path}.${key}` : key));
}

/** Its commit, as a link where the repository is known. */
function commitLink(run) {
  const commit = run.cells.commit[2];
  return data.repository && commit && el("p", {}, el("a", { href: `${data.repository}/commit/${commit}`, rel: "noreferrer" }, `commit ${commit.slice(0, 10)}`));
}

const pairs = (rows) => el("dl", {}, rows.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));

/** The runs of a row that is several, each with its numbers and a link. */
function runsTable(members) {
  const names = ["created", "accuracy", "reached", "target", "total"].filter((name) => !(members[0].has_no_target && OF_ACCURACY.includes(name)));
  const text = (run, name) => cellOf(run, name).slice(0, 2).join("");
  const rows = members.map((run) => [run.id, run.seeds, ...names.map((name) => text(run, name)), run.status]);
  const headers = ["run", "seeds", ...names.map((name) => COLUMNS[name].title), "status"];
  return table({ title: "Runs", headers, rows, ids: members.map((run) => run.id) });
}

function drawRun(main, run) {
  const members = runs.filter((one) => one.pool === run.id);
  const pool = runs.find((one) => one.id === run.pool);
  const warnings = [run.smoke_test ? "A smoke test: its numbers mean nothing." : null, ...run.warnings].filter(Boolean);
  const head = [
    el("p", {}, el("a", { href: address({ run: "" }) }, "← all runs")),
    el("h2", {}, run.name),
    el("p", { class: "muted" }, run.subtitle ?? run.note),
    ...warnings.map((text) => el("p", { class: "warning" }, text)),
    run.command && el("p", { class: "command" }, el("code", {}, run.command), " ", copyButton("copy command", run.command)),
    commitLink(run),
    pool && el("p", {}, el("a", { href: address({ run: pool.id }) }, `one of ${count(pool.members.length, "run")} that are one row`)),
  ].filter(Boolean);
  const listed = members.length ? [el("h3", {}, "Runs"), runsTable(members)] : [];
  if (!run.facts) {
    const places = (members.length ? members : [run]).map((one) => `runs/${one.directory}`);
    const command = el("code", {}, `python bench/report.py ${places.join(" ")}`);
    main.replaceChildren(...head, el("p", {}, `This page shows the trials of ${data.detailed} runs, and this run is not one of them. `, command, " makes a page of it."), ...listed);
    return;
  }
  const hosts = current(run.hosts);
  const [target, total] = ["target", "total"].map((name) => current(run.times[name]) ?? []);
  const ofAccuracy = (cells) => (run.has_no_target ? [] : cells);
  const rows = run.trials.map((trial, at) => [
    ...trial.slice(0, 2), ...ofAccuracy([trial[2], trial[3], target[at] ?? "–"]), total[at] ?? "–", trial[4],
  ]);
  const headers = ["seed", "outcome", ...ofAccuracy(["accuracy %", "epochs to target", "time to target s"]), "total s", run.rate];
  const [curves, laps] = [el("div"), el("div")];
  main.replaceChildren(
    ...head,
    pairs(run.facts.map(([word, text]) => [word, current(text) ?? "–"])),
    ...(run.has_no_target ? [] : [el("h3", {}, "Accuracy over time")]), curves,
    el("h3", {}, "Laps"), laps,
    ...(hosts ? [el("h3", {}, "Hosts"), table(hosts)] : []),
    ...listed,
    el("h3", {}, "Trials"), table({ title: "Trials", headers, rows }),
    el("div", { class: "columns" },
      el("div", {}, el("h3", {}, "Recipe"), el("p", { class: "note" }, "Options that are null are left out."), pairs(flat(data.recipes[run.recipe]))),
      el("div", {}, el("h3", {}, "Environment"), pairs(flat(data.environments[run.environment]))),
    ),
  );
  if (run.trials.length) {
    if (!run.has_no_target) drawCurves(curves, [run]);
    drawLaps(laps, [run]);
  }
}
