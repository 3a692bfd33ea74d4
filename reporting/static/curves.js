// The curves of training runs: bce of all in one chart, and the losses of each in its own.

const SERIES_COLOURS = 7;
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const SHAPES = [
  "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0", "M-3-3h6v6h-6z", "M0-4.5L4 3H-4z", "M0-4.5L4.5 0L0 4.5L-4.5 0z",
];
const LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 34;

/** How a chart's n-th series looks, with colours, dashes and shapes that do not repeat together before 28 of them. */
const look = (n) => ({
  colour: `var(--series-${n % SERIES_COLOURS})`,
  dashes: DASHES[Math.floor(n / SERIES_COLOURS + n) % DASHES.length],
  shape: SHAPES[Math.floor(n / SERIES_COLOURS + n) % SHAPES.length],
});

/** A chart of series {name, points: [[epoch, value]], best: [epoch, value] or null} that follows the width it has. */
function buildPlot(series, height) {
  const drawn = series.filter(({ points }) => points.length);
  if (!drawn.length) return h("p", { class: "muted" }, "No epoch of it has losses.");
  const holder = h("div", { class: "plot" });
  const tip = h("p", { class: "tip muted", role: "status" },
    "Point at a curve, or focus the chart and use the arrow keys, for its numbers.");
  const legend = h("div", { class: "legend" }, drawn.map(({ name }, n) => h("span", {}, sample(n), name)));
  const cursor = s("circle", { class: "best", r: 4 });
  let width = 0, places = [], chosen = -1;

  const tell = (index) => {
    chosen = index;
    const { name, epoch, value, x, y } = places[index];
    for (const [attribute, at] of [["cx", x], ["cy", y]]) cursor.setAttribute(attribute, at);
    holder.firstChild.append(cursor);
    tip.textContent = `${name}, epoch ${epoch}: ${value.toFixed(4)}`;
  };
  const nearest = (event) => {
    const area = holder.getBoundingClientRect();
    const distance = ({ x, y }) => Math.hypot(x - event.clientX + area.left, y - event.clientY + area.top);
    tell(places.reduce((best, place, i) => (distance(place) < distance(places[best]) ? i : best), 0));
  };
  const onKey = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    tell(Math.min(Math.max(chosen + step, 0), places.length - 1));
  };
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 0.5) return;
    width = entry.contentRect.width;
    const plot = drawPlot(drawn, width, height);
    places = plot.places;
    plot.svg.addEventListener("pointermove", nearest);
    plot.svg.addEventListener("pointerdown", nearest);
    plot.svg.addEventListener("keydown", onKey);
    holder.replaceChildren(plot.svg);
    if (chosen >= 0) tell(chosen);
  }).observe(holder);
  return h("div", {}, holder, tip, legend);
}

function sample(n) {
  const { colour, dashes, shape } = look(n);
  return s("svg", { "aria-hidden": "true", "--series": colour },
    s("line", { x1: 0, x2: 30, y1: 6, y2: 6, "stroke-dasharray": dashes }),
    s("path", { d: shape, transform: "translate(15 6)" }));
}

function drawPlot(series, width, height) {
  const points = series.flatMap((one) => one.points);
  const epochs = points.map(([epoch]) => epoch), values = points.map(([, value]) => value).sort((a, b) => a - b);
  const first = Math.min(...epochs), last = Math.max(...epochs, first + 1);
  // The first epochs of a run can be many times as high as all that follow; to their scale nothing else could be seen.
  const usual = values[Math.floor(values.length * 0.95)];
  const high = Math.max(Math.min(values.at(-1), 1.3 * usual), values[0] + 0.02);
  const low = values[0] - 0.06 * (high - values[0]);
  const x = (epoch) => LEFT + ((epoch - first) / (last - first)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (Math.min(value, high) - low) / (high - low)) * (height - TOP - BOTTOM);
  const svg = s("svg", {
    class: "chart", viewBox: `0 0 ${width} ${height}`, height, tabindex: 0, role: "group",
    "aria-label": `${plural(series.length, "curve")}, epochs ${first} to ${last}; arrow keys go from point to point`,
  });
  for (const tick of ticks(low, high, 5)) {
    svg.append(s("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
      s("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  for (const tick of ticks(first, last, Math.min(width / 60, last - first)).filter(Number.isInteger)) {
    svg.append(s("text", { x: x(tick), y: height - BOTTOM + 18, "text-anchor": "middle" }, String(tick)));
  }
  svg.append(s("text", { x: width - RIGHT, y: height - 2, "text-anchor": "end" }, "epoch"));
  if (values.at(-1) > high) {
    const above = `at the top: up to ${values.at(-1).toFixed(2)}`;
    svg.append(s("text", { x: width - RIGHT, y: TOP + 8, "text-anchor": "end" }, above));
  }
  const places = [];
  series.forEach((one, n) => {
    const { colour, dashes, shape } = look(n);
    const points = one.points.map(([epoch, value]) => `${x(epoch)},${y(value)}`).join(" ");
    svg.append(s("polyline", { "--series": colour, "stroke-dasharray": dashes, points }));
    for (const [epoch, value] of one.points) {
      svg.append(s("path", { "--series": colour, d: shape, transform: `translate(${x(epoch)} ${y(value)})` }));
      places.push({ name: one.name, epoch, value, x: x(epoch), y: y(value) });
    }
    if (one.best) svg.append(s("circle", { class: "best", cx: x(one.best[0]), cy: y(one.best[1]), r: 7 }));
  });
  return { svg, places };
}

const runs = readJson("runs");
const pointsOf = (run, name) =>
  run.epochs.map((epoch, i) => [epoch, run.values[name][i]]).filter(([, value]) => value !== null);
const bestOf = (run) => (run.best === null ? null : [run.epochs[run.best], run.values.bce[run.best]]);
const bceOf = (run, name) => ({ name, points: pointsOf(run, "bce"), best: bestOf(run) });
byId("overview").append(buildPlot(runs.map((run) => bceOf(run, run.name)), 320));
runs.forEach((run, i) => {
  const names = { fake_loss: "fake videos", real_loss: "real videos", train_loss: "training crops" };
  const losses = Object.entries(names).map(([key, name]) => ({ name, points: pointsOf(run, key) }));
  byId(`run-${i}`).querySelector(".curves").append(buildPlot([bceOf(run, "bce"), ...losses], 240));
});
