"use strict";
// Reading what the page holds: binary columns of every set, and images on sheets. The writer is packing.py.
const report = JSON.parse(document.getElementById("index").textContent);
const NONE = 255; // of a class, and of a step of a curve

function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent), bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return bytes;
}

async function unpack(id, fields, rows) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const columns = {};
  let at = 0;
  for (const field of fields) {
    const plane = (number) => bytes.subarray(at + number * rows, at + (number + 1) * rows);
    if (field.kind === "id") columns[field.key] = wholes([0, 1, 2, 3].map(plane), rows);
    else if (field.kind === "number") columns[field.key] = halves(plane(0), plane(1), rows, field.exponent);
    else columns[field.key] = plane(0);
    at += field.bytes * rows;
  }
  return columns;
}

function wholes(planes, rows) {
  const found = new Uint32Array(rows);
  planes.forEach((plane, number) => plane.forEach((byte, row) => { found[row] += byte * 256 ** number; }));
  return found;
}

function halves(low, high, rows, exponent) {
  const found = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const bits = low[row] | (high[row] << 8);
    const power = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    const size = power === 31 ? (fraction ? NaN : Infinity) : power ? 2 ** (power - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
    found[row] = sign * size * 2 ** exponent;
  }
  return found;
}

const loaded = new Map();
function loadSet(name) {
  if (!loaded.has(name)) {
    const about = report.sets.find((set) => set.name === name);
    loaded.set(name, unpack(`set-${name}`, about.fields, about.rows).then((columns) => new ExampleSet(about, columns)));
  }
  return loaded.get(name);
}

class ExampleSet {
  constructor(about, columns) {
    Object.assign(this, about);
    this.columns = columns;
    this.ids = columns.id;
    this.numbers = about.fields.filter((field) => field.kind === "number");
    this.places = new Map();
  }

  row(id) {
    if (!this.places.size) this.ids.forEach((each, row) => this.places.set(each, row));
    return this.places.get(id);
  }

  // How many examples a row stands for: itself, or its share of those that are left out.
  weight(row) {
    return row < this.extreme ? 1 : (this.whole - this.extreme) / (this.rows - this.extreme);
  }

  called(column, row) {
    const value = this.columns[column]?.[row];
    return value === undefined ? "" : value === NONE ? "none" : this.classes[value];
  }

  wrong(row) {
    const real = this.columns.true_label;
    return real !== undefined && real[row] !== this.columns.label[row];
  }

  curve(kind, row) {
    const { epochs, highest } = this.curves;
    return epochs.map((epoch, number) => {
      const step = this.columns[`${kind}-${number}`][row];
      return { epoch, loss: step === NONE ? NaN : report.floor * (highest / report.floor) ** (step / report.steps) };
    });
  }
}

// Images: a sheet is decoded when one of its images is first needed, and forgotten when 24 others were.
const KEPT = 24;
const sheets = new Map();
const positions = new Map();
const SHEET = (about) => about.columns * about.columns;

function sheet(dataset, number) {
  const key = `sheet-${dataset}-${number}`;
  const found = sheets.get(key) ?? createImageBitmap(new Blob([bytesOf(key)], { type: "image/webp" }));
  sheets.delete(key);
  sheets.set(key, found);
  if (sheets.size > KEPT) {
    const [oldest, bitmap] = sheets.entries().next().value;
    sheets.delete(oldest);
    bitmap.then((each) => setTimeout(() => each.close(), 2000)); // someone may be drawing from it
  }
  return found;
}

async function position(dataset, id) {
  const about = report.images[dataset];
  if (!positions.has(dataset)) {
    const places = unpack(`ids-${dataset}`, about.fields, about.rows).then(({ id: ids }) => new Map(Array.from(ids, (each, place) => [each, place])));
    positions.set(dataset, places);
  }
  return (await positions.get(dataset)).get(id);
}

// Draws the image of an example; without the data set at hand the canvas is not shown.
async function drawImage(canvas, set, row) {
  const about = report.images[set.dataset];
  canvas.hidden = !about;
  if (!about) return;
  const id = set.ids[row];
  canvas.dataset.id = id;
  canvas.width = about.width;
  canvas.height = about.height;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `image ${id}, ${set.called("label", row)}`);
  const place = await position(set.dataset, id);
  const bitmap = await sheet(set.dataset, Math.floor(place / SHEET(about)));
  if (canvas.dataset.id !== String(id)) return; // another example was chosen meanwhile
  const inside = place % SHEET(about);
  const left = (inside % about.columns) * about.width, top = Math.floor(inside / about.columns) * about.height;
  canvas.getContext("2d").drawImage(bitmap, left, top, about.width, about.height, 0, 0, about.width, about.height);
  canvas.dataset.drawn = id;
}

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const shown = (value) => {
  if (Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  return size >= 1000 ? value.toFixed(0) : size >= 0.001 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
};
