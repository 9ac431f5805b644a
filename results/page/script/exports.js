// Any table as a CSV file, or as Markdown on the clipboard.

/** The cells of a table as texts, without ticks, buttons and the marks of trials. */
function cells(table) {
  const text = (cell) => {
    const own = cell.cloneNode(true);
    for (const node of own.querySelectorAll(".strip, .copy")) node.remove();
    return [...own.childNodes].map((node) => node.textContent.trim()).filter(Boolean).join(" ");
  };
  return [...table.rows].map((row) => [...row.cells].filter((cell) => !cell.classList.contains("tick")).map(text));
}

/** A spreadsheet would run a text that begins with = or @ as a formula, and one with + or - that is no number. */
function csv(rows) {
  const written = (text) => (/^[=@]|^[-+].*[A-Za-z!|(]/.test(text) ? `'${text}` : text);
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => row.map((text) => quoted(written(text))).join(",")).join("\n") + "\n";
}

function markdown([headers, ...rows]) {
  const line = (row) => `| ${row.map((text) => text.replace(/[\\`*_{}[\]<>|~#&]/g, "\\$&")).join(" | ")} |`;
  return [line(headers), `| ${headers.map(() => "---").join(" | ")} |`, ...rows.map(line), ""].join("\n");
}

function download(name, text, type) {
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Copies, and says so on the button for a moment. */
async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    button.textContent = "not allowed here";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

/** A button that copies a text; `label` says which, where the words do not. */
const copyButton = (words, text, label = words) =>
  el("button", { type: "button", class: "copy", title: text, "aria-label": label, onclick: (event) => copy(event.currentTarget, text) }, words);

/** Buttons that export a table. */
function exporting(table, title) {
  const name = `${title.replace(/[^A-Za-z0-9]+/g, "-").toLowerCase()}.csv`;
  const button = (words, action) => el("button", { type: "button", "aria-label": `${words}: ${title}`, onclick: action }, words);
  return el("div", { class: "exports" },
    button("download CSV", () => download(name, csv(cells(table)), "text/csv")),
    button("copy Markdown", (event) => copy(event.currentTarget, markdown(cells(table)))),
  );
}
