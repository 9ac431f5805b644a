const SHORT = 10; // rows of a list until all are asked for

const COLUMNS = {
  name: { title: "recipe", value: (row) => row.name },
  accuracy: { title: "accuracy %", number: true, value: (row) => row.accuracy?.mean ?? null, down: true },
  reached: { title: "reached", number: true, minor: true, value: (row) => row.reached / row.trials?.length, down: true },
  target: { title: "time to target s", number: true, broad: true, value: (row) => row.times.target[state.protocol]?.median ?? null },
  schedule: { title: "schedule s", number: true, broad: true, value: (row) => row.times.schedule[state.protocol]?.median ?? null },
  machine: { title: "machine", value: (row) => row.machine },
  created: { title: "date", minor: true, value: (row) => row.created, down: true },
  commit: { title: "commit", minor: true, value: (row) => row.commit },
};

/** Sorted by a column, `-` for the other way round; what has no such value comes last either way. */
function sorted(rows) {
  const key = state.sort.replace(/^-/, "");
  const column = COLUMNS[key] ?? COLUMNS.target;
  const sign = state.sort.startsWith("-") ? -1 : 1;
  const isKnown = (value) => value != null && !Number.isNaN(value);
  const compare = (a, b, way) => {
    if (!isKnown(a) || !isKnown(b)) return isKnown(b) - isKnown(a);
    return way * (a < b ? -1 : a > b ? 1 : 0);
  };
  return [...rows].sort(
    (a, b) =>
      compare(column.value(a), column.value(b), sign) ||
      compare(COLUMNS.schedule.value(a), COLUMNS.schedule.value(b), 1) ||
      compare(COLUMNS.accuracy.value(a), COLUMNS.accuracy.value(b), -1),
  );
}

/** Lists that may be ranked: one data set and target, one machine class unless asked otherwise, samples apart. */
function leaderboards() {
  const groups = grouped(shown(), (run) => [run.sample, run.data_set, run.target, state.across ? "" : run.machine]);
  return groups.map(sorted).sort((a, b) => a[0].sample - b[0].sample);
}

/** A published figure as a row, where it may stand in one list with ours. */
function asRow(figure) {
  const times = { [figure.protocol]: { median: figure.seconds, interval: null, n: figure.runs, of: figure.runs } };
  return {
    name: figure.recipe, machine: figure.hardware, figure, created: null, commit: null, trials: [],
    accuracy: { mean: figure.accuracy, interval: null }, times: { target: {}, schedule: times },
  };
}

function drawLeaderboard(body, lists, chosen) {
  const parts = lists.map((list) => {
    const { data_set, target, machine, sample } = list[0];
    const ranked = state.published && state.across && !sample;
    const others = data.published.filter(
      (figure) => figure.data_set === data_set && figure.protocol === state.protocol && figure.seconds && figure.accuracy >= target,
    );
    const rows = ranked ? sorted([...list, ...others.map(asRow)]) : list;
    const title = [`${data_set} ${goal(target)}`, ...(state.across ? [] : [machine])].join(" · ");
    return [
      el("h3", {}, title, sample ? " — sample runs: shortened or made up, their numbers mean nothing" : ""),
      leaderboardTable(rows, chosen, title),
    ];
  });
  if (!lists.length) parts.push([el("p", { class: "empty" }, "No run passes these filters.")]);
  if (state.published) parts.push(...publishedTables(lists));
  body.replaceChildren(...parts.flat());
}

function leaderboardTable(rows, chosen, title) {
  const names = Object.keys(COLUMNS).filter((name) => name !== "machine" || state.across);
  const heads = names.map((name) => {
    const column = COLUMNS[name];
    const first = column.down ? `-${name}` : name;
    const other = column.down ? name : `-${name}`;
    const way = state.sort === name ? "ascending" : state.sort === `-${name}` ? "descending" : null;
    const sort = () => go({ sort: state.sort === first ? other : first });
    const button = el("button", { type: "button", "data-key": `sort-${title}-${name}`, onclick: sort }, column.title);
    return el("th", { scope: "col", "aria-sort": way, class: kind(name) }, button);
  });
  const head = el("tr", {}, el("th", { scope: "col", class: "tick" }, el("span", { "aria-label": "drawn in the charts" })), heads);
  const isCut = !state.full && rows.length > SHORT + 2; // a button instead of two rows would save nothing
  const drawn = isCut ? rows.slice(0, SHORT) : rows;
  const ends = Object.fromEntries(["target", "schedule"].map((figure) => [figure, longest(drawn, figure)]));
  const lines = drawn.map((row) =>
    el("tr", {}, tick(row, chosen), names.map((name) => cell(name, row, ends))),
  );
  const more = el("button", { type: "button", class: "more", onclick: () => go({ full: "1" }) }, `show all ${rows.length}`);
  return el("div", {}, scrolling(el("table", { class: "board" }, el("thead", {}, head), el("tbody", {}, lines)), title), isCut && more);
}

const kind = (name) => ["number", "minor", "broad"].filter((one) => COLUMNS[name][one]).concat(name).join(" ");

/** The longest of the trials' times that a list shows. */
function longest(rows, figure) {
  return rows.reduce((most, row) => trialTimes(row, figure).reduce((a, b) => Math.max(a, b ?? 0), most), 0);
}

function trialTimes(row, figure) {
  return row.times[figure][state.protocol] ? row.trials.map((trial) => trial[figure][state.protocol]) : [];
}

function tick(run, chosen) {
  if (run.figure) return el("td", { class: "tick" });
  const place = chosen.indexOf(run);
  const change = () => {
    const ids = place < 0 ? [...chosen, run] : chosen.filter((other) => other !== run);
    go({ runs: ids.map((one) => one.id).join(",") || "none" });
  };
  const box = el("input", {
    type: "checkbox", "data-key": `tick-${run.id}`, "aria-label": `draw ${run.name}, run ${run.id}`, onchange: change,
  });
  box.checked = place >= 0;
  const group = grouped(chosen, sameGoal).find((one) => one.includes(run));
  if (group) box.style.accentColor = `var(--c${group.indexOf(run) % COLOURS})`;
  return el("td", { class: "tick" }, box);
}

function cell(name, row, ends) {
  const timed = () => {
    const times = trialTimes(row, name);
    return [...time(row, name), times.length > 1 && strip(times, ends[name])];
  };
  const text = {
    name: () =>
      row.figure
        ? [row.name, ...tag(row), el("small", {}, row.figure.source)]
        : [el("a", { href: address({ run: row.id }), "data-key": `run-${row.id}` }, row.name), ...tag(row), note(row)],
    accuracy: () => accuracy(row),
    reached: () => (row.figure ? NOTHING : `${row.reached} of ${row.trials.length}`),
    target: timed,
    schedule: timed,
    machine: () => row.machine,
    created: () => (row.created ? el("time", { datetime: row.created }, row.created.slice(0, 10)) : NOTHING),
    commit: () => commit(row),
  };
  return el("td", { class: kind(name) }, text[name]());
}

function note(run) {
  const unfinished = run.status === "finished" ? [] : [run.status];
  const text = [run.title, strategy(run), ...unfinished, ...run.warnings.slice(0, 1)].filter(Boolean).join(" · ");
  return text ? el("small", {}, text) : null;
}

/** Figures of others beside ours, never in one list with them: another machine, another clock. */
function publishedTables(lists) {
  const sets = [...new Set(lists.map((list) => list[0].data_set))];
  return sets.map((name) => {
    const figures = data.published.filter((figure) => figure.data_set === name);
    if (!figures.length) return [el("p", { class: "empty" }, `No published figure for ${name}.`)];
    const title = `${name} · published, each on its own hardware and by its own clock`;
    const rows = figures.map((figure) => [
      [figure.recipe, el("small", {}, figure.source)], percent(figure.accuracy), figure.runs ?? NOTHING,
      figure.seconds ?? NOTHING, figure.protocol ?? NOTHING, figure.hardware,
    ]);
    return [el("h3", {}, title), table(["recipe", "#accuracy %", "#runs", "#s", "protocol", "hardware"], rows, title)];
  });
}
