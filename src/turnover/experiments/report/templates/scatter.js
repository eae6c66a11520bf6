// One score against another: all examples of the explorer's set, those that pass its filters in colour.
const plot = { x: null, y: null, places: null, cells: null, here: -1, orders: {} };
const MARGIN = { left: 62, right: 14, top: 12, bottom: 44 }, CELL = 12;

// Ranks from 0 to 1 among all that the rows stand for, equal values sharing the mean of theirs; NaN stays NaN.
function ranks(values, weights) {
  const order = Uint32Array.from(values.keys()).filter((row) => !Number.isNaN(values[row])).sort((a, b) => values[a] - values[b]);
  const found = new Float32Array(values.length).fill(NaN), all = order.reduce((sum, row) => sum + weights[row], 0);
  for (let start = 0, end, before = 0, size; start < order.length; start = end, before += size) {
    size = weights[order[start]];
    for (end = start + 1; end < order.length && values[order[end]] === values[order[start]]; end++) size += weights[order[end]];
    for (let place = start; place < end; place++) found[order[place]] = (before + (size - 1) / 2) / Math.max(all - 1, 1);
  }
  return found;
}

function correlation(a, b, weights) {
  const rows = Array.from(a.keys()).filter((row) => !Number.isNaN(a[row] + b[row]));
  const mean = (part) => rows.reduce((sum, row) => sum + weights[row] * part(row), 0) / rows.reduce((sum, row) => sum + weights[row], 0);
  const ma = mean((row) => a[row]), mb = mean((row) => b[row]);
  const about = (x, mx, y, my) => mean((row) => (x[row] - mx) * (y[row] - my));
  return about(a, ma, b, mb) / Math.sqrt(about(a, ma, a, ma) * about(b, mb, b, mb));
}

function spearman(set, a, b, rows) {
  const weights = Float64Array.from(rows, (row) => set.weight(row)), part = (values) => ranks(Float32Array.from(rows, (row) => values[row]), weights);
  return correlation(part(a), part(b), weights);
}

function chooseAxes() {
  const { set } = view, numbers = set.numbers.map((field) => [field.key, field.title]);
  const keys = numbers.map(([key]) => key);
  options(at("x"), numbers);
  options(at("y"), numbers);
  at("x").value = keys.includes("true_memorization") ? "true_memorization" : keys.find((key) => key.startsWith("seed_")) ?? keys[0];
  at("y").value = keys.includes("true_memorization") ? "turnover" : keys.findLast((key) => key !== at("x").value) ?? keys[0];
}

function refresh() {
  const { set } = view;
  if (plot.set !== set) {
    plot.set = set;
    chooseAxes();
  }
  const a = set.columns[at("x").value], b = set.columns[at("y").value], byRank = at("form").value === "rank";
  const weights = Float64Array.from(a, (_, row) => set.weight(row));
  plot.x = byRank ? ranks(a, weights) : a;
  plot.y = byRank ? ranks(b, weights) : b;
  plot.orders = {};
  plot.here = -1;
  const rho = spearman(set, a, b, view.rows);
  const words = Number.isNaN(rho) ? "too few examples for a correlation" : `Spearman correlation ${rho.toFixed(3)}`;
  const part = set.rows < set.whole ? ", weighted by how many each stands for" : "";
  at("agreement").textContent = `${view.rows.length.toLocaleString("en")} examples${part}: ${words}`;
  paint();
}

const range = (values) => {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return low < high ? [low, high] : [low - 1, low + 1];
};

function ticks([low, high]) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power, found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return found;
}

function paint() {
  const canvas = at("points"), ratio = devicePixelRatio || 1, wide = canvas.clientWidth, tall = canvas.clientHeight;
  if (!wide || !plot.x || view.pending) return;
  canvas.width = wide * ratio;
  canvas.height = tall * ratio;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(`--${name}`);
  pen.scale(ratio, ratio);
  const spans = [range(plot.x), range(plot.y)];
  const across = (value) => MARGIN.left + ((value - spans[0][0]) / (spans[0][1] - spans[0][0])) * (wide - MARGIN.left - MARGIN.right);
  const up = (value) => tall - MARGIN.bottom - ((value - spans[1][0]) / (spans[1][1] - spans[1][0])) * (tall - MARGIN.top - MARGIN.bottom);
  pen.font = "12px system-ui, sans-serif";
  pen.strokeStyle = colour("line");
  pen.fillStyle = colour("soft");
  pen.textAlign = "center";
  for (const value of ticks(spans[0])) { line2(pen, across(value), MARGIN.top, across(value), tall - MARGIN.bottom); pen.fillText(shown(value), across(value), tall - MARGIN.bottom + 16); }
  const suffix = at("form").value === "rank" ? " (rank, 0: lowest)" : "";
  pen.fillText(title("x") + suffix, (wide + MARGIN.left) / 2, tall - 8, wide - MARGIN.left);
  pen.textAlign = "right";
  for (const value of ticks(spans[1])) { line2(pen, MARGIN.left, up(value), wide - MARGIN.right, up(value)); pen.fillText(shown(value), MARGIN.left - 6, up(value) + 4); }
  pen.save();
  pen.translate(13, (tall - MARGIN.bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText(title("y") + suffix, 0, 0, tall - MARGIN.bottom);
  pen.restore();
  const { set } = view, rows = set.rows, size = rows > 20000 ? 2 : 3, right = [], wrong = [], out = [];
  plot.places = new Float32Array(2 * rows).fill(NaN);
  plot.cells = new Map();
  for (let row = 0; row < rows; row++) {
    const px = across(plot.x[row]), py = up(plot.y[row]);
    if (Number.isNaN(px + py)) continue;
    plot.places[2 * row] = px;
    plot.places[2 * row + 1] = py;
    (view.kept[row] ? (set.wrong(row) ? wrong : right) : out).push(row);
    if (!view.kept[row]) continue;
    const cell = Math.floor(px / CELL) * 4096 + Math.floor(py / CELL);
    const inside = plot.cells.get(cell);
    if (inside) inside.push(row); else plot.cells.set(cell, [row]);
  }
  for (const [part, name, alpha] of [[out, "out", 0.5], [right, "right", rows > 20000 ? 0.35 : 0.6], [wrong, "wrong", rows > 20000 ? 0.5 : 0.8]]) {
    pen.fillStyle = colour(name);
    pen.globalAlpha = alpha;
    for (const row of part) pen.fillRect(plot.places[2 * row] - size / 2, plot.places[2 * row + 1] - size / 2, size, size);
  }
  pen.globalAlpha = 1;
  plot.still = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  plot.still.getContext("2d").drawImage(canvas, 0, 0);
  point(-1);
}

const title = (axis) => view.set.numbers.find((field) => field.key === at(axis).value).title;
const line2 = (pen, x1, y1, x2, y2) => { pen.beginPath(); pen.moveTo(x1, y1); pen.lineTo(x2, y2); pen.stroke(); };

function nearest(px, py) {
  let best = -1, closest = 18 ** 2;
  const column = Math.floor(px / CELL), line = Math.floor(py / CELL);
  for (let i = column - 2; i <= column + 2; i++) for (let j = line - 2; j <= line + 2; j++)
    for (const row of plot.cells?.get(i * 4096 + j) ?? []) {
      const distance = (plot.places[2 * row] - px) ** 2 + (plot.places[2 * row + 1] - py) ** 2;
      if (distance < closest) { closest = distance; best = row; }
    }
  return best;
}

// Marks an example and shows its image beside it; -1: none.
function point(row) {
  const canvas = at("points"), tip = at("tip"), pen = canvas.getContext("2d"), { set } = view;
  if (plot.here !== row && plot.still) {
    pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    pen.drawImage(plot.still, 0, 0, canvas.clientWidth, canvas.clientHeight);
  }
  plot.here = row;
  tip.hidden = row < 0;
  if (row < 0) return;
  const px = plot.places[2 * row], py = plot.places[2 * row + 1];
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--text");
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(px, py, 6, 0, 2 * Math.PI);
  pen.stroke();
  const really = set.wrong(row) ? ` (really ${set.called("true_label", row)})` : "";
  const lines = [`Example ${set.ids[row]}`, `label ${set.called("label", row)}${really}`];
  if (set.columns.flipped_prediction) lines.push(`own says ${set.called("own_prediction", row)}, flipped ${set.called("flipped_prediction", row)}`);
  for (const axis of ["x", "y"]) lines.push(`${title(axis)}: ${shown(set.columns[at(axis).value][row])}`);
  const picture = element("canvas");
  drawImage(picture, set, row);
  tip.replaceChildren(picture, element("div", {}, ...lines.flatMap((text) => [text, element("br")])));
  const room = canvas.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(0, Math.min(px + 14, room))}px`;
  tip.style.top = `${py > canvas.clientHeight / 2 ? py - tip.offsetHeight - 14 : py + 14}px`;
  return lines.join(", ");
}

function walk(axis, step, end) {
  if (!plot.orders[axis]) plot.orders[axis] = Array.from(view.rows).filter((row) => !Number.isNaN(plot.places[2 * row])).sort((a, b) => plot[axis][a] - plot[axis][b] || a - b);
  const order = plot.orders[axis], here = order.indexOf(plot.here);
  const next = end !== undefined ? (end ? order.length - 1 : 0) : here < 0 ? 0 : Math.max(0, Math.min(here + step, order.length - 1));
  if (order.length) at("spoken").textContent = point(order[next]);
}

if (at("points")) {
  const canvas = at("points"), keys = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1], Home: ["x", 0, 0], End: ["x", 0, 1] };
  const hover = (event) => {
    if (view.pending) return;
    const box = canvas.getBoundingClientRect();
    point(nearest(event.clientX - box.left, event.clientY - box.top));
  };
  canvas.addEventListener("pointermove", hover);
  canvas.addEventListener("pointerdown", hover);
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("blur", () => point(-1));
  const open = () => {
    if (plot.here < 0 || view.pending) return;
    choose(plot.here);
    at("detail").scrollIntoView({ block: "nearest" });
  };
  canvas.addEventListener("dblclick", open);
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter") open();
    if (event.key === "Escape") point(-1);
    if (!keys[event.key] || view.pending) return;
    event.preventDefault();
    walk(...keys[event.key]);
  });
  for (const id of ["x", "y", "form"]) at(id).addEventListener("input", refresh);
  at("axes").addEventListener("submit", (event) => event.preventDefault());
  view.listeners.push(refresh);
  new ResizeObserver(paint).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  chooseSet(report.sets[0].name).catch((error) => { at("count").textContent = `This browser cannot read the examples: ${error.message}`; });
}
