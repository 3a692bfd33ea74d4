// Scores as numbers, words, shapes and colours: never as a colour alone.

/** Two digits, four where two would claim certainty. */
const shown = (p) => p.toFixed(p >= 0.01 && p < 0.99 ? 2 : 4);

const isFake = (p) => p > 0.5;

/** A triangle up for the fake side, down for the real side, with the number. */
const marked = (p) => (p === null ? "– not scored" : `${isFake(p) ? "▲" : "▼"} ${shown(p)}`);

function inWords(p) {
  if (p >= 0.8) return "fake, says the score";
  if (p >= 0.55) return "rather fake than real";
  if (p > 0.45) return "undecided";
  if (p >= 0.2) return "rather real than fake";
  return "real, says the score";
}

/** From blue (0, real) over gray (0.5) to orange (1, fake), in the colours of light or dark. */
function tint(p) {
  if (p === null) return "var(--neutral)";
  const strength = Math.round(40 + 150 * Math.abs(p - 0.5));
  return `color-mix(in oklab, var(--${isFake(p) ? "fake" : "real"}) ${Math.min(strength, 100)}%, var(--neutral))`;
}

/** A bar that starts in the middle, to the right for the fake side. */
function bar(p) {
  const from = `${Math.min(p, 0.5) * 100}%`, width = `${Math.abs(p - 0.5) * 100}%`;
  return h("div", { class: "bar", "aria-hidden": "true" },
    h("i", { "--from": from, "--width": width, "--tint": tint(p) }));
}

/** Number and bar of a score. */
function scoreBar(p) {
  if (p === null) return h("span", { class: "muted" }, "not scored");
  return h("div", { class: "score" }, h("b", {}, marked(p)), bar(p));
}

/** The mean of what is known, or null. */
function mean(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** A face from a video's sheet of faces, `side` pixels wide; `place` null: a placeholder. */
function faceTile(content, place, side, description = "") {
  const role = description ? { role: "img", "aria-label": description } : { "aria-hidden": "true" };
  if (place === null || place < 0 || !content.sheet) {
    return h("span", { class: "face none", "--side": `${side}px`, ...role }, "·");
  }
  const columns = Math.min(content.columns, content.shown.length);
  const tile = h("span", {
    class: "face", "--side": `${side}px`, "--sheet-width": `${columns * side}px`,
    "--x": `${-(place % columns) * side}px`, "--y": `${-Math.floor(place / columns) * side}px`, ...role,
  });
  tile.style.backgroundImage = `url(${content.sheet})`;
  return tile;
}
