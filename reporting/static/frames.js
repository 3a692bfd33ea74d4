// The faces in the order of time, and the frame that the chosen one is in with the boxes of all its faces.

const FACES_IN_HALF = 6; // fit beside each other in half the dialog
const TALL = 800; // pixels

/** What the networks say of a face, as one number: their mean, or that of the clips it is in. */
function faceScore(content, [frame, track, , , values]) {
  const own = mean(values);
  if (own !== null) return own;
  const spans = content.spans.filter((span) => span[0] === track && span[2] <= frame && frame <= span[3]);
  return mean(spans.flatMap((span) => span[4]));
}

const faceText = (content, face) => {
  const p = faceScore(content, face);
  return p === null ? "no score" : marked(p);
};

/** Whether the faces in half the width would be much taller than the frame beside them. */
function areFacesTall(content) {
  const rows = tracksOf(content).map((track) =>
    Math.ceil(content.faces.filter((face) => face[1] === track).length / FACES_IN_HALF));
  return rows.reduce((sum, count) => sum + count, 0) * (content.sheet ? 110 : 50) > TALL;
}

/** Buttons, one for each face, by track. */
function buildFaces(content, choose, bus) {
  const tracks = tracksOf(content);
  const buttons = content.faces.map((face, i) => {
    const [frame, track] = face, p = faceScore(content, face);
    const label = `${trackName(track)}, frame ${frame}: ${faceText(content, face)}`;
    return h("button", {
      type: "button", class: p !== null && !isFake(p) ? "real" : "fake", "--tint": tint(p), "aria-pressed": "false",
      "aria-label": label, title: label, onclick: () => choose(i),
    }, content.sheet ? faceTile(content, content.shown.indexOf(i), 56) : null,
    h("b", {}, faceText(content, face)), h("small", {}, timeText(content, frame) ?? `#${frame}`));
  });
  bus.addEventListener("chosen", ({ detail }) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === detail));
  });
  return tracks.map((track) => {
    const own = buttons.filter((_, i) => content.faces[i][1] === track);
    if (!own.length) return null;
    return h("div", {}, tracks.length > 1 ? h("h3", {}, `${trackName(track)} (${plural(own.length, "face")})`) : null,
      h("div", { class: "strip" }, own));
  }).filter(Boolean);
}

/** The frame viewer with its slider. */
function buildFrames(content, choose, bus) {
  const frames = [...new Set([...content.frames, ...content.faces.map((face) => face[0])])].sort((a, b) => a - b);
  if (!frames.length || !content.width) return h("p", { class: "muted" }, "There is no frame to show.");
  const stage = h("div", { class: "stage", "--ratio": `${content.width / content.height}` });
  const caption = h("p", { class: "muted", role: "status" });
  const slider = h("input", {
    type: "range", min: 0, max: frames.length - 1, value: 0, "aria-label": "Frame",
    oninput: () => show(Number(slider.value)), onkeydown: (event) => event.stopPropagation(),
  });
  const step = (by, text, label) => h("button", {
    type: "button", "aria-label": label,
    onclick: () => show(Math.min(Math.max(Number(slider.value) + by, 0), frames.length - 1)),
  }, text);

  function show(place, chosen = null) {
    slider.value = place;
    const frame = frames[place], picture = content.pictures[frame];
    const faces = content.faces.map((face, i) => [face, i]).filter(([face]) => face[0] === frame);
    const at = timeText(content, frame);
    stage.replaceChildren(
      picture ? h("img", { src: picture, alt: `frame ${frame}` }) : "",
      ...faces.map(([face, i]) => boxOf(content, face, i === chosen, () => choose(i))));
    const what = picture ? "" : content.missing ? ", no picture" : ", only its boxes: no picture of this frame is kept";
    caption.textContent = `frame ${frame}${at ? ` (${at})` : ""}: ${plural(faces.length, "face")}${what}`;
    slider.setAttribute("aria-valuetext", caption.textContent);
  }

  bus.addEventListener("chosen", ({ detail }) => show(frames.indexOf(content.faces[detail][0]), detail));
  const kept = Object.keys(content.pictures).map(Number);
  show(Math.max(0, frames.indexOf(kept[0] ?? content.faces[0]?.[0] ?? frames[0])));
  const scrub = h("div", { class: "scrub" }, step(-1, "◀", "previous frame"), slider, step(1, "▶", "next frame"));
  return h("div", {}, stage, scrub, caption);
}

function boxOf(content, face, chosen, onclick) {
  const [xmin, ymin, xmax, ymax] = face[2], p = faceScore(content, face);
  const part = (value, whole) => `${(100 * value) / whole}%`;
  const classes = ["box", p !== null && !isFake(p) ? "real" : "fake"];
  if (chosen) classes.push("chosen");
  if (ymin < content.height * 0.09) classes.push("high"); // no room for the number above it
  return h("div", {
    class: classes.join(" "), "--tint": tint(p), onclick,
    "--x": part(xmin, content.width), "--y": part(ymin, content.height),
    "--w": part(xmax - xmin, content.width), "--h": part(ymax - ymin, content.height),
  }, h("span", {}, faceText(content, face)));
}
