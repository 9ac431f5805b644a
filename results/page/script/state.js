// What is shown is the state, and the state is the address, so that a link shows the same.
const ALL = "*"; // of the data sets
const DEFAULTS = {
  data: data.opening || ALL, machine: "", target: "", protocol: "strict", find: "", every: "", calm: "", published: "",
  across: "", full: "", sort: "target", runs: "", axis: "", unit: "", ladder: "", scaling: "", history: "", figure: "",
  run: "", fold: "", section: "",
};
const FIRST = 6; // runs of a list that are drawn where none is ticked
const LISTS = 3; // lists of which they are drawn
let state = DEFAULTS;

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const found = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (given.has(name)) found[name] = given.get(name);
  for (const control of form.elements) {
    if (!control.name) continue;
    if (control.type === "checkbox") {
      control.checked = found[control.name] === "1";
      found[control.name] = control.checked ? "1" : "";
    } else {
      if (control.value !== found[control.name]) control.value = found[control.name];
      if (control.selectedIndex < 0) control.value = found[control.name] = DEFAULTS[control.name];
    }
  }
  if (!runs.some((run) => run.id === found.run)) found.run = "";
  return found;
}

function address(changes) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...state, ...changes })) {
    if (value !== DEFAULTS[name]) query.set(name, value);
  }
  return `#${query}`;
}

function go(changes, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address(changes));
  render();
}

/** Whether the filters let something pass that has these. */
function passes({ data_set, machine, target, name }) {
  return (
    (state.data === ALL || data_set === state.data) &&
    (!state.machine || machine === state.machine) &&
    (!state.target || target === undefined || target === Number(state.target)) &&
    name.toLowerCase().includes(state.find.toLowerCase())
  );
}

function shown() {
  const found = runs.filter((run) => !run.pool && passes(run) && !(state.calm && run.marks.length));
  if (state.every) return found;
  const same = (run) => [run.name, run.data_set, run.machine, run.strategy, run.target, run.smoke_test];
  return grouped(found, same).map((group) => group.at(-1));
}

/** The runs that the charts draw: those that are ticked, or the first of the first lists. */
function ticked(lists) {
  if (state.runs === "none") return [];
  if (state.runs) {
    const ids = new Set(state.runs.split(","));
    return runs.filter((run) => ids.has(run.id) && run.facts); // only of these the page has curves
  }
  const real = lists.map((list) => list.filter((run) => run.trials.length)).filter((list) => list.length);
  return real.slice(0, LISTS).flatMap((list) => list.slice(0, FIRST));
}

/** What depends on the protocol, under the one in force: null where there is nothing. */
function current(value) {
  return value && typeof value === "object" && "$protocol" in value ? (value.$protocol[state.protocol] ?? null) : value;
}
