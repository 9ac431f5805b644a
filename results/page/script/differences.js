/** Where two runs differ: a row for each fact, option and property of the environment that is not the same. */
function differences(first, second) {
  const properties = (run) => new Map([
    ...(run.facts ?? []).map(([word, text]) => [word, String(current(text) ?? "–")]),
    ...flat(data.recipes[run.recipe] ?? {}, "recipe"),
    ...flat(data.environments[run.environment] ?? {}, "environment"),
  ]);
  const [one, other] = [first, second].map(properties);
  const names = [...new Set([...one.keys(), ...other.keys()])];
  return names.filter((name) => one.get(name) !== other.get(name)).map((name) => [name, one.get(name) ?? "–", other.get(name) ?? "–"]);
}

function drawDifferences(body, chosen) {
  if (chosen.length !== 2) {
    nothing(body, "Tick two runs in the leaderboard to see how their recipes and environments differ.");
    return;
  }
  const title = "Differences of two runs";
  const rows = differences(...chosen);
  const headers = ["", ...chosen.map((run) => `${run.called}`)];
  body.replaceChildren(rows.length ? table({ title, headers, rows }) : el("p", { class: "empty" }, "They do not differ."));
}
