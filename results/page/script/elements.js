// Texts of records reach the page through textContent, and plotly as Python escaped them: never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
const form = document.getElementById("filters");

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

const isNarrow = () => window.innerWidth < 700;
const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** Groups of the items that have the same key, in the order of their first. */
function grouped(items, key) {
  const groups = new Map();
  for (const item of items) {
    const name = JSON.stringify(key(item));
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return [...groups.values()];
}

/** A table that scrolls where it is wider than the page, and the buttons that export it. */
const scrolling = (table, title) => [
  el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": title }, table),
  exporting(table, title),
];

/** A table that is only read. Its columns of numbers are those in which most rows begin with a digit, a sign or a dash. */
function table({ title, headers, rows, caption = "", ids = [] }) {
  const text = (cell) => (typeof cell === "string" ? cell : (cell[0] ?? ""));
  const isNumber = (place) => rows.length > 0 && rows.every((row) => /^[-+\d–]/.test(text(row[place]))) && place > 0;
  const kinds = headers.map((_, place) => (isNumber(place) ? "number" : "text"));
  const head = headers.map((header, place) => el("th", { scope: "col", class: kinds[place] }, header));
  const first = (cell, at) => (ids[at] ? el("a", { href: address({ run: ids[at] }) }, cell) : cell);
  const lines = rows.map((row, at) =>
    el("tr", {}, row.map((cell, place) => el("td", { class: kinds[place] }, place === 0 ? first(cell, at) : cell))),
  );
  const made = el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, lines));
  return el("div", {}, scrolling(made, title), caption && el("p", { class: "note" }, caption));
}

/** A mark for each value on a line from 0 to `end`, so that the spread of trials is seen beside their median. */
function strip(values, end) {
  const made = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const svg = made("svg", { class: "strip", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
  const marks = values.map((value) => `M${((100 * value) / end).toFixed(1)} 0v6`).join("");
  svg.append(made("path", { class: "ground", d: "M0 6h100" }), made("path", { d: marks }));
  return svg;
}

/** Where a row comes from, if not from a run of ours. */
const tag = (row) => {
  const text = row.source ? "published" : row.origin;
  return text ? [" ", el("span", { class: "tag" }, text)] : [];
};
