// The explorer: filter, sort and page through the examples of one set. `view` is what the scatter shares.
const PAGE = 25;
const view = { set: null, rows: new Uint32Array(0), kept: new Uint8Array(0), sort: "", falling: true, page: 0, chosen: -1, images: [], pending: null, listeners: [] };
const at = (id) => document.getElementById(id);

const KINDS = {
  all: ["all examples", () => true],
  wrong: ["wrong labels", (set, row) => set.wrong(row), "true_label"],
  right: ["right labels", (set, row) => !set.wrong(row), "true_label"],
  differ: ["own and flipped differ", (set, row) => set.columns.own_prediction[row] !== set.columns.flipped_prediction[row], "flipped_prediction"],
  own: ["own prediction is not the label", (set, row) => set.columns.own_prediction[row] !== set.columns.label[row], "own_prediction"],
  flipped: ["flipped prediction is not the label", (set, row) => set.columns.flipped_prediction[row] !== set.columns.label[row], "flipped_prediction"],
  test: ["test examples", (set, row) => set.ids[row] >= set.tests, "id"],
};

const options = (select, pairs) => select.replaceChildren(...pairs.map(([value, words]) => element("option", { value, textContent: words })));

async function chooseSet(name) {
  view.set = await loadSet(name);
  const { set } = view;
  at("set-about").textContent = set.about;
  options(at("f-class"), [["", "any"], ...set.classes.map((words, number) => [number, words])]);
  options(at("f-kind"), Object.entries(KINDS).filter(([, [, , needs]]) => !needs || set.columns[needs]).map(([key, [words]]) => [key, words]));
  const numbers = set.numbers.map((field) => [field.key, field.title]);
  options(at("f-number"), numbers);
  options(at("f-sort"), [...numbers, ["id", "id"], ["label", "label"]]);
  Object.assign(view, { sort: set.numbers[0].key, falling: true, chosen: -1 });
  at("filters").querySelectorAll("input").forEach((input) => { input.value = ""; });
  apply();
}

function idTest(text) {
  const found = text.trim().match(/^(\d+)(?:\s*[-–]\s*(\d+))?$/);
  if (!text.trim()) return () => true;
  if (!found) return () => false;
  const low = Number(found[1]), high = Number(found[2] ?? found[1]);
  return (id) => id >= low && id <= high;
}

// Which rows pass the filters, in their order.
function apply() {
  const { set } = view;
  const inside = idTest(at("f-id").value), label = at("f-class").value, kind = KINDS[at("f-kind").value][1];
  const numbers = set.columns[at("f-number").value];
  const low = at("f-from").value === "" ? null : at("f-from").valueAsNumber, high = at("f-to").value === "" ? null : at("f-to").valueAsNumber;
  const passing = [];
  view.kept = new Uint8Array(set.rows);
  for (let row = 0; row < set.rows; row++) {
    if (!inside(set.ids[row]) || (label !== "" && set.columns.label[row] !== Number(label)) || !kind(set, row)) continue;
    if ((low !== null && !(numbers[row] >= low)) || (high !== null && !(numbers[row] <= high))) continue;
    view.kept[row] = 1;
    passing.push(row);
  }
  view.rows = Uint32Array.from(passing);
  order();
}

function order() {
  const values = view.set.columns[view.sort], sign = view.falling ? -1 : 1;
  view.rows.sort((a, b) => {
    const first = values[a], second = values[b];
    if (first === second) return a - b;
    if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second) || a - b;
    return sign * (first - second);
  });
  view.page = 0;
  at("f-sort").value = view.sort;
  at("direction").textContent = view.falling ? "highest first" : "lowest first";
  at("count").textContent = counted();
  draw();
  choose(view.rows.includes(view.chosen) ? view.chosen : view.rows[0] ?? -1);
  const mine = view.pending = Promise.allSettled(view.images).then(() => { // what takes longer waits for the images
    if (view.pending !== mine) return;
    view.pending = null;
    view.listeners.forEach((listener) => listener());
  });
}

// How many examples pass the filters; of a set of which the page holds a part, of the whole set too.
function counted() {
  const { set, rows } = view, words = (number) => Math.round(number).toLocaleString("en"), here = `${words(rows.length)} of ${words(set.rows)} examples`;
  if (set.rows === set.whole) return here;
  return `${here} on this page, which stand for about ${words(rows.reduce((sum, row) => sum + set.weight(row), 0))} of ${words(set.whole)}`;
}

function columns() {
  const { set } = view;
  const classes = [["label", "label"], ["own_prediction", "own says"], ["flipped_prediction", "flipped says"]].filter(([key]) => set.columns[key]);
  const numbers = set.numbers.slice(0, 3);
  const sorting = set.numbers.find((field) => field.key === view.sort);
  if (sorting && !numbers.includes(sorting)) numbers.unshift(sorting);
  return { classes, numbers };
}

function draw() {
  const { set } = view, { classes, numbers } = columns();
  const heading = (key, words, later) => {
    const cell = element("th", { scope: "col", className: later ? "later" : "" });
    if (key === view.sort) cell.setAttribute("aria-sort", view.falling ? "descending" : "ascending");
    const button = element("button", { type: "button", textContent: words + (key === view.sort ? (view.falling ? " ▼" : " ▲") : "") });
    button.dataset.sort = key;
    cell.append(button);
    return cell;
  };
  const row = element("tr", {}, element("th", { scope: "col", textContent: report.images[set.dataset] ? "image" : "" }), heading("id", "id"));
  classes.forEach(([key, words]) => row.append(key === "label" ? heading(key, words) : element("th", { scope: "col", textContent: words, className: "later" })));
  numbers.forEach((field, place) => row.append(heading(field.key, field.title, place > 0 && field.key !== view.sort)));
  at("rows").tHead.replaceChildren(row);

  const pages = Math.max(1, Math.ceil(view.rows.length / PAGE));
  view.images = [];
  const part = view.rows.subarray(view.page * PAGE, (view.page + 1) * PAGE);
  at("rows").tBodies[0].replaceChildren(...Array.from(part, (each) => line(each, classes, numbers)));
  at("page").textContent = `page ${(view.page + 1).toLocaleString("en")} of ${pages.toLocaleString("en")}`;
  ["first", "previous"].forEach((id) => { at(id).disabled = view.page === 0; });
  ["next", "last"].forEach((id) => { at(id).disabled = view.page >= pages - 1; });
}

function line(row, classes, numbers) {
  const { set } = view, picture = element("canvas");
  view.images.push(drawImage(picture, set, row));
  const button = element("button", { type: "button", textContent: set.ids[row] });
  const made = element("tr", { className: row === view.chosen ? "chosen" : "" }, element("td", {}, picture), element("th", { scope: "row", className: "id" }, button));
  made.dataset.row = row;
  classes.forEach(([key]) => {
    const cell = element("td", { className: key === "label" ? "" : "later" });
    const unlike = key !== "label" && set.columns[key][row] !== set.columns.label[row];
    cell.append(element("span", { className: unlike ? "bad" : "", textContent: set.called(key, row) }));
    if (key === "label" && set.wrong(row)) cell.append(element("span", { className: "bad", textContent: ` (really ${set.called("true_label", row)})` }));
    made.append(cell);
  });
  numbers.forEach((field, place) => made.append(element("td", { className: place > 0 && field.key !== view.sort ? "later" : "", textContent: shown(set.columns[field.key][row]) })));
  return made;
}

function choose(row) {
  view.chosen = row;
  at("rows").querySelectorAll("tbody tr").forEach((each) => each.classList.toggle("chosen", Number(each.dataset.row) === row));
  drawDetail(view.set, row);
}

function turn(page) {
  view.page = Math.max(0, Math.min(page, Math.ceil(view.rows.length / PAGE) - 1));
  draw();
}

function sortBy(key, falling) {
  Object.assign(view, { sort: key, falling });
  order();
}

if (at("set")) {
  options(at("set"), report.sets.map((set) => [set.name, set.title]));
  at("set").addEventListener("change", () => chooseSet(at("set").value));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", () => setTimeout(() => chooseSet(view.set.name).then(() => { at("set").value = view.set.name; })));
  for (const id of ["f-id", "f-class", "f-kind", "f-number", "f-from", "f-to"]) at(id).addEventListener("input", apply);
  at("f-sort").addEventListener("input", () => sortBy(at("f-sort").value, view.falling));
  at("direction").addEventListener("click", () => sortBy(view.sort, !view.falling));
  at("first").addEventListener("click", () => turn(0));
  at("previous").addEventListener("click", () => turn(view.page - 1));
  at("next").addEventListener("click", () => turn(view.page + 1));
  at("last").addEventListener("click", () => turn(Infinity));
  at("rows").addEventListener("click", (event) => {
    const key = event.target.dataset?.sort;
    if (key) {
      sortBy(key, key === view.sort ? !view.falling : true);
      at("rows").querySelector(`[data-sort="${key}"]`)?.focus();
      return;
    }
    const row = event.target.closest("tbody tr");
    if (!row) return;
    choose(Number(row.dataset.row));
    if (matchMedia("(max-width: 800px)").matches) at("detail").scrollIntoView({ block: "nearest" });
  });
  at("rows").addEventListener("keydown", (event) => { // up and down walk through the ids
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...at("rows").querySelectorAll(".id button")], here = buttons.indexOf(event.target);
    if (!step || here < 0 || !buttons[here + step]) return;
    event.preventDefault();
    buttons[here + step].focus();
  });
}
