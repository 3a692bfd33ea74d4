// P(fake) over the frames of a video: a series for every track (a track is one person) and network (shape and dashes).
// Colours tell tracks apart; where there is only one, networks.

const SERIES_COLOURS = 7;
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "12 5", "4 2", "1 4"];
// Paths around (0, 0), about 10 wide.
const SHAPES = [
  "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0", "M-4-4h8v8h-8z", "M0-5.5L5 4H-5z", "M0-5.5L5.5 0L0 5.5L-5.5 0z",
  "M0 5.5L5-4H-5z", "M-1.7-5h3.4v3.3H5v3.4H1.7V5h-3.4V1.7H-5v-3.4h3.3z", "M-5-5L0-1.5L5-5L1.5 0L5 5L0 1.5L-5 5L-1.5 0z",
];
const HEIGHT = 250, LEFT = 34, RIGHT = 44, TOP = 12, BOTTOM = 34;
const REACH = 40; // pixels around a point within which it answers to the pointer

const modelKey = (i) => String.fromCharCode(65 + (i % 26)) + (i >= 26 ? Math.floor(i / 26) : "");
const trackName = (track) => (track === null ? "no track" : `track ${track}`);
const seriesColour = (tracks, track, model) =>
  `var(--series-${(tracks.length > 1 ? tracks.indexOf(track) : model) % SERIES_COLOURS})`;

/** The tracks of a video: their numbers, null last, in the order of their colours. */
function tracksOf(content) {
  const found = new Set([...content.faces.map((face) => face[1]), ...content.spans.map((span) => span[0])]);
  return [...found].sort((a, b) => (a === null) - (b === null) || a - b);
}

/** Every probability of the video as a point or span {from, to, p, model, track, face}, in the order of time. */
function marksOf(content) {
  const marks = [];
  content.faces.forEach(([frame, track, , , values], face) => values.forEach((p, model) => {
    if (p !== null) marks.push({ from: frame, to: frame, p, model, track, face });
  }));
  for (const [track, input, from, to, values] of content.spans) {
    values.forEach((p, model) => { if (p !== null) marks.push({ from, to, p, model, track, face: null, input }); });
  }
  return marks.sort((a, b) => a.from - b.from || a.model - b.model);
}

function timeText(content, frame) {
  return content.rate ? `${(frame / content.rate).toFixed(1)} s` : null;
}

function tipText(content, mark) {
  const at = timeText(content, mark.from);
  const frames = mark.from === mark.to ? `frame ${mark.from}` : `${mark.input}, frames ${mark.from} to ${mark.to}`;
  const track = mark.track === null ? "" : `, ${trackName(mark.track)}`;
  const model = content.models.length > 1 ? `, ${modelKey(mark.model)} ${content.models[mark.model]}` : "";
  return `${marked(mark.p)}, ${frames}${at ? ` (${at})` : ""}${track}${model}`;
}

/** The chart with its switches. `choose(face)` is called when a point is chosen; faces chosen elsewhere come by `bus`. */
function buildTimeline(content, choose, bus) {
  const marks = marksOf(content), tracks = tracksOf(content);
  if (!marks.length) return h("p", { class: "muted" }, "No network was shown a face of this video.");
  const hidden = new Set(); // "track 0", "model 1"
  const holder = h("div", { class: "timeline" });
  const tip = h("div", { class: "tip", role: "status", hidden: true });
  const cursor = s("g", { class: "cursor", "aria-hidden": "true" });
  let places = [], chosen = null, width = 0;

  const visible = () =>
    marks.filter((mark) => !hidden.has(`track ${mark.track}`) && !hidden.has(`model ${mark.model}`));
  const tell = (mark) => {
    chosen = mark;
    if (mark.face !== null) choose(mark.face);
    point();
  };
  const nearest = (event) => {
    const area = holder.getBoundingClientRect();
    const x = event.clientX - area.left, y = event.clientY - area.top;
    let best = null, least = REACH;
    for (const place of places) {
      const dx = Math.max(place.x - x, x - place.end, 0);
      const distance = Math.hypot(dx, place.y - y);
      if (distance < least) [best, least] = [place.mark, distance];
    }
    if (best && best !== chosen) tell(best);
  };
  const onKey = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const all = visible();
    const at = all.indexOf(chosen);
    if (all.length) tell(all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)]);
  };

  function draw() {
    if (!width) return;
    const chart = drawChart(content, visible(), tracks, width);
    places = chart.places;
    chart.svg.append(cursor);
    for (const [name, listener] of [["pointermove", nearest], ["pointerdown", nearest], ["keydown", onKey]]) {
      chart.svg.addEventListener(name, listener);
    }
    holder.replaceChildren(chart.svg, tip);
    point();
  }

  /** Show which mark is chosen: a line through it, a ring around it, and what it is in words. */
  function point() {
    const place = places.find((place) => place.mark === chosen);
    tip.hidden = !place;
    cursor.replaceChildren();
    if (!place) return;
    const x = (place.x + place.end) / 2;
    cursor.append(s("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), s("circle", { cx: x, cy: place.y, r: 9 }));
    const shift = x < width * 0.3 ? "-10%" : x > width * 0.7 ? "-90%" : "-50%";
    for (const [name, value] of [["--x", `${x}px`], ["--y", `${place.y - 14}px`], ["--shift", shift]]) {
      tip.style.setProperty(name, value);
    }
    const tile = place.mark.face === null ? -1 : content.shown.indexOf(place.mark.face);
    const text = h("span", {}, named(tipText(content, place.mark)));
    tip.replaceChildren(...(tile >= 0 ? [faceTile(content, tile, 48)] : []), text);
  }

  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) > 0.5) { width = entry.contentRect.width; draw(); }
  }).observe(holder);
  bus.addEventListener("chosen", ({ detail: face }) => {
    if (chosen?.face !== face) { chosen = marks.find((mark) => mark.face === face) ?? null; point(); }
  });
  return h("div", {}, holder, switches(content, tracks, hidden, draw));
}

function switches(content, tracks, hidden, draw) {
  const toggle = (name) => (event) => {
    if (event.target.checked) hidden.delete(name); else hidden.add(name);
    draw();
  };
  const entry = (name, sample, text) => h("label", {},
    h("input", { type: "checkbox", checked: true, onchange: toggle(name) }), sample, text);
  const line = (attributes) => s("line", { x1: 0, x2: 26, y1: 7, y2: 7, "stroke-width": 2, ...attributes });
  const lines = tracks.map((track) => entry(`track ${track}`,
    s("svg", { "aria-hidden": "true" }, line({ "--series": seriesColour(tracks, track, 0), "stroke-width": 5 })),
    trackName(track)));
  const modelColour = (i) => (tracks.length > 1 ? "currentColor" : seriesColour(tracks, null, i));
  const models = content.models.map((name, i) => entry(`model ${i}`,
    s("svg", { "aria-hidden": "true", "--series": modelColour(i) },
      line({ "stroke-dasharray": DASHES[i % DASHES.length] }),
      s("path", { d: SHAPES[i % SHAPES.length], transform: "translate(13 7)" })),
    h("span", {}, h("b", {}, modelKey(i)), " ", named(name))));
  return [
    lines.length > 1 ? h("div", { class: "toggles", role: "group", "aria-label": "Tracks shown" }, lines) : null,
    models.length > 1 ? h("div", { class: "toggles", role: "group", "aria-label": "Networks shown" }, models) : null,
  ].filter(Boolean);
}

/** The SVG for `width` pixels and where on it the marks are: {mark, x, end, y}. */
function drawChart(content, marks, tracks, width) {
  const frames = [...content.frames, ...marks.flatMap((mark) => [mark.from, mark.to])];
  const first = Math.min(...frames), last = Math.max(...frames, first + 1);
  const x = (frame) => LEFT + ((frame - first) / (last - first)) * (width - LEFT - RIGHT);
  const y = (p) => TOP + (1 - p) * (HEIGHT - TOP - BOTTOM);
  const colour = (mark) => seriesColour(tracks, mark.track, mark.model);
  const title = `P(fake) over time, ${plural(marks.length, "point")}; arrow keys go from point to point`;
  const size = { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT };
  const svg = s("svg", { class: "chart", ...size, tabindex: 0, role: "group", "aria-label": title });

  for (const [name, low, high] of [["fake", 0.8, 1], ["real", 0, 0.2]]) {
    svg.append(
      s("rect", { class: `zone ${name}`, x: LEFT, y: y(high), width: width - LEFT - RIGHT, height: y(low) - y(high) }),
      s("text", { x: width - RIGHT + 6, y: y((low + high) / 2) + 4 }, name));
  }
  for (const p of [0, 0.2, 0.5, 0.8, 1]) {
    svg.append(
      s("line", { class: p === 0 || p === 1 ? "grid" : "limit", x1: LEFT, x2: width - RIGHT, y1: y(p), y2: y(p) }),
      s("text", { x: LEFT - 6, y: y(p) + 4, "text-anchor": "end" }, String(p)));
  }
  const unit = content.rate || 1;
  for (const tick of ticks(first / unit, last / unit, width / 90)) {
    svg.append(
      s("line", { class: "grid", x1: x(tick * unit), x2: x(tick * unit), y1: y(0), y2: y(0) + 5 }),
      s("text", { x: x(tick * unit), y: y(0) + 18, "text-anchor": "middle" }, String(tick)));
  }
  svg.append(s("text", { x: width - RIGHT, y: HEIGHT - 2, "text-anchor": "end" }, content.rate ? "seconds" : "frame"));

  for (const line of seriesOf(content, marks)) {
    svg.append(s("polyline", {
      class: "series", "--series": colour(line[0]), "stroke-dasharray": DASHES[line[0].model % DASHES.length],
      points: line.map((mark) => `${x(mark.from)},${y(mark.p)}`).join(" "),
    }));
  }
  const places = marks.map((mark) => ({ mark, x: x(mark.from), end: x(mark.to), y: y(mark.p) }));
  for (const place of places) {
    const { mark } = place;
    if (mark.to > mark.from) {
      const ends = { x1: place.x, x2: place.end, y1: place.y, y2: place.y };
      svg.append(s("line", { class: "span", "--series": colour(mark), ...ends }));
    }
    svg.append(s("path", {
      class: "point", "--series": colour(mark), d: SHAPES[mark.model % SHAPES.length],
      transform: `translate(${(place.x + place.end) / 2} ${place.y})`,
    }));
  }
  return { svg, places };
}

/** The points that a line joins: of one track by one network; none where two of them are in the same frame. */
function seriesOf(content, marks) {
  const series = new Map();
  for (const mark of marks.filter((mark) => mark.face !== null)) {
    const name = `${mark.track} ${mark.model}`;
    series.set(name, [...(series.get(name) ?? []), mark]);
  }
  return [...series.values()].filter((line) => new Set(line.map((mark) => mark.from)).size === line.length);
}
