"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const network = JSON.parse(byId("network").textContent);
  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const layers = network.layers.map((layer) =>
    Object.fromEntries(Object.entries(layer).map(([name, text]) => [name, floats(text)])),
  );
  const classes = network.classes;
  const [rows, columns] = network.shape;
  const { background, ink } = network; // shades, as in the training images

  // The network: bytes / 255, then a W + b layer by layer, softmax at the end. W is (n_in, n_out), row by row. With layer
  // normalisation a layer is gamma * normalised(a W + shift) + b.

  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const activations = {
    relu: (z) => Math.max(0, z),
    "leaky-relu": (z) => Math.max(z, 0.01 * z),
    elu: (z) => (z > 0 ? z : Math.expm1(z)),
    selu: (z) => 1.0507009873554805 * (z > 0 ? z : 1.6732632423543772 * Math.expm1(z)),
    gelu: (z) => 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z * z * z))),
    silu: (z) => z * sigmoid(z),
    softplus: (z) => Math.max(0, z) + Math.log1p(Math.exp(-Math.abs(z))),
    sigmoid: sigmoid,
    tanh: Math.tanh,
    identity: (z) => z,
  };

  function dense({ W, b, gamma, shift }, a) {
    const z = Float64Array.from(gamma ? shift : b);
    for (let i = 0; i < a.length; i++) {
      if (a[i] === 0) continue;
      for (let k = 0, at = i * z.length; k < z.length; k++) z[k] += a[i] * W[at + k];
    }
    if (!gamma) return z;
    const mean = (values) => values.reduce((total, value) => total + value, 0) / values.length;
    const middle = mean(z);
    const deviation = Math.sqrt(mean(z.map((value) => (value - middle) ** 2)) + network.epsilon);
    return z.map((value, k) => (gamma[k] * (value - middle)) / deviation + b[k]);
  }

  function softmax(z) {
    const highest = z.reduce((a, b) => Math.max(a, b));
    const e = z.map((value) => Math.exp(value - highest));
    const total = e.reduce((a, b) => a + b);
    return e.map((value) => value / total);
  }

  function forward(bytes) {
    let a = Float64Array.from(bytes, (byte) => byte / 255);
    const hidden = layers.slice(0, -1).map((layer) => (a = dense(layer, a).map(activations[network.activation])));
    return { hidden, probabilities: softmax(dense(layers.at(-1), a)) };
  }

  // The drawing: 0..255 on a background of 0, `scale` dots to the side of each pixel that the network reads.

  const scale = Math.max(1, Math.round(560 / Math.max(rows, columns)));
  const [height, width] = [rows * scale, columns * scale];
  const radius = scale * Math.max(0.55, (1.15 / 28) * Math.max(rows, columns));
  const drawing = new Uint8Array(height * width);
  const strokes = []; // each with its points and the type of its pointer: mouse, touch, pen or keyboard

  function stamp([x0, y0], [x1, y1]) {
    const [dx, dy] = [x1 - x0, y1 - y0];
    const square = dx * dx + dy * dy || 1;
    const reach = radius + 1;
    const [left, right] = [Math.max(0, Math.floor(Math.min(x0, x1) - reach)), Math.min(width, Math.max(x0, x1) + reach)];
    const [top, bottom] = [Math.max(0, Math.floor(Math.min(y0, y1) - reach)), Math.min(height, Math.max(y0, y1) + reach)];
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const along = Math.min(1, Math.max(0, ((x + 0.5 - x0) * dx + (y + 0.5 - y0) * dy) / square));
        const distance = Math.hypot(x + 0.5 - x0 - along * dx, y + 0.5 - y0 - along * dy);
        const value = Math.round(255 * Math.min(1, radius + 0.5 - distance));
        if (value > drawing[y * width + x]) drawing[y * width + x] = value;
      }
    }
  }

  function redraw() {
    drawing.fill(0);
    for (const { points } of strokes) points.forEach((point, i) => stamp(points[Math.max(0, i - 1)], point));
  }

  // What the network is shown: the steps of data/images/mnist_style.py for a drawing on even, empty paper of 0, or plain
  // means. Each returns the pixels and a note for the reader, in the words of predict.py.

  const round = (t) => Math.floor(t + 0.5);

  // (h, w) to n rows, each the mean of the rows that it covers, transposed: applied twice it resizes rows and columns.
  function averaged(v, h, w, n) {
    const result = new Float64Array(w * n);
    for (let i = 0; i < n; i++) {
      const [from, to] = [(i * h) / n, ((i + 1) * h) / n];
      for (let j = Math.floor(from); j < Math.min(h, Math.ceil(to)); j++) {
        const part = ((Math.min(to, j + 1) - Math.max(from, j)) * n) / h;
        for (let k = 0; k < w; k++) result[k * n + i] += part * v[j * w + k];
      }
    }
    return result;
  }

  const resized = (v, h, w, [newH, newW]) => averaged(averaged(v, h, w, newH), w, newH, newW);

  // The connected parts of a mask (h, w), as ranges of cells of k x k pixels, at most 128 cells a side.
  function connectedParts(mask, h, w) {
    const k = Math.ceil(Math.max(h, w) / 128);
    const [down, across] = [Math.ceil(h / k), Math.ceil(w / k)];
    const unvisited = new Uint8Array(down * across);
    mask.forEach((set, i) => {
      if (set) unvisited[Math.floor(Math.floor(i / w) / k) * across + Math.floor((i % w) / k)] = 1;
    });
    const parts = [];
    for (let start = 0; start < unvisited.length; start++) {
      if (!unvisited[start]) continue;
      unvisited[start] = 0;
      const part = { top: down, bottom: 0, left: across, right: 0 };
      const pending = [start];
      while (pending.length) {
        const cell = pending.pop();
        const [y, x] = [Math.floor(cell / across), cell % across];
        part.top = Math.min(part.top, y);
        part.bottom = Math.max(part.bottom, y);
        part.left = Math.min(part.left, x);
        part.right = Math.max(part.right, x);
        for (let i = Math.max(0, y - 1); i <= Math.min(down - 1, y + 1); i++) {
          for (let j = Math.max(0, x - 1); j <= Math.min(across - 1, x + 1); j++) {
            if (!unvisited[i * across + j]) continue;
            unvisited[i * across + j] = 0;
            pending.push(i * across + j);
          }
        }
      }
      parts.push(part);
    }
    return { parts, k };
  }

  // The digits side by side in a mask (h, w): connected parts of half its height that share no column.
  function countDigits(mask, h, w) {
    const { parts, k } = connectedParts(mask, h, w);
    let [count, end] = [0, -1];
    for (const { left, right } of parts
      .filter(({ top, bottom }) => 2 * k * (bottom - top + 1) >= h)
      .sort((a, b) => a.right - b.right || a.left - b.left)) {
      if (left > end) [count, end] = [count + 1, right];
    }
    return count;
  }

  function toMnistStyle() {
    const shown = new Uint8Array(rows * columns);
    const strongest = drawing.reduce((a, b) => Math.max(a, b));
    if (strongest < 16) return { shown, note: "" };
    let [top, bottom, left, right] = [height, -1, width, -1];
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        if (4 * drawing[i] <= strongest) continue;
        if (top > y) top = y;
        if (left > x) left = x;
        if (right < x) right = x;
        bottom = y;
      }
    }
    const [h, w] = [bottom - top + 1, right - left + 1];
    const box = new Float64Array(h * w);
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) box[i] = drawing[(top + y) * width + left + x];
    }
    const fit = [h, w].map((side) => Math.max(1, round((20 * side) / Math.max(h, w))));
    const small = resized(box, h, w, fit);
    const most = small.reduce((a, b) => Math.max(a, b));
    let [mass, my, mx] = [0, 0, 0];
    small.forEach((value, i) => {
      mass += value;
      my += value * Math.floor(i / fit[1]);
      mx += value * (i % fit[1]);
    });
    const [atRow, atColumn] = [my, mx].map((m, axis) => Math.min(28 - fit[axis], Math.max(0, round(14 - m / mass))));
    small.forEach((value, i) => {
      shown[(atRow + Math.floor(i / fit[1])) * columns + atColumn + (i % fit[1])] = round((255 * value) / most);
    });
    const several = countDigits(box.map((value) => 4 * value > strongest), h, w) > 1;
    return { shown, note: several ? "more than one digit, expected one" : "" };
  }

  const asGrid = () => ({ shown: Uint8Array.from(resized(drawing, height, width, [rows, columns]), round), note: "" });

  // What is shown on the page.

  const pad = byId("pad");
  const canvas = byId("drawing");
  const cursor = byId("cursor");
  [canvas.width, canvas.height] = [width, height];
  pad.style.setProperty("--ratio", columns / rows);
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const dots = new Uint32Array(picture.data.buffer); // a dot's bytes are red, green, blue, alpha
  const shownCanvas = byId("shown");
  [shownCanvas.width, shownCanvas.height] = [columns, rows];
  shownCanvas.style.width = `${Math.max(columns, Math.round((140 * columns) / Math.max(rows, columns)))}px`;
  const times = `${rows} × ${columns}`;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Only exactly 0 and 1 are written 0.0 % and 100.0 %.
  const percent = (p) => {
    const text = (100 * p).toFixed(1);
    if (text === "100.0" && p < 1) return "> 99.9 %";
    return text === "0.0" && p > 0 ? "< 0.1 %" : `${text} %`;
  };
  const MAX_UNITS = 4096;
  const MAX_CLASSES = 20;
  const [CELL, PITCH] = [12, 14];

  const units = layers.slice(0, -1).map(({ b }, i) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const [title, note, grid] = ["b", "span", "canvas"].map((name) => document.createElement(name));
    title.textContent = `Layer ${i + 1}`;
    caption.append(title, " ", note);
    grid.className = "units";
    grid.setAttribute("role", "img");
    const count = Math.min(b.length, MAX_UNITS);
    const across = count <= 128 ? 16 : count <= 512 ? 32 : 64;
    grid.width = across * PITCH - PITCH + CELL;
    grid.height = Math.ceil(count / across) * PITCH - PITCH + CELL;
    figure.append(caption, grid);
    byId("hidden-layers").append(figure);
    return { name: title.textContent, note, grid, count, across };
  });

  const items = Array.from({ length: Math.min(classes.length, MAX_CLASSES) }, () => {
    const item = document.createElement("li");
    const [name, bar, fill, value] = ["name", "bar", "fill", "value"].map((kind) => {
      const span = document.createElement("span");
      span.className = kind;
      return span;
    });
    bar.append(fill);
    item.append(name, bar, value);
    byId("classes").append(item);
    return { item, name, fill, value };
  });
  byId("classes").classList.toggle("long", classes.some((name) => name.length > 2));
  if (classes.length > MAX_CLASSES) byId("classes-note").textContent = `the most probable ${MAX_CLASSES} of ${classes.length}`;
  byId("centring").hidden = !network.mnist_style;

  function paintDrawing() {
    for (let i = 0; i < drawing.length; i++) dots[i] = drawing[i] << 24; // black; page.css inverts it on a dark page
    context.putImageData(picture, 0, 0);
  }

  function paintShown(shown) {
    const target = shownCanvas.getContext("2d");
    const image = target.createImageData(columns, rows);
    const [darkest, lightest] = [Math.min(background, ink), Math.max(background, ink)];
    shown.forEach((value, i) => {
      const shade = (255 * (value - darkest)) / (lightest - darkest || 1);
      image.data.set([shade, shade, shade, 255], 4 * i);
    });
    target.putImageData(image, 0, 0);
    const set = shown.reduce((n, value) => n + (value !== background), 0);
    const lines = strokes.length === 1 ? "1 line" : `${strokes.length} lines`;
    canvas.setAttribute("aria-label", set ? `your drawing, ${lines}` : "nothing drawn yet");
    byId("shown-note").textContent = `${times}, ${set} pixels set`;
    const described = set ? `${times}, ${set} of its pixels set` : "nothing drawn yet";
    shownCanvas.setAttribute("aria-label", `Input of the network: ${described}`);
  }

  function paintUnits({ name, note, grid, count, across }, a) {
    const target = grid.getContext("2d");
    const most = a ? a.reduce((m, value) => Math.max(m, Math.abs(value)), 0) : 0;
    const [off, positive, negative] = ["--off", "--accent", "--against"].map(colour);
    target.clearRect(0, 0, grid.width, grid.height);
    for (let i = 0; i < count; i++) {
      const at = [(i % across) * PITCH, Math.floor(i / across) * PITCH, CELL, CELL];
      target.globalAlpha = 1;
      target.fillStyle = off;
      target.fillRect(...at);
      if (!most || !a[i]) continue;
      target.globalAlpha = Math.abs(a[i]) / most;
      target.fillStyle = a[i] > 0 ? positive : negative;
      target.fillRect(...at);
    }
    target.globalAlpha = 1;
    const total = layers[units.findIndex((unit) => unit.grid === grid)].b.length;
    const active = a ? a.reduce((n, value) => n + (value !== 0), 0) : 0;
    note.textContent = `${total} units` + (a && network.activation === "relu" ? `, ${active} active` : "") +
      (count < total ? `, the first ${count} drawn` : "");
    const strongest = a ? `; the strongest at ${most.toFixed(2)}` : "";
    grid.setAttribute("aria-label", `${name}: ${note.textContent}${strongest}`);
  }

  function paintClasses(probabilities) {
    let order = classes.map((_, i) => i);
    const ranked = probabilities ? [...order].sort((a, b) => probabilities[b] - probabilities[a]) : order;
    if (order.length > items.length) order = ranked;
    items.forEach(({ item, name, fill, value }, i) => {
      const p = probabilities ? probabilities[order[i]] : 0;
      name.textContent = classes[order[i]];
      fill.style.transform = `scaleX(${p})`;
      value.textContent = probabilities ? percent(p) : "–";
      item.classList.toggle("first", Boolean(probabilities) && order[i] === ranked[0]);
    });
    const [first, second] = ranked;
    const [best, sure] = [byId("best"), byId("sure")];
    best.textContent = probabilities ? classes[first] : "–";
    best.classList.toggle("long", best.textContent.length > 8);
    if (!probabilities) sure.textContent = "nothing drawn yet";
    else if (second === undefined) sure.textContent = percent(probabilities[first]);
    else {
      const runnerUp = document.createElement("bdi"); // a name written from right to left does not turn the numbers
      runnerUp.textContent = classes[second];
      sure.replaceChildren(percent(probabilities[first]), ", else ", runnerUp, ` with ${percent(probabilities[second])}`);
    }
    return probabilities ? `${classes[first]}, ${sure.textContent}` : "Nothing drawn.";
  }

  // From the drawing to the answer: painted at most once a frame, announced once the pen rests.

  const asTrained = (drawn) => drawn.map((value) => round(background + ((ink - background) * value) / 255));
  const penDraws = () => strokes.some(({ type }) => type === "pen");
  const help = byId("help").textContent;
  const state = { shown: asTrained(asGrid().shown), hidden: null, probabilities: null };
  let [due, resting, announcement] = [false, 0, ""];

  function show() {
    due = false;
    const { shown, note } = network.mnist_style && byId("centre").checked ? toMnistStyle() : asGrid();
    state.shown = asTrained(shown);
    const blank = state.shown.every((value) => value === background);
    const { hidden, probabilities } = blank ? { hidden: null, probabilities: null } : forward(state.shown);
    Object.assign(state, { hidden, probabilities });
    byId("hint").hidden = strokes.length > 0 || !cursor.hidden;
    paintDrawing();
    paintShown(state.shown);
    units.forEach((unit, i) => paintUnits(unit, hidden && hidden[i]));
    announcement = paintClasses(probabilities) + (note && `; ${note}`);
    byId("note").textContent = note;
    byId("help").textContent = penDraws() ? "The pen draws; fingers and the palm do not, until Clear." : help;
  }

  function changed() {
    if (!due) requestAnimationFrame(show);
    due = true;
    clearTimeout(resting);
    resting = setTimeout(() => (byId("announcement").textContent = announcement), 500);
  }

  // Mouse, finger, pen. Each pointer draws a line of its own. A palm cannot be told from a finger by its size, which
  // many devices do not report; a pen can: it takes over from every touch, and touches draw again after Clear.

  const drawn = new Map(); // from the id of each pointer that draws to its stroke

  function begin(point, type) {
    const stroke = { points: [point], type };
    strokes.push(stroke);
    stamp(point, point);
    changed();
    return stroke;
  }

  function extend({ points }, point) {
    stamp(points.at(-1), point);
    points.push(point);
    changed();
  }

  // Take back the touches that are drawing: a palm, or a touch that the browser took for something else.
  function takeBack(ids) {
    for (const id of ids) {
      const stroke = drawn.get(id);
      drawn.delete(id);
      if (stroke && stroke.type === "touch") strokes.splice(strokes.indexOf(stroke), 1);
    }
    redraw();
    changed();
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  }

  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.pointerType === "touch" && penDraws())) return;
    if (event.pointerType === "pen") takeBack([...drawn.keys()]);
    lift();
    drawn.set(event.pointerId, begin(place(event), event.pointerType));
    pad.setPointerCapture(event.pointerId);
  });
  pad.addEventListener("pointermove", (event) => {
    const stroke = drawn.get(event.pointerId);
    if (!stroke) return;
    if (!(event.buttons & 1)) return drawn.delete(event.pointerId); // its release was lost, to a menu or a dialog
    const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of passed.length ? passed : [event]) extend(stroke, place(each));
  });
  for (const name of ["pointerup", "lostpointercapture"]) {
    pad.addEventListener(name, (event) => drawn.delete(event.pointerId));
  }
  pad.addEventListener("pointercancel", (event) => takeBack([event.pointerId]));
  // The pad moves under the pointer when the window is resized or rotated: a line would jump.
  addEventListener("resize", () => drawn.clear());

  // Keeps iOS from its magnifier and from writing text with the pen, and other systems from the menu of a long press.
  for (const name of ["touchstart", "touchmove"]) {
    pad.addEventListener(name, (event) => event.preventDefault(), { passive: false });
  }
  pad.addEventListener("contextmenu", (event) => {
    if (drawn.size) event.preventDefault();
  });

  // Keyboard.

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const at = [Math.floor(columns / 2), Math.floor(rows / 2)];
  let down = null; // the stroke of the keyboard while its pen is down
  const middle = () => at.map((cell) => (cell + 0.5) * scale);

  function moveCursor() {
    cursor.style.left = `${(100 * (at[0] + 0.5)) / columns}%`;
    cursor.style.top = `${(100 * (at[1] + 0.5)) / rows}%`;
    cursor.classList.toggle("down", Boolean(down));
    cursor.hidden = false;
    byId("hint").hidden = true;
  }

  function lift() {
    down = null;
    cursor.classList.remove("down");
  }

  pad.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") {
      event.preventDefault(); // also for a held key, which would scroll the page
      if (event.repeat) return;
      down = down ? null : begin(middle(), "keyboard");
      changed();
      byId("announcement").textContent = down ? "Pen down." : "Pen up.";
    } else if (event.key in moves) {
      at[0] = Math.min(columns - 1, Math.max(0, at[0] + moves[event.key][0]));
      at[1] = Math.min(rows - 1, Math.max(0, at[1] + moves[event.key][1]));
      if (down) extend(down, middle());
      byId("announcement").textContent = `Row ${at[1] + 1}, column ${at[0] + 1}.`;
    } else if (event.key === "Escape") {
      lift();
    } else return;
    if (event.key !== "Escape") moveCursor();
    event.preventDefault();
  });
  pad.addEventListener("blur", () => {
    lift();
    cursor.hidden = true;
    changed();
  });

  function release() {
    lift();
    drawn.clear();
  }

  function undo() {
    release();
    strokes.pop();
    redraw();
    changed();
  }

  byId("undo").addEventListener("click", undo);
  byId("clear").addEventListener("click", () => {
    release();
    strokes.length = 0;
    redraw();
    changed();
  });
  byId("centre").addEventListener("change", changed);
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key === "z") {
      event.preventDefault();
      undo();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);

  // For the console and for tests: `lagvis.state.probabilities`, `lagvis.forward(bytes)`.
  window.lagvis = Object.freeze({ state, drawing, width, height, forward });
  show();
  for (const section of document.querySelectorAll("section")) section.hidden = false;
  byId("without-script").hidden = true;
})();
