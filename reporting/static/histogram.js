// How many videos have which score; a bar is a button that filters the table.

const BINS = 20;
const TRUTHS = { FAKE: "known to be fake", REAL: "known to be real", none: "not known" };

function buildHistogram() {
  const scored = head.videos.filter((row) => row.scored);
  const bins = Array.from({ length: BINS }, () => []);
  // The last bin that does not begin above the label, as the filter has it.
  for (const row of scored) bins.findLast((_, i) => i / BINS <= row.label).push(row);
  const most = Math.max(1, ...bins.map((bin) => bin.length));
  const buttons = bins.map((rows, i) => binButton(rows, i, most));
  byId("histogram").append(
    h("div", { class: "bins", role: "group", "aria-label": "Videos by score; a bar filters the table" }, buttons),
    h("div", { class: "axis" },
      h("span", {}, "0 real"), h("span", { class: "muted" }, "P(fake)"), h("span", {}, "1 fake")),
    head.labelled ? h("div", { class: "legend" }, Object.entries(TRUTHS).map(([name, text]) =>
      h("span", {}, h("i", { class: `truth-${name}` }), text))) : "",
  );
  list.changed.push(() => {
    const { from, to } = list.filter;
    buttons.forEach((button, i) => {
      const inside = (from > 0 || to < 1) && i / BINS >= from - 1e-9 && (i + 1) / BINS <= to + 1e-9;
      button.setAttribute("aria-pressed", inside);
    });
  });
}

function binButton(rows, i, most) {
  const from = i / BINS, to = (i + 1) / BINS;
  const parts = Object.keys(TRUTHS).map((name) => [name, rows.filter((row) => (row.truth ?? "none") === name).length])
    .filter(([, count]) => count);
  const bars = head.labelled
    ? parts.map(([name, count]) => h("span", { class: `truth-${name}`, "--share": count / most }))
    : [h("span", { "--share": rows.length / most, "--tint": tint((from + to) / 2) })];
  const known = head.labelled ? parts.map(([name, count]) => `, ${count} ${TRUTHS[name]}`).join("") : "";
  const label = `${from.toFixed(2)} to ${to.toFixed(2)}: ${plural(rows.length, "video")}${known}`;
  return h("button", {
    type: "button", title: label, "aria-label": label, "aria-pressed": "false",
    onclick: (event) => {
      const pressed = event.currentTarget.getAttribute("aria-pressed") === "true";
      setFilter(pressed ? { from: 0, to: 1 } : { from, to });
    },
  }, rows.length ? String(rows.length) : "", rows.length ? bars : "");
}
