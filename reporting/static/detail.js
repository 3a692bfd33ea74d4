// One video, opened: label and how it came about, timeline, faces, frames, agreement, heat maps.

function section(title, attributes, ...children) {
  return h("section", { class: "card", ...attributes }, h("h3", {}, title), ...children);
}

function buildDetail(index, close, move) {
  const row = head.videos[index], content = contentOf(index), bus = new EventTarget();
  const wide = areFacesTall(content) ? " wide" : "";
  const choose = (face) => bus.dispatchEvent(new CustomEvent("chosen", { detail: face }));
  const place = list.order.indexOf(index);
  const step = (by, text, label) => h("button", {
    type: "button", "aria-label": label, disabled: neighbour(index, by) === null || place < 0, onclick: () => move(by),
  }, text);
  return [
    h("div", { class: "detail-top" },
      h("h2", { id: "detail-title", tabindex: -1 }, named(row.name)),
      h("div", { class: "buttons" },
        place < 0 ? null : h("span", { class: "muted quiet" }, `${place + 1} of ${list.order.length}`),
        step(-1, "←", "previous video"), step(1, "→", "next video"),
        h("button", { type: "button", onclick: close }, "Close"))),
    h("div", { class: "detail-body" },
      h("div", { class: "stack" }, verdictSection(row, content), agreementSection(content)), whySection(row, content),
      section("P(fake) over time", { class: "card wide" }, buildTimeline(content, choose, bus)),
      section("Frames", { class: `card frames${wide}` }, buildFrames(content, choose, bus)),
      section("Faces in the order of time", { class: `card${wide}` }, ...facesSection(row, content, choose, bus)),
      heatmapSection(content)),
  ];
}

function verdictSection(row, content) {
  const facts = [
    ["Calibrated", content.calibrated === null ? null
      : shown(content.calibrated) + (content.calibratedBy ? ` (${content.calibratedBy})` : "")],
    ["Known label", row.truth ? row.truth.toLowerCase() : null],
    ["Size", content.width ? `${content.width} × ${content.height}` : null],
    ["Length", lengthText(content)],
    ["Looked at", lookedAtText(row, content)],
    ["Time", Object.entries(content.seconds).map(([what, time]) => `${what} ${time.toFixed(2)} s`).join(", ")],
    ["Pictures", content.missing && `none: ${content.missing}`],
  ];
  const verdict = row.scored
    ? [h("p", { class: "verdict" }, marked(row.label), " ", h("small", {}, inWords(row.label))), bar(row.label)]
    : [h("p", { class: "verdict" }, "Not scored"),
      h("p", {}, "The label 0.5 in the results says nothing about this video.")];
  return section("Label", {}, verdict,
    h("dl", { class: "facts" },
      facts.filter(([, text]) => text).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
    row.warnings.length ? h("h3", { class: "warnings" }, "Warnings") : null,
    row.warnings.map((warning) => h("p", { class: "warn" }, `⚠ ${warning}`)));
}

/** What networks of single frames, and those of tracks, were shown; a video that failed is known by neither. */
function lookedAtText(row, content) {
  const parts = content.frames.length || row.faces
    ? [plural(content.frames.length, "frame"), plural(row.faces, "face")] : [];
  return [...parts, ...(row.tracks ? [plural(row.tracks, "track")] : [])].join(", ");
}

function lengthText({ numFrames, rate }) {
  if (!numFrames) return null;
  const time = rate ? `, ${(numFrames / rate).toFixed(1)} s at ${Number(rate.toFixed(2))} a second` : "";
  return plural(numFrames, "frame") + time;
}

function whySection(row, content) {
  const several = content.labels.length > 1;
  const parts = content.labels.map(({ model, label, why }) => h("div", { class: "why" },
    h("div", { class: "name" },
      several ? h("span", { class: "key" }, modelKey(content.models.indexOf(model))) : null, named(model)),
    scoreBar(label), why.map((line) => h("p", {}, line))));
  const total = mean(content.labels.map(({ label }) => label));
  // A run can keep labels off 0 and 1.
  const clipped = parts.length && Math.abs(total - row.label) > 2e-4 ? `, kept at ${shown(row.label)}` : "";
  if (several || clipped) {
    const networks = several ? `the ${parts.length} networks` : "one network";
    parts.push(h("p", {}, `The label is the mean over ${networks}, ${shown(clipped ? total : row.label)}${clipped}.`));
  }
  return section("How the label came about", {},
    h("p", { class: "muted" }, `strategy: ${content.strategy}`),
    parts.length ? parts : h("p", {}, "No network was shown anything of this video."));
}

function facesSection(row, content, choose, bus) {
  const faces = buildFaces(content, choose, bus);
  const failed = row.warnings.some((warning) => warning.startsWith("not scored"));
  const none = failed ? "The video failed: what faces it shows is not known." : "No face was found.";
  if (!faces.length) return [h("p", { class: "muted" }, none)];
  const kept = content.shown.length < content.faces.length && content.sheet
    ? `Pictures of ${content.shown.length} of the ${content.faces.length} faces are kept in this file.` : "";
  const models = content.models.map((_, model) => model)
    .filter((model) => content.faces.some((face) => typeof face[4][model] === "number"));
  const meaning = models.length > 1
    ? `A number is the mean over the ${models.length} networks that see single faces (${models.map(modelKey).join(", ")}).`
    : !models.length && content.spans.length ? "A number is the mean over what the face is part of." : "";
  return [
    h("p", { class: "muted" }, `▲ and a solid frame: fake side; ▼ and a dashed frame: real side. ${meaning}`), ...faces,
    kept ? h("p", { class: "muted" }, kept) : null,
  ];
}

function agreementSection(content) {
  if (!content.agreement.length) return "";
  return section("Agreement between the networks", {},
    content.agreement.map((line) => h("p", {}, line)), matrix(content));
}

/** A row for each network, a cell for each face it was shown: colour and triangle say which side it is on. */
function matrix(content) {
  const faces = tracksOf(content).flatMap((track) =>
    content.faces.filter((face) => face[1] === track && face[4].some((p) => p !== null)));
  const models = content.models.map((name, model) => [name, model])
    .filter(([, model]) => faces.some((face) => face[4][model] !== null));
  if (models.length < 2) return "";
  const rows = models.map(([name, model]) => {
    const cells = faces.map((face, i) => {
      const p = face[4][model], middle = i * 10 + 4.5;
      if (p === null) return null;
      return s("g", {}, s("rect", { x: i * 10, y: 0, width: 9, height: 20, "--tint": tint(p) },
        s("title", {}, `${modelKey(model)} ${name}, frame ${face[0]}: ${marked(p)}`)),
      s("path", { d: `M${middle} ${isFake(p) ? "7l3 6h-6z" : "13l3-6h-6z"}`, fill: "var(--surface)" }));
    });
    const width = faces.length * 10;
    const numbers = faces.map((face) => (face[4][model] === null ? "–" : shown(face[4][model]))).join(", ");
    const size = { viewBox: `0 0 ${width} 20`, width, preserveAspectRatio: "none" };
    return h("div", {}, h("span", { class: "key" }, modelKey(model)),
      s("svg", { ...size, role: "img", "aria-label": `${name}: ${numbers}` }, cells));
  });
  const order = tracksOf(content).length > 1 ? "track by track" : "in the order of time";
  return h("div", { class: "matrix" }, h("p", { class: "muted" }, `Each network on each face, ${order}:`), rows);
}

function heatmapSection(content) {
  if (!content.heatmaps.length) return "";
  return section("Where the networks look (Grad-CAM)", { class: "card wide" },
    h("p", { class: "muted" }, "The clearest faces, as the network is shown them, and beside them what speaks for its "
      + "answer: yellow much, dark blue little."),
    h("div", { class: "heatmaps" }, content.heatmaps.map(({ frame, model, p, crop, map }) => h("figure", {},
      h("img", { src: crop, alt: `face in frame ${frame}` }), h("img", { src: map, alt: "heat map over it" }),
      h("figcaption", {}, `${marked(p)}, frame ${frame}${content.models.length > 1 ? `, ${model}` : ""}`)))));
}
