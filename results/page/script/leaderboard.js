const SHORT = 10; // rows of a list until all are asked for

const COLUMNS = {
  name: { title: "recipe" },
  accuracy: { title: "accuracy %", kind: "number", down: true },
  reached: { title: "reached", kind: "number minor", down: true },
  target: { title: "time to target s", kind: "number broad" },
  rate: { title: "images/s", kind: "number", down: true }, // or tokens/s, as the runs of a list have it
  step: { title: "ms per step", kind: "number" },
  total: { title: "total s", kind: "number broad" },
  machine: { title: "machine" },
  created: { title: "date", kind: "minor", down: true },
  commit: { title: "commit", kind: "minor" },
};

const OF_ACCURACY = ["accuracy", "reached", "target"]; // columns that runs without a target do not have
const OF_THROUGHPUT = ["rate", "step"]; // and those of theirs

/** Of a cell: its text, what stands smaller behind it, and what it is sorted by. */
const cellOf = (row, name) => current(row.cells[name]) ?? ["–", "", null];

/** Sorted by a column, `-` for the other way round; what has no such value comes last either way. A published figure,
 *  which has but one time, is ranked by that. */
function sorted(rows) {
  const key = state.sort.replace(/^-/, "");
  const column = COLUMNS[key] ? key : "target";
  const sign = state.sort.startsWith("-") ? -1 : 1;
  const found = (row, name) => (name in row.cells ? cellOf(row, name)[2] : (row[name] ?? null));
  const value = (row, name) => found(row, name === "target" && row.source ? "total" : name);
  const compare = (a, b, way) => {
    if (a === null || b === null) return (b !== null) - (a !== null);
    return way * (a < b ? -1 : a > b ? 1 : 0);
  };
  return [...rows].sort(
    (a, b) =>
      compare(value(a, column), value(b, column), sign) ||
      compare(value(a, "total"), value(b, "total"), 1) ||
      compare(value(a, "accuracy"), value(b, "accuracy"), -1),
  );
}

/** Lists of runs that compare: one data set and target, one machine class unless asked otherwise, smoke tests apart. The
 *  longest comes first. */
function listed(some) {
  const groups = grouped(some, (run) => [run.smoke_test, run.data_set, run.goal, state.across ? "" : run.machine]);
  return groups.map(sorted).sort((a, b) => a[0].smoke_test - b[0].smoke_test || b.length - a.length);
}

function drawLeaderboard(body, lists, chosen) {
  drawLists(body, lists, chosen);
  if (!lists.length) nothing(body, "No run that passes these filters reached its target.");
  if (state.published) body.append(...publishedTables().flat());
  const names = Object.entries(data.marks).filter(([name]) => lists.some((list) => list.some((run) => run.marks.includes(name))));
  document.getElementById("marks").textContent = names.map(([, [symbol, caption]]) => `${symbol} ${caption}.`).join(" ");
}

function drawLists(body, lists, chosen) {
  const parts = lists.map((list) => {
    const { data_set, goal, target, machine, smoke_test } = list[0];
    const others = data.published.filter(
      (one) => one.data_set === data_set && cellOf(one, "total")[2] && one.protocol === state.protocol && one.accuracy >= target,
    );
    const rows = state.published && state.across && !smoke_test ? sorted([...list, ...others]) : list;
    const title = [`${data_set} ${goal}`, ...(state.across ? [] : [machine])].join(" · ");
    return [
      el("h3", {}, title, smoke_test ? ": smoke tests, whose numbers mean nothing" : ""),
      leaderboardTable(rows, chosen, title),
    ];
  });
  body.replaceChildren(...parts.flat());
}

function leaderboardTable(rows, chosen, title) {
  const absent = rows[0].has_no_target ? OF_ACCURACY : OF_THROUGHPUT;
  const names = Object.keys(COLUMNS).filter((name) => !absent.includes(name) && (name !== "machine" || state.across));
  const heads = names.map((name) => {
    const column = COLUMNS[name];
    const first = column.down ? `-${name}` : name;
    const other = column.down ? name : `-${name}`;
    const way = state.sort === name ? "ascending" : state.sort === `-${name}` ? "descending" : null;
    const sort = () => go({ sort: state.sort === first ? other : first });
    const button = el("button", { type: "button", "data-key": `sort-${title}-${name}`, onclick: sort }, name === "rate" ? rows[0].rate : column.title);
    return el("th", { scope: "col", "aria-sort": way, class: kind(name) }, button);
  });
  const head = el("tr", {}, el("th", { scope: "col", class: "tick" }, el("span", { class: "unseen" }, "drawn in the charts")), heads);
  const isCut = !state.full && rows.length > SHORT + 2; // a button instead of two rows would save nothing
  const drawn = isCut ? rows.slice(0, SHORT) : rows;
  const ends = Object.fromEntries(["target", "total"].map((name) => [name, Math.max(...drawn.flatMap((row) => times(row, name)))]));
  const lines = drawn.map((row) => el("tr", {}, tick(row, chosen), names.map((name) => cell(name, row, ends))));
  const more = el("button", { type: "button", class: "more", onclick: () => go({ full: "1" }) }, `show all ${rows.length}`);
  return el("div", {}, scrolling(el("table", { class: "board" }, el("thead", {}, head), el("tbody", {}, lines)), title), isCut && more);
}

const kind = (name) => [COLUMNS[name].kind, name].filter(Boolean).join(" ");

/** Seconds of the trials of a row that has this time. */
function times(row, name) {
  if (row.source || cellOf(row, name)[2] === null) return [];
  return (current(row.times[name]) ?? []).map((text) => Number(text.replaceAll(",", ""))).filter((value) => !Number.isNaN(value));
}

function tick(run, chosen) {
  if (run.source || !run.facts) return el("td", { class: "tick" }); // nothing of it can be drawn
  const place = chosen.indexOf(run);
  const change = () => {
    const ids = place < 0 ? [...chosen, run] : chosen.filter((other) => other !== run);
    go({ runs: ids.map((one) => one.id).join(",") || "none" });
  };
  const box = el("input", {
    type: "checkbox", "data-key": `tick-${run.id}`, "aria-label": `draw ${run.called}`, onchange: change,
  });
  box.checked = place >= 0;
  const group = grouped(chosen, sameGoal).find((one) => one.includes(run));
  if (group) box.style.accentColor = `var(--c${group.indexOf(run) % COLOURS})`;
  return el("td", { class: "tick" }, box);
}

/** The symbols of what disturbed a run. */
const marksOf = (run) => (run.marks ?? []).map((name) => el("abbr", { class: "mark", title: `${name}: ${data.marks[name][1]}` }, data.marks[name][0]));

function cell(name, row, ends) {
  if (name === "name") {
    const link = row.source ? row.name : el("a", { href: address({ run: row.id }), "data-key": `run-${row.id}` }, row.name);
    const about = [row.source || row.note, row.command && copyButton("copy command", row.command, `copy the command of ${row.called}`)];
    return el("td", { class: kind(name) }, link, ...marksOf(row), ...tag(row), el("small", {}, about));
  }
  if (name === "machine") return el("td", { class: kind(name) }, row.machine);
  const [text, small] = cellOf(row, name);
  const marks = name in ends ? times(row, name) : [];
  return el("td", { class: kind(name) }, text, small && el("span", { class: "interval" }, small), marks.length > 1 && strip(marks, ends[name]));
}

/** Figures of others beside ours, never in one list with them: another machine, another clock. */
function publishedTables() {
  const sets = state.data === ALL ? [...new Set(shown().map((run) => run.data_set))] : [state.data];
  return sets.map((name) => {
    const figures = data.published.filter((one) => one.data_set === name);
    if (!figures.length) return [el("p", { class: "empty" }, `No published figure for ${name}.`)];
    const title = `${name} · published, each on its own hardware and by its own clock`;
    const rows = figures.map((one) => [[one.name, el("small", {}, one.source)], ...one.row]);
    return [el("h3", {}, title), table({ title, headers: ["recipe", "accuracy %", "runs", "s", "protocol", "hardware"], rows })];
  });
}
