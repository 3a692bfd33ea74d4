// The table of videos: what is filtered and sorted, a page of its rows, and the focus that moves through them.

const head = readJson("head");
const ROWS_PER_PAGE = 50;
const list = {
  order: [], // places in head.videos, filtered and sorted
  sort: { key: "label", down: true },
  filter: { text: "", from: 0, to: 1, kind: "", truth: "" },
  page: 0,
  changed: [], // called when the order changes
};

const COLUMNS = [
  { key: "name", title: "Video", class: "what", value: (row) => row.name },
  { key: "label", title: "P(fake)", class: "scores", value: (row) => row.label },
  { key: "faces", title: "Faces", class: "count", value: (row) => row.faces },
  { key: "tracks", title: "Tracks", class: "count", value: (row) => row.tracks },
  { key: "warnings", title: "Warnings", class: "warned", value: (row) => row.warnings.length },
  ...(head.labelled ? [{ key: "truth", title: "Known label", class: "truth", value: (row) => row.truth ?? "" }] : []),
];
const NAMES = new Intl.Collator("en", { numeric: true });

const contentOf = (() => {
  const read = new Map();
  return (index) => {
    if (!read.has(index)) read.set(index, readJson(`data-${index}`));
    return read.get(index);
  };
})();

function passes(row) {
  const { text, from, to, kind, truth } = list.filter;
  if (text && !row.name.toLowerCase().includes(text.toLowerCase())) return false;
  // The label of a video that is not scored says nothing; a range ends before its end, as the histogram's bars do.
  if ((from > 0 || to < 1) && (!row.scored || row.label < from || (row.label >= to && to < 1))) return false;
  if (kind === "none" ? row.warnings.length : kind && !row.kinds.includes(kind)) return false;
  if (truth === "wrong") return row.truth !== null && row.scored && isFake(row.label) !== (row.truth === "FAKE");
  return !truth || (truth === "unknown" ? row.truth === null : row.truth === truth);
}

function reorder() {
  const { key, down } = list.sort;
  const value = COLUMNS.find((column) => column.key === key).value;
  const compare = key === "name" || key === "truth" ? NAMES.compare : (a, b) => a - b;
  list.order = head.videos.map((_, index) => index).filter((index) => passes(head.videos[index]));
  // The label of a video that is not scored says nothing: it is last, whatever the direction.
  const unscored = (index) => key === "label" && !head.videos[index].scored;
  list.order.sort((a, b) => unscored(a) - unscored(b)
    || (down ? -1 : 1) * compare(value(head.videos[a]), value(head.videos[b])) || a - b);
  list.page = 0;
  list.changed.forEach((tell) => tell());
}

function setFilter(change) {
  Object.assign(list.filter, change);
  reorder();
}

function buildFilters() {
  const form = byId("filters");
  const number = (name, text) => h("label", { class: "number" }, text, h("input", {
    type: "number", name, min: 0, max: 1, step: 0.05, value: list.filter[name],
    oninput: (event) => {
      const value = event.target.valueAsNumber;
      setFilter({ [name]: Number.isNaN(value) ? (name === "from" ? 0 : 1) : value });
    },
  }));
  const choice = (name, text, options) => h("label", {}, text, h("select", {
    name, onchange: (event) => setFilter({ [name]: event.target.value }),
  }, options.map(([value, label]) => h("option", { value }, label))));
  const kinds = head.kinds.map((kind) => [kind, kind]);
  const wrong = ["wrong", "score on the wrong side"];
  const truths = [["", "any"], ["FAKE", "fake"], ["REAL", "real"], wrong, ["unknown", "unknown"]];
  form.append(
    h("label", { class: "search" }, "Name contains", h("input", {
      type: "search", name: "text", autocomplete: "off", oninput: (event) => setFilter({ text: event.target.value }),
    })),
    h("div", { class: "range" }, number("from", "P(fake) from"), number("to", "to")),
    choice("kind", "Warnings", [["", "any"], ["none", "without warnings"], ...kinds]),
    ...(head.labelled ? [choice("truth", "Known label", truths)] : []),
    h("button", { type: "reset" }, "Reset"),
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setFilter({ text: "", from: 0, to: 1, kind: "", truth: "" }));
  list.changed.push(() => {
    for (const name of ["from", "to"]) {
      const input = form.elements[name];
      if (document.activeElement !== input) input.value = Number(list.filter[name].toFixed(2));
    }
  });
}

function headerCell({ key, title, class: name }) {
  const chosen = list.sort.key === key;
  const [arrow, direction] = !chosen ? ["", "none"] : list.sort.down ? [" ↓", "descending"] : [" ↑", "ascending"];
  return h("th", { class: name, scope: "col", "aria-sort": direction },
    h("button", {
      type: "button", "data-sort": key,
      onclick: () => {
        const first = key !== "name";
        list.sort = { key, down: chosen ? !list.sort.down : first };
        reorder();
        byId("table").querySelector(`[data-sort="${key}"]`).focus();
      },
    }, title + arrow));
}

function truthText(row) {
  if (row.truth === null) return "";
  const word = row.truth.toLowerCase();
  if (!row.scored) return word;
  return isFake(row.label) === (row.truth === "FAKE") ? `${word} ✓` : `${word} ✗ other side`;
}

function bodyRow(index) {
  const row = head.videos[index];
  const chips = row.warnings.length
    ? h("div", { class: "chips", title: row.warnings.join("\n") },
      row.kinds.map((kind) => h("span", { class: "chip" }, kind)))
    : null;
  return h("tr", { tabindex: -1, "data-index": index, onclick: () => openVideo(index) },
    head.pictures ? h("td", { class: "thumbnail" }, faceTile(contentOf(index), row.face, 48)) : null,
    h("td", { class: "what name" }, named(row.name)),
    h("td", { class: "scores" }, scoreBar(row.scored ? row.label : null)),
    h("td", { class: "count", "data-title": "faces" }, String(row.faces)),
    h("td", { class: "count", "data-title": "tracks" }, row.tracks ? String(row.tracks) : "–"),
    h("td", { class: "warned" }, chips),
    ...(head.labelled ? [h("td", { class: "truth" }, truthText(row))] : []));
}

function buildTable() {
  const start = list.page * ROWS_PER_PAGE;
  const rows = list.order.slice(start, start + ROWS_PER_PAGE).map(bodyRow);
  if (rows.length) rows[0].tabIndex = 0;
  const pages = Math.ceil(list.order.length / ROWS_PER_PAGE);
  const turn = (by) => () => {
    list.page += by;
    buildTable();
    byId("table").scrollIntoView();
    // The button that was pressed is gone with the page; its successor takes the focus, or the other at the end.
    const buttons = [...byId("table").querySelectorAll("nav.pages button")];
    (buttons.find((button) => button.dataset.by === String(by) && !button.disabled)
      ?? buttons.find((button) => !button.disabled)).focus({ preventScroll: true });
  };
  byId("table").replaceChildren(
    h("table", { class: head.pictures ? "table videos" : "table videos bare" },
      h("thead", {}, h("tr", {}, head.pictures ? h("th", {}) : null, COLUMNS.map(headerCell))),
      h("tbody", {}, rows)),
    pages > 1 ? h("nav", { class: "pages", "aria-label": "Pages of the table" },
      h("button", { type: "button", "data-by": -1, onclick: turn(-1), disabled: list.page === 0 }, "← Previous"),
      h("span", {}, `page ${list.page + 1} of ${pages}`),
      h("button", { type: "button", "data-by": 1, onclick: turn(1), disabled: list.page === pages - 1 }, "Next →")) : "",
  );
  const page = pages > 1 ? `, page ${list.page + 1} of ${pages}` : "";
  byId("shown").textContent = `${list.order.length} of ${plural(head.videos.length, "video")} shown${page}`;
}

/** Put the focus on a video's row, on whatever page it is. */
function focusRow(index) {
  const place = list.order.indexOf(index);
  if (place < 0) return;
  const page = Math.floor(place / ROWS_PER_PAGE);
  if (page !== list.page) { list.page = page; buildTable(); }
  for (const row of byId("table").querySelectorAll("tbody tr")) {
    row.tabIndex = Number(row.dataset.index) === index ? 0 : -1;
  }
  const row = byId("table").querySelector("tbody tr[tabindex='0']");
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}

/** The video `by` places further in the table's order, or null at its end. */
const neighbour = (index, by) => list.order[list.order.indexOf(index) + by] ?? null;
