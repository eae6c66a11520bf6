// One example in full: image, labels, predictions, every score, and its losses over epochs.
function drawDetail(set, row) {
  const panel = at("detail");
  if (row < 0) {
    panel.replaceChildren(element("p", { textContent: "No example passes the filters." }));
    return;
  }
  const picture = element("canvas");
  drawImage(picture, set, row);
  const body = element("tbody");
  const add = (words, value, about = "", bad = false) => {
    const cell = element("td", { textContent: value, className: bad ? "bad" : "" });
    body.append(element("tr", { title: about }, element("th", { scope: "row", textContent: words }), cell));
  };
  const { columns } = set;
  add("label", set.called("label", row));
  if (columns.true_label) add("true label", set.called("true_label", row), "the class in the data set", set.wrong(row));
  for (const [key, words] of [["own_prediction", "own prediction"], ["flipped_prediction", "flipped prediction"]])
    if (columns[key]) add(words, set.called(key, row), "of most seeds", columns[key][row] !== columns.label[row]);
  for (const field of set.numbers) add(field.title, shown(columns[field.key][row]), field.about);
  const split = set.ids[row] >= set.tests ? "test example" : "training example";
  const title = element("h3", { textContent: `Example ${set.ids[row]}, ${split}` });
  panel.replaceChildren(picture, title, set.curves ? chart(set, row) : element("p", { className: "note", textContent: "Its runs scored the last epoch alone, so there is no learning curve." }), element("table", {}, element("caption", { className: "hidden", textContent: "Its labels, predictions and scores" }), body));
}

const SVG = "http://www.w3.org/2000/svg";
const drawn = (tag, attributes, text) => {
  const made = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  if (text !== undefined) made.textContent = text;
  return made;
};

// Losses of own and flipped sub-networks over epochs, on a logarithmic axis; the same axis for all examples of a set.
function chart(set, row) {
  const { epochs, highest } = set.curves, left = 44, right = 238, top = 8, bottom = 120;
  const x = (epoch) => left + (right - left) * (epoch / epochs.at(-1));
  const y = (loss) => bottom - (bottom - top) * (Math.log(loss / report.floor) / Math.log(highest / report.floor));
  const made = drawn("svg", { viewBox: "0 0 290 152", role: "img" });
  const ends = ["own", "flipped"].map((kind) => `${kind} ${shown(set.curve(kind, row).at(-1).loss)}`).join(", ");
  made.append(drawn("title", {}, `Loss over epochs ${epochs[0]} to ${epochs.at(-1)}; last: ${ends} nats`));
  for (let power = Math.ceil(Math.log10(report.floor)); 10 ** power <= highest; power++) {
    made.append(drawn("line", { x1: left, x2: right, y1: y(10 ** power), y2: y(10 ** power), stroke: "var(--line)" }));
    made.append(drawn("text", { x: left - 5, y: y(10 ** power) + 3, "text-anchor": "end" }, power >= 0 ? 10 ** power : `1e${power}`));
  }
  for (const epoch of [epochs[0], epochs.at(-1)]) made.append(drawn("text", { x: x(epoch), y: bottom + 14, "text-anchor": "middle" }, epoch));
  made.append(drawn("text", { x: (left + right) / 2, y: bottom + 27, "text-anchor": "middle" }, "epoch; loss in nats"));
  const last = ["own", "flipped"].map((kind) => y(set.curve(kind, row).at(-1).loss));
  const apart = Math.abs(last[0] - last[1]) < 11 ? (last[0] > last[1] ? [6, -6] : [-6, 6]) : [0, 0];
  ["own", "flipped"].forEach((kind, number) => {
    const points = set.curve(kind, row).filter(({ loss }) => !Number.isNaN(loss)).map(({ epoch, loss }) => `${x(epoch)},${y(loss)}`).join(" ");
    made.append(drawn("polyline", { points, fill: "none", stroke: `var(--${kind})`, "stroke-width": 2, "stroke-dasharray": kind === "own" ? "none" : "5 3" }));
    made.append(drawn("text", { x: right + 5, y: last[number] + apart[number] + 3, style: `fill: var(--${kind})` }, kind));
  });
  return made;
}
