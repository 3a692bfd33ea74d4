// Which video is open, kept in the page's address so that a link opens it and "back" closes it; the keys.

const dialog = byId("detail");

/** The place of the video that the address names, or null. */
function addressed() {
  const match = /^#video-(\d+)$/.exec(location.hash);
  const index = match ? Number(match[1]) : null;
  return index !== null && index < head.videos.length ? index : null;
}

function openVideo(index) {
  history.pushState({ opened: true }, "", `#video-${index}`);
  render();
}

function closeVideo() {
  if (history.state?.opened) history.back();
  else { history.replaceState(null, "", "#"); render(); }
}

function moveVideo(by) {
  const next = neighbour(addressed(), by);
  if (next === null) return;
  history.replaceState(history.state, "", `#video-${next}`);
  render();
}

/** Show what the address says. */
function render() {
  const index = addressed();
  const before = dialog.open ? Number(dialog.dataset.index) : null;
  if (index === before) return;
  if (index === null) {
    dialog.close();
    dialog.replaceChildren();
    focusRow(before);
    return;
  }
  dialog.dataset.index = index;
  dialog.replaceChildren(...buildDetail(index, closeVideo, moveVideo));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  byId("detail-title").focus({ preventScroll: true });
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("input, select")) return;
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key] ?? 0;
  if (dialog.open) {
    const by = { ...{ j: 1, k: -1 }, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) { event.preventDefault(); moveVideo(by); }
    return;
  }
  const row = document.activeElement.closest?.("tbody tr");
  if (event.key === "/") {
    event.preventDefault();
    byId("filters").elements.text.focus();
  } else if (event.key === "Enter" && row) {
    event.preventDefault();
    openVideo(Number(row.dataset.index));
  } else if (step && (row || event.key.length === 1)) {
    event.preventDefault();
    const next = row ? neighbour(Number(row.dataset.index), step) : list.order[list.page * ROWS_PER_PAGE];
    if (next !== null && next !== undefined) focusRow(next);
  }
}

buildFilters();
buildHistogram();
list.changed.push(buildTable);
reorder();
dialog.addEventListener("cancel", (event) => { event.preventDefault(); closeVideo(); });
document.addEventListener("keydown", onKey);
for (const name of ["popstate", "hashchange"]) window.addEventListener(name, render);
render();
