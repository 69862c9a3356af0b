"use strict";
// All geometry comes from the module: per axis what a query sees and what tiles visit. Here axes are multiplied and drawn.
const COLOURS = { query: [213, 94, 0], seen: [86, 180, 233], full: [0, 114, 178], masked: [230, 159, 0], other: [236, 236, 236] };
const FIELDS = ["length", "kernel", "stride", "dilation", "boundary", "causal", "tile", "keyTile", "query"];
const BOUNDARIES = ["clamp", "wrap", "cut"];
const axis = (length, kernel, stride, tile, keyTile) =>
  ({ length, kernel, stride, dilation: 1, boundary: "clamp", causal: false, tile, keyTile, query: Math.floor(length / 2) });
const EXAMPLES = {
  "given": INITIAL,
  "Hunyuan video, stride 1": [axis(30, 18, 1, 4, 2), axis(48, 24, 1, 8, 8), axis(80, 24, 1, 8, 8)],
  "Hunyuan video, block-sparse": [axis(30, 18, 16, 4, 2), axis(48, 24, 8, 8, 8), axis(80, 24, 8, 8, 8)],
  "FLUX image, stride 1": [axis(256, 80, 1, 16, 16), axis(256, 80, 1, 8, 8)],
  "FLUX image, block-sparse": [axis(256, 80, 16, 16, 16), axis(256, 80, 16, 16, 16)],
  "Cosmos video, block-sparse": [axis(16, 16, 1, 4, 4), axis(44, 32, 8, 4, 4), axis(80, 48, 8, 4, 4)],
  "a sequence": [axis(512, 128, 1, 32, 32)],
};
const copy = (axes) => axes.map((each) => ({ ...each }));
const get = (id) => document.getElementById(id);

let state = copy(INITIAL);
let calls;

const compiled = new WebAssembly.Module(Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0)));
function start() {
  const imports = {};
  for (const { module, name } of WebAssembly.Module.imports(compiled)) (imports[module] ??= {})[name] = () => 0;
  calls = new WebAssembly.Instance(compiled, imports).exports;
  calls._initialize();
}
function message() {
  const bytes = new Uint8Array(calls.memory.buffer, calls.message());
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}
const numbers = () => new Float64Array(calls.memory.buffer, calls.numbers(), 64);
const cells = (count) => new Uint8Array(calls.memory.buffer, calls.cells(), count).slice();

function load() {
  const input = [state.length];
  for (const a of state)
    input.push(a.length, a.kernel, a.stride, a.dilation, a.causal ? 1 : 0, BOUNDARIES.indexOf(a.boundary), a.tile, a.keyTile);
  numbers().set(input);
  calls.load();
}
function simulate() {
  calls.simulate();
  const found = Array.from(numbers());
  const visits = (at) => {
    const [units, denseUnits, mostUnits, fullUnits, keys, pairs, worst, mean] = found.slice(at, at + 8);
    return { units, denseUnits, mostUnits, fullUnits, keys, pairs, worst, mean };
  };
  return { queryTiles: found[0], usefulPairs: found[1], densePairs: found[2], keyTiles: visits(3), steps: visits(11) };
}

function paint(canvas, width, height, colourOf, largest, gaps = 0) {
  const scale = Math.max(1, Math.floor(largest / Math.max(width, height)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let y = 0; y < canvas.height; ++y)
    for (let x = 0; x < canvas.width; ++x) {
      const line = gaps && scale >= 6 && (x % scale === 0 || y % scale === 0);
      const [r, g, b] = line ? [255, 255, 255] : colourOf(Math.floor(x / scale), Math.floor(y / scale));
      image.data.set([r, g, b, 255], 4 * (y * canvas.width + x));
    }
  context.putImageData(image, 0, 0);
}

// One axis as a row, two as they are, three as slices side by side.
function drawWindow() {
  const seen = state.map((a, i) => cells(calls.window(i, a.query)));
  const counts = seen.map((each) => each.reduce((sum, one) => sum + one, 0));
  const padded = [...Array(3 - state.length).fill(Uint8Array.of(1)), ...seen];
  const query = [...Array(3 - state.length).fill(0), ...state.map((a) => a.query)];
  const [depth, rows, columns] = padded.map((each) => each.length);
  const across = depth === 1 ? 1 : Math.max(1, Math.round(Math.sqrt((1.3 * depth * rows) / columns)));
  const gap = depth === 1 ? 0 : 2;
  const width = across * (columns + gap) - gap, height = Math.ceil(depth / across) * (rows + gap) - gap;
  const mark = Math.floor(Math.max(width, height) / 180);
  paint(get("window"), width, height, (x, y) => {
    const slice = Math.floor(y / (rows + gap)) * across + Math.floor(x / (columns + gap));
    const row = y % (rows + gap), column = x % (columns + gap);
    if (row >= rows || column >= columns || slice >= depth) return [255, 255, 255];
    // On large grids a mark of one pixel could not be seen.
    if (slice === query[0] && Math.abs(row - query[1]) <= mark && Math.abs(column - query[2]) <= mark) return COLOURS.query;
    return padded[0][slice] && padded[1][row] && padded[2][column] ? COLOURS.seen : COLOURS.other;
  }, 460, state.length < 3 && Math.max(rows, columns) <= 64 ? 1 : 0);
  const keys = counts.reduce((a, b) => a * b, 1), all = state.reduce((product, a) => product * a.length, 1);
  get("seen").textContent = `Query (${state.map((a) => a.query).join(", ")}) sees ${keys} of ${all} keys` +
    (depth > 1 ? "; a picture for each of the first axis's tokens" : "") + ".";
  return keys;
}

// The product of the axes' maps: full where all are, not visited where one is not.
function drawMap() {
  const maps = state.map((a, i) => {
    const columns = calls.map(i);
    if (!columns) return null;
    const size = Math.round(numbersOfTiles[i] * columns);
    return { columns, cells: cells(size), rows: numbersOfTiles[i] };
  });
  const rows = maps.reduce((n, m) => n * (m ? m.rows : 1), 1), columns = maps.reduce((n, m) => n * (m ? m.columns : 1), 1);
  const note = get("drawn");
  if (maps.includes(null) || rows * columns > 4e6) {
    get("map").width = get("map").height = 0;
    note.textContent = "Too many tiles to be drawn; the numbers hold.";
    return null;
  }
  const sight = (row, column) => {
    let least = 2;
    for (let i = maps.length - 1; i >= 0; --i) {
      const m = maps[i];
      const one = m.cells[(row % m.rows) * m.columns + (column % m.columns)];
      row = Math.floor(row / m.rows);
      column = Math.floor(column / m.columns);
      if (one < least) least = one;
    }
    return least;
  };
  paint(get("map"), columns, rows, (x, y) => [COLOURS.other, COLOURS.masked, COLOURS.full][sight(y, x)], 460,
    Math.max(rows, columns) <= 64 ? 1 : 0);
  note.textContent = `${rows} tiles of queries, ${columns} key tiles.`;
  let visited = 0, full = 0;
  for (let y = 0; y < rows; ++y)
    for (let x = 0; x < columns; ++x) {
      const one = sight(y, x);
      if (one) ++visited;
      if (one === 2) ++full;
    }
  return { visited, full };
}
let numbersOfTiles = [];
// Tiles of queries on each axis: what the module counts for the axis alone.
function countTiles() {
  const whole = state;
  numbersOfTiles = whole.map((a) => {
    state = [a];
    load();
    return simulate().queryTiles;
  });
  state = whole;
  load();
}

const times = (x) => `${x.toFixed(2)}×`;
function show(found, keys, map) {
  const { keyTiles, steps } = found, ideal = found.usefulPairs ? found.densePairs / found.usefulPairs : 1;
  get("worst").textContent = times(keyTiles.worst);
  get("mean").textContent = times(keyTiles.mean);
  get("steps").textContent = times(steps.mean);
  get("ideal").textContent = times(ideal);
  get("masks").textContent = keyTiles.fullUnits === keyTiles.units ? "none" : `${(100 * (1 - keyTiles.fullUnits / keyTiles.units)).toFixed(0)}%`;
  const waste = (v) => (found.usefulPairs ? (v.pairs / found.usefulPairs).toFixed(3) : "-");
  const rows = [
    ["bound, slowest tile", (v) => times(v.worst)], ["bound, mean", (v) => times(v.mean)],
    ["visited, mean", (v) => (v.units / Math.max(found.queryTiles, 1)).toFixed(2)], ["visited, most", (v) => v.mostUnits],
    ["without mask", (v) => (v.units ? `${((100 * v.fullUnits) / v.units).toFixed(1)}%` : "-")], ["waste", waste]];
  get("counts").tBodies[0].replaceChildren(...rows.map(([name, text]) => {
    const row = document.createElement("tr");
    for (const each of [name, text(keyTiles), text(steps)]) row.insertCell().textContent = each;
    return row;
  }));
  return { ideal, keys, map };
}

function update() {
  const results = { state };
  try {
    load();
    for (const [i, a] of state.entries())
      if (!(a.query >= 0 && a.query < a.length)) throw new RangeError(`query[${i}]=${a.query}: must be at least 0 and below ${a.length}`);
    countTiles();
    const found = simulate();
    const keys = drawWindow();
    Object.assign(results, found, show(found, keys, drawMap()));
    get("error").textContent = "";
    get("result").classList.remove("stale");
  } catch (error) {
    const text = error instanceof WebAssembly.RuntimeError ? message() || "this is more than the page can hold" : error.message;
    get("error").textContent = results.error = text;
    get("result").classList.add("stale");
    start();  // a module that has trapped is not to be called again
  }
  document.body.dataset.results = JSON.stringify(results);
}

function buildRows() {
  get("rank").value = String(state.length);
  get("axes").tBodies[0].replaceChildren(...state.map((a, i) => {
    const row = document.createElement("tr");
    row.insertCell().textContent = i;
    for (const field of FIELDS) {
      const cell = row.insertCell();
      let input = document.createElement("input");
      if (field === "boundary") {
        input = document.createElement("select");
        for (const name of BOUNDARIES) input.add(new Option(name));
      } else {
        input.type = field === "causal" ? "checkbox" : "number";
      }
      input.setAttribute("aria-label", `${field} of axis ${i}`);
      if (input.type === "checkbox") input.checked = a[field];
      else input.value = a[field];
      input.addEventListener("input", () => {
        a[field] = input.type === "checkbox" ? input.checked : field === "boundary" ? input.value : Math.trunc(Number(input.value));
        update();
      });
      cell.append(input);
    }
    return row;
  }));
  update();
}

start();
for (const name of Object.keys(EXAMPLES)) get("example").add(new Option(name));
get("example").addEventListener("change", (event) => {
  state = copy(EXAMPLES[event.target.value]);
  buildRows();
});
get("rank").addEventListener("change", (event) => {
  const rank = Number(event.target.value);
  while (state.length < rank) state.push(copy([state.at(-1)])[0]);
  state.length = rank;
  buildRows();
});
// A link may carry what is to be shown: page.html#[{"length":30,...},...]
if (location.hash.length > 1) {
  try {
    const given = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (!Array.isArray(given) || given.length < 1 || given.length > 3) throw new RangeError("axes: must be 1, 2 or 3");
    state = given.map((each) => ({ ...INITIAL[0], ...each }));
  } catch {
    state = copy(INITIAL);
  }
}
buildRows();
