// Texts of records reach the page through textContent and, for plotly, through plain(): never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
const form = document.getElementById("filters");
const NOTHING = "–";

/** An element with attributes and children; a child that is no element is text. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

/** Text for plotly, which reads tags, entities and %{…} in what it draws. */
function plain(text) {
  return String(text).replace(/[&<>%$]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const isNarrow = () => window.innerWidth < 700;
const last = (name) => name.split("/").pop();
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const label = (run) => (isNarrow() ? cut(last(run.name), 20) : `${cut(run.name, 36)} ${run.id.slice(0, 8)}`);

const percent = (fraction, digits = 2) => (fraction == null ? NOTHING : (100 * fraction).toFixed(digits));
const signed = (fraction) => `${fraction > 0 ? "+" : ""}${(100 * fraction).toFixed(1)}%`;
const goal = (target) => (target == null ? "no trial yet" : `to ${Number((100 * target).toPrecision(6))}%`);
const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

function seconds(value) {
  if (value == null) return NOTHING;
  return value < 100 ? value.toFixed(3) : value.toFixed(1);
}

/** A rate to three digits. */
function rate(value) {
  return value == null ? NOTHING : value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function median(values) {
  const sorted = values.filter((value) => value != null).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (!sorted.length) return null;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

function grouped(items, key) {
  const groups = new Map();
  for (const item of items) {
    const name = JSON.stringify(key(item));
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return [...groups.values()];
}

// --- tables ---------------------------------------------------------------------------------------------------------

const scrolling = (table, title) => el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table);

/** A table that is only read; `#` before a header means numbers. */
function table(headers, rows, title) {
  const kind = (index) => (headers[index].startsWith("#") ? "number" : "text");
  const head = headers.map((header, index) => el("th", { scope: "col", class: kind(index) }, header.replace(/^#/, "")));
  const lines = rows.map((row) => el("tr", {}, row.map((one, index) => el("td", { class: kind(index) }, one))));
  return scrolling(el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, lines)), title);
}

/** A mark for each value on a line from 0 to `end`, so that the spread of trials is seen beside their median. */
function strip(values, end) {
  const made = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const known = values.filter((value) => value != null);
  const svg = made("svg", { class: "strip", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
  const marks = known.map((value) => `M${((100 * value) / end).toFixed(1)} 0v6`).join("");
  svg.append(made("path", { class: "ground", d: "M0 6h100" }), made("path", { d: marks }));
  return svg;
}

// --- what is said of a run ------------------------------------------------------------------------------------------

const commit = (run) => (run.commit ? el("code", {}, run.commit.slice(0, 7) + (run.dirty ? "+" : "")) : NOTHING);

function accuracy(row) {
  if (!row.accuracy) return [NOTHING];
  const { mean, interval } = row.accuracy;
  const half = interval ? ` ± ${percent((interval[1] - interval[0]) / 2)}` : "";
  return [percent(mean), el("span", { class: "interval" }, half)];
}

/** The time of a run under the protocol in force, or why there is none. */
function time(row, figure, unit = "") {
  const found = row.times[figure][state.protocol];
  if (!found) {
    if (row.figure || !row.trials.length) return [NOTHING];
    const isTimed = row.trials.some((trial) => trial.schedule[state.protocol] != null);
    return [(figure === "schedule" ? row.enough : row.reached) || (row.origin && !isTimed) ? NOTHING : "missed"];
  }
  const range = found.interval ? ` [${found.interval.map(seconds).join(", ")}]` : "";
  const some = found.n < found.of ? ` (of ${found.n} alone)` : "";
  return [seconds(found.median) + unit, el("span", { class: "interval" }, range + some)];
}

/** Where a row comes from, if not from a run of ours. */
const tag = (row) => {
  const text = row.figure ? "published" : row.origin;
  return text ? [" ", el("span", { class: "tag" }, text)] : [];
};

/** How the processes of a run share its network, where that is to be said. */
const strategy = (run) => (run.strategy === "none" ? "" : run.strategy);
