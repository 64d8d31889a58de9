// The map of a collection: up to 100,000 points on a canvas, painted pixel by pixel from typed arrays.
"use strict";

(() => {
  const MAGIC = 0x314d4e55; // UNM1, read as a little-endian number
  const PAUSE_MS = 90;
  const NEAR_PX = 14;
  const NEAR_FINGER_PX = 28;
  const CLICK_PX = 5;
  const STEP_PX = 8;
  const ZOOM = 1.35;
  const DEEPEST = 400;
  const PADDING_PX = 28;
  const STEPS = 8;
  const ON_A_LIST = 50;
  const LONGEST_NAME = 30;
  const OPAQUE = 255;

  const root = document.querySelector("[data-map]");
  if (!root) return;
  const words = JSON.parse(root.dataset.words);
  const api = `/api/v1/maps/${root.dataset.map}`;
  const stage = root.querySelector(".map-stage");
  const scene = root.querySelector(".map-points");
  const over = root.querySelector(".map-over");
  const card = root.querySelector(".map-card");
  const told = root.querySelector("[data-map-told]");
  const legend = root.querySelector("[data-map-legend]");
  const hitList = document.querySelector("[data-map-hits]");
  const chosenList = document.querySelector("[data-map-chosen]");
  const paper = scene.getContext("2d", { alpha: false });
  const pen = over.getContext("2d");

  let count = 0;
  let xs = new Float32Array(0);
  let ys = new Float32Array(0);
  let codes = new Uint8Array(0);
  let ids = new Uint8Array(0);
  let groups = [];
  let ordered = false;
  let coloured = false;
  let chosen = null; // Uint8Array: 1 for each chosen point, or null
  let shownGroup = -1;
  let pinnedGroup = -1;

  // The view: the middle in map units, and pixels of the page for one unit.
  const view = { x: 0, y: 0, scale: 1, fit: 1 };
  let width = 0;
  let height = 0;
  let density = 1;
  let image = null;
  let pixels = null;

  let hovered = -1;
  let current = -1;
  let query = null;
  let hits = [];
  let lasso = null;
  let lassoing = false;

  const fill = (text, values) =>
    text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
  const amount = (number) => number.toLocaleString(document.documentElement.lang);
  const announce = (text) => {
    const place = document.getElementById("announce");
    if (place) place.textContent = text;
  };
  const tell = (text) => {
    told.textContent = text;
    told.hidden = text === "";
  };

  const element = (name, properties = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "class") made.className = value;
      else if (key in made) made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  };

  // Ids of passages: 16 bytes each, written as everywhere else.
  const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
  const idOf = (point) => {
    let text = "";
    for (let at = 0; at < 16; at += 1) {
      if (at === 4 || at === 6 || at === 8 || at === 10) text += "-";
      text += HEX[ids[point * 16 + at]];
    }
    return text;
  };
  let places = null;
  const pointOf = (id) => {
    if (places === null) {
      places = new Map();
      for (let point = 0; point < count; point += 1) places.set(idOf(point), point);
    }
    return places.get(id) ?? -1;
  };

  // ---- Which points are near a place: a grid of cells, the points of each one after the other.

  let cells = 1;
  let cellStart = new Int32Array(2);
  let cellPoints = new Int32Array(0);
  const cellOf = (value) => Math.min(cells - 1, Math.max(0, Math.floor(((value + 1) / 2) * cells)));

  const sortIntoCells = () => {
    cells = Math.max(1, Math.min(400, Math.ceil(Math.sqrt(count / 3))));
    cellStart = new Int32Array(cells * cells + 1);
    const own = new Int32Array(count);
    for (let point = 0; point < count; point += 1) {
      own[point] = cellOf(ys[point]) * cells + cellOf(xs[point]);
      cellStart[own[point] + 1] += 1;
    }
    for (let cell = 0; cell < cells * cells; cell += 1) cellStart[cell + 1] += cellStart[cell];
    const next = cellStart.slice();
    cellPoints = new Int32Array(count);
    for (let point = 0; point < count; point += 1) {
      cellPoints[next[own[point]]] = point;
      next[own[point]] += 1;
    }
  };

  const within = (left, bottom, right, top, look) => {
    for (let row = cellOf(bottom); row <= cellOf(top); row += 1) {
      for (let column = cellOf(left); column <= cellOf(right); column += 1) {
        const cell = row * cells + column;
        for (let at = cellStart[cell]; at < cellStart[cell + 1]; at += 1) look(cellPoints[at]);
      }
    }
  };

  const isSeen = (point) => shownGroup < 0 || codes[point] === shownGroup;

  const nearest = (px, py, reach) => {
    const [x, y] = toMap(px, py);
    const far = reach / view.scale;
    let best = -1;
    let least = far * far;
    within(x - far, y - far, x + far, y + far, (point) => {
      const away = (xs[point] - x) ** 2 + (ys[point] - y) ** 2;
      if (away <= least && isSeen(point)) {
        least = away;
        best = point;
      }
    });
    return best;
  };

  // ---- From the map to the page and back; up is up.

  const toPage = (x, y) => [
    (x - view.x) * view.scale + width / 2,
    height / 2 - (y - view.y) * view.scale,
  ];
  const toMap = (px, py) => [
    (px - width / 2) / view.scale + view.x,
    (height / 2 - py) / view.scale + view.y,
  ];

  const fit = () => {
    let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let point = 0; point < count; point += 1) {
      left = Math.min(left, xs[point]);
      right = Math.max(right, xs[point]);
      bottom = Math.min(bottom, ys[point]);
      top = Math.max(top, ys[point]);
    }
    if (count === 0) [left, right, bottom, top] = [-1, 1, -1, 1];
    const wide = Math.max(right - left, 0.02);
    const high = Math.max(top - bottom, 0.02);
    view.fit = Math.min(
      Math.max(width - 2 * PADDING_PX, 40) / wide,
      Math.max(height - 2 * PADDING_PX, 40) / high,
    );
    return { x: (left + right) / 2, y: (bottom + top) / 2, scale: view.fit };
  };

  const clampScale = (scale) => Math.min(view.fit * DEEPEST, Math.max(view.fit / 3, scale));

  const zoomAt = (px, py, factor) => {
    const [x, y] = toMap(px, py);
    view.scale = clampScale(view.scale * factor);
    view.x = x - (px - width / 2) / view.scale;
    view.y = y + (py - height / 2) / view.scale;
    moved();
  };

  const pan = (dx, dy) => {
    view.x = Math.min(1.5, Math.max(-1.5, view.x - dx / view.scale));
    view.y = Math.min(1.5, Math.max(-1.5, view.y + dy / view.scale));
    moved();
  };

  let remembering = 0;
  const moved = () => {
    paintSoon();
    clearTimeout(remembering);
    remembering = setTimeout(() => {
      const parts = [view.x.toFixed(4), view.y.toFixed(4), (view.scale / view.fit).toFixed(3)];
      history.replaceState(history.state, "", `#at=${parts.join(",")}`);
    }, 300);
  };

  const remembered = () => {
    const found = /^#at=(-?[\d.]+),(-?[\d.]+),([\d.]+)$/.exec(location.hash);
    if (!found) return;
    const [x, y, zoom] = found.slice(1).map(Number);
    if (![x, y, zoom].every(Number.isFinite) || Math.abs(x) > 1.5 || Math.abs(y) > 1.5) return;
    Object.assign(view, { x, y, scale: clampScale(view.fit * zoom) });
  };

  // ---- Colours, as the style sheet has them for this theme.

  let background = 0;
  let colours = new Uint32Array(256);
  let dimmed = new Uint32Array(256);
  let css = { ink: "#000", halo: "#fff", accent: "#06c" };

  const numbersOf = (colour) => (colour.match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
  const packed = ([red, green, blue]) =>
    ((OPAQUE << 24) | (Math.round(blue) << 16) | (Math.round(green) << 8) | Math.round(red)) >>> 0;
  const mixed = (one, other, share) => one.map((part, at) => part * share + other[at] * (1 - share));

  const colourClass = (group) => {
    if (!coloured) return "map-plain";
    if (group.kind !== "value") return `map-${group.kind}`;
    const values = groups.filter((each) => each.kind === "value").length;
    if (!ordered) return `map-c${group.code}`;
    const step = values < 2 ? 0 : Math.round((group.code * (STEPS - 1)) / (values - 1));
    return `map-o${step}`;
  };

  const readColours = () => {
    const sample = element("span", { class: "map-swatch", hidden: false });
    stage.append(sample);
    const read = (name) => {
      sample.className = `map-swatch ${name}`;
      return numbersOf(getComputedStyle(sample).backgroundColor);
    };
    const paperColour = read("map-paper");
    background = packed(paperColour);
    for (const group of groups) {
      const colour = read(colourClass(group));
      colours[group.code] = packed(colour);
      dimmed[group.code] = packed(mixed(colour, paperColour, 0.13));
    }
    sample.className = "map-swatch";
    const style = getComputedStyle(stage);
    css = {
      ink: style.color,
      halo: style.backgroundColor,
      accent: `rgb(${read("map-plain").join(",")})`,
      font: style.fontFamily,
    };
    sample.remove();
  };

  // ---- Painting.

  const radiusNow = () => {
    const base = count > 50000 ? 1.15 : count > 10000 ? 1.6 : count > 2500 ? 2.3 : count > 300 ? 3.2 : 5;
    return base * Math.min(3, Math.max(0.8, (view.scale / view.fit) ** 0.42));
  };

  // A disc as cells with how much of each it covers, 0 to 255.
  const stampOf = (radius) => {
    const reach = Math.ceil(radius);
    const stamp = { reach, dx: [], dy: [], cover: [] };
    for (let dy = -reach; dy <= reach; dy += 1) {
      for (let dx = -reach; dx <= reach; dx += 1) {
        const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
        if (cover > 0.06) {
          stamp.dx.push(dx);
          stamp.dy.push(dy);
          stamp.cover.push(Math.round(cover * 232));
        }
      }
    }
    return stamp;
  };

  const paintPoints = (stamp, passes, table) => {
    const across = image.width;
    const down = image.height;
    const scale = view.scale * density;
    const left = across / 2 - view.x * scale;
    const top = down / 2 + view.y * scale;
    const { reach, dx, dy, cover } = stamp;
    const size = dx.length;
    const offsets = dx.map((each, at) => dy[at] * across + each);
    for (let point = 0; point < count; point += 1) {
      if (!passes(point)) continue;
      const px = Math.round(left + xs[point] * scale);
      const py = Math.round(top - ys[point] * scale);
      if (px < -reach || py < -reach || px >= across + reach || py >= down + reach) continue;
      const inside = px >= reach && py >= reach && px < across - reach && py < down - reach;
      const colour = table[codes[point]];
      const red = colour & 255;
      const green = (colour >> 8) & 255;
      const blue = (colour >> 16) & 255;
      const middle = py * across + px;
      for (let cell = 0; cell < size; cell += 1) {
        if (!inside) {
          const cx = px + dx[cell];
          const cy = py + dy[cell];
          if (cx < 0 || cy < 0 || cx >= across || cy >= down) continue;
        }
        const at = middle + offsets[cell];
        const under = pixels[at];
        const share = cover[cell];
        const rest = OPAQUE - share;
        pixels[at] =
          0xff000000 |
          ((((under >> 16) & 255) * rest + blue * share) >> 8 << 16) |
          ((((under >> 8) & 255) * rest + green * share) >> 8 << 8) |
          (((under & 255) * rest + red * share) >> 8);
      }
    }
  };

  const paint = () => {
    if (!image) return;
    pixels.fill(background);
    const stamp = stampOf(radiusNow() * density);
    const parted = chosen !== null || shownGroup >= 0;
    const stands = (point) => (chosen === null || chosen[point] === 1) && isSeen(point);
    if (parted) {
      paintPoints(stamp, (point) => !stands(point), dimmed);
      paintPoints(stamp, stands, colours);
    } else {
      paintPoints(stamp, () => true, colours);
    }
    paper.putImageData(image, 0, 0);
    paintOver();
  };

  const written = (text, x, y, taken) => {
    const name = text.length > LONGEST_NAME ? `${text.slice(0, LONGEST_NAME - 1)}…` : text;
    const half = pen.measureText(name).width / 2 + 4;
    const middle = Math.min(width - half, Math.max(half, x));
    const box = [middle - half, y - 9, middle + half, y + 9];
    if (box[3] < 0 || box[1] > height) return;
    if (taken.some(([l, t, r, b]) => box[0] < r && box[2] > l && box[1] < b && box[3] > t)) return;
    taken.push(box);
    pen.strokeText(name, middle, y);
    pen.fillText(name, middle, y);
  };

  const ring = (point, radius, line) => {
    const [x, y] = toPage(xs[point], ys[point]);
    for (const [colour, thick] of [[css.halo, line + 2.5], [css.ink, line]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = thick;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.stroke();
    }
  };

  const paintOver = () => {
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.clearRect(0, 0, width, height);
    const radius = radiusNow();
    for (const point of hits) ring(point, radius + 2.5, 1.2);
    pen.font = `600 12.5px ${css.font}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.lineWidth = 3.5;
    pen.strokeStyle = css.halo;
    pen.fillStyle = css.ink;
    const taken = [];
    if (query) {
      const [x, y] = toPage(query.x, query.y);
      taken.push([x - 12, y - 12, x + 12, y + 12]);
    }
    if (coloured && !ordered) {
      for (const group of groups) {
        if (group.kind !== "value") continue;
        if (shownGroup >= 0 && group.code !== shownGroup) continue;
        const [x, y] = toPage(group.x, group.y);
        if (x > 0 && x < width) written(group.label, x, y, taken);
      }
    }
    if (query) star(...toPage(query.x, query.y));
    if (current >= 0) ring(current, radius + 4, 2);
    if (hovered >= 0 && hovered !== current) ring(hovered, radius + 3, 1.5);
    if (lasso && lasso.length > 1) {
      pen.beginPath();
      lasso.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.globalAlpha = 0.12;
      pen.fillStyle = css.accent;
      pen.fill();
      pen.globalAlpha = 1;
      pen.strokeStyle = css.accent;
      pen.lineWidth = 2;
      pen.stroke();
    }
  };

  const star = (x, y) => {
    pen.beginPath();
    for (let corner = 0; corner < 10; corner += 1) {
      const long = corner % 2 ? 5 : 12;
      const angle = (corner * Math.PI) / 5 - Math.PI / 2;
      pen.lineTo(x + long * Math.cos(angle), y + long * Math.sin(angle));
    }
    pen.closePath();
    pen.lineWidth = 4;
    pen.strokeStyle = css.halo;
    pen.stroke();
    pen.fillStyle = css.ink;
    pen.fill();
  };

  let waiting = 0;
  const paintSoon = () => {
    if (!waiting) {
      waiting = requestAnimationFrame(() => {
        waiting = 0;
        paint();
        placeCard();
      });
    }
  };
  let waitingOver = 0;
  const paintOverSoon = () => {
    if (!waitingOver && !waiting) {
      waitingOver = requestAnimationFrame(() => {
        waitingOver = 0;
        paintOver();
      });
    }
  };

  const resize = () => {
    const box = stage.getBoundingClientRect();
    const before = { width, height };
    width = stage.clientWidth;
    height = stage.clientHeight;
    if (box.width === 0) return;
    density = Math.min(2, window.devicePixelRatio || 1);
    for (const canvas of [scene, over]) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }
    image = paper.createImageData(scene.width, scene.height);
    pixels = new Uint32Array(image.data.buffer);
    const zoom = view.scale / view.fit;
    const whole = fit();
    if (before.width === 0) Object.assign(view, whole);
    else view.scale = whole.scale * zoom;
    if (count) paint();
  };

  // ---- What a point is: asked for once each, shown beside it.

  const details = new Map();
  const detailOf = (point) => {
    if (!details.has(point)) {
      const asked = fetch(`${api}/points/${idOf(point)}`).then(async (response) => {
        if (!response.ok) throw new Error(words.gone);
        return response.json();
      });
      asked.catch(() => details.delete(point));
      details.set(point, asked);
    }
    return details.get(point);
  };

  const addressOf = (passage) =>
    `/documents/${passage.document_id}?chunk=${passage.chunk_id}#chunk-${passage.chunk_id}`;

  const labelOf = (point) => {
    if (!coloured) return "";
    const group = groups.find((each) => each.code === codes[point]);
    return group ? nameOf(group) : "";
  };

  let cardPoint = -1;
  let cardTimer = 0;
  const showCard = (point, { kept = false, pause = PAUSE_MS, then = () => {} } = {}) => {
    clearTimeout(cardTimer);
    cardPoint = point;
    card.classList.toggle("map-card-kept", kept);
    if (point < 0) {
      card.hidden = true;
      return;
    }
    const fillCard = (title, text, passage) => {
      const label = labelOf(point);
      card.replaceChildren(
        element("strong", { translate: false }, title),
        ...(label ? [element("span", { class: "map-card-group" }, label)] : []),
        element("span", { class: "map-card-text", translate: false, lang: passage?.language ?? "" }, text),
        ...(passage && kept ? [element("a", { href: addressOf(passage) }, words.open)] : []),
      );
      card.hidden = false;
      placeCard();
    };
    cardTimer = setTimeout(async () => {
      try {
        const passage = await detailOf(point);
        if (cardPoint !== point) return;
        fillCard(passage.title || words.untitled, passage.text, passage);
        then(passage);
      } catch {
        if (cardPoint === point) fillCard(words.gone, "", null);
      }
    }, pause);
  };

  const placeCard = () => {
    if (card.hidden || cardPoint < 0) return;
    const [x, y] = toPage(xs[cardPoint], ys[cardPoint]);
    const gap = radiusNow() + 10;
    const wide = card.offsetWidth;
    const high = card.offsetHeight;
    const left = x + gap + wide < width ? x + gap : x - gap - wide;
    const top = y + gap + high < height ? y + gap : y - gap - high;
    card.style.left = `${Math.max(4, Math.min(width - wide - 4, left))}px`;
    card.style.top = `${Math.max(4, Math.min(height - high - 4, top))}px`;
  };

  const open = async (point, apart = false) => {
    try {
      const address = addressOf(await detailOf(point));
      if (apart) window.open(address, "_blank", "noopener");
      else location.assign(address);
    } catch {
      tell(words.gone);
    }
  };

  // ---- The legend.

  const nameOf = (group) => {
    if (group.kind === "others") return words.others;
    return group.kind === "none" ? words.none : group.label;
  };

  const showLegend = () => {
    legend.replaceChildren();
    legend.hidden = !coloured;
    if (!coloured) return;
    for (const group of groups) {
      const button = element(
        "button",
        { type: "button", title: nameOf(group), "aria-pressed": "false" },
        element("span", { class: `map-swatch ${colourClass(group)}` }),
        element("span", { class: "map-legend-name", translate: group.kind !== "value" }, nameOf(group)),
        element("span", { class: "map-legend-count" }, amount(group.count)),
      );
      const light = (code) => {
        shownGroup = code;
        paintSoon();
      };
      button.addEventListener("pointerenter", (event) => {
        if (event.pointerType === "mouse") light(group.code);
      });
      button.addEventListener("pointerleave", () => light(pinnedGroup));
      button.addEventListener("click", () => {
        pinnedGroup = pinnedGroup === group.code ? -1 : group.code;
        for (const each of legend.children) each.ariaPressed = String(each === button && pinnedGroup >= 0);
        light(pinnedGroup);
      });
      legend.append(button);
    }
  };

  // ---- Choosing a part and looking within it.

  const sidesOf = (path, x, y) => {
    let inside = false;
    for (let at = 0, before = path.length - 1; at < path.length; before = at, at += 1) {
      const [ax, ay] = path[at];
      const [bx, by] = path[before];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    return inside;
  };

  const chooseWithin = (path) => {
    const corners = path.map(([x, y]) => toMap(x, y));
    const all = corners.map(([x]) => x);
    const up = corners.map(([, y]) => y);
    const found = [];
    within(Math.min(...all), Math.min(...up), Math.max(...all), Math.max(...up), (point) => {
      if (isSeen(point) && sidesOf(corners, xs[point], ys[point])) found.push(point);
    });
    choose(found);
  };

  const choose = (found) => {
    const most = Number(root.dataset.most);
    const all = found.length;
    if (all === 0) {
      chosen = null;
      chosenList.hidden = true;
      tell(words.nobody);
      announce(words.nobody);
      paintSoon();
      return;
    }
    let taken = found;
    if (all > most) {
      const x = found.reduce((sum, point) => sum + xs[point], 0) / all;
      const y = found.reduce((sum, point) => sum + ys[point], 0) / all;
      const away = (point) => (xs[point] - x) ** 2 + (ys[point] - y) ** 2;
      taken = found.toSorted((one, other) => away(one) - away(other)).slice(0, most);
    }
    chosen = new Uint8Array(count);
    for (const point of taken) chosen[point] = 1;
    tell("");
    paintSoon();
    showChosen(taken, all);
  };

  const chooseNone = () => {
    chosen = null;
    lasso = null;
    chosenList.hidden = true;
    chosenList.replaceChildren();
    tell("");
    paintSoon();
  };

  const post = async (body) => {
    const response = await fetch(`${api}/selection`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? words.offline);
    return answer;
  };

  const listed = (passage, score) => {
    const point = pointOf(passage.chunk_id);
    const item = element(
      "li",
      {},
      element("a", { href: addressOf(passage), translate: false }, passage.title || words.untitled),
      ...(score === null ? [] : [" ", element("span", { class: "muted" }, score)]),
      element("span", { class: "entry-place", lang: passage.language, translate: false }, passage.text),
    );
    pointing(item, point);
    return item;
  };

  // What is pointed at in a list is marked on the map.
  const pointing = (item, point) => {
    if (point < 0) return;
    const mark = (which) => () => {
      hovered = which;
      paintOverSoon();
    };
    item.addEventListener("pointerenter", mark(point));
    item.addEventListener("pointerleave", mark(-1));
    item.addEventListener("focusin", mark(point));
    item.addEventListener("focusout", mark(-1));
  };

  const showChosen = (taken, all) => {
    const chunk_ids = taken.map(idOf);
    const told =
      all > taken.length
        ? fill(words.bounded, { all: amount(all), count: amount(taken.length) })
        : fill(words.chosen, { count: amount(taken.length) });
    const box = element("input", { type: "search", id: "map-within", maxLength: 2000, autocomplete: "off" });
    const form = element(
      "form",
      { class: "map-within", role: "search" },
      element("label", { class: "unseen", htmlFor: "map-within" }, words.within),
      box,
      element("button", {}, words.search),
      element("button", { type: "button", class: "quiet", onclick: chooseNone }, words.clear),
    );
    box.placeholder = words.within;
    const list = element("ol", { class: "map-found" });
    const more = element("button", { type: "button", hidden: true }, words.more);
    const problem = element("p", { class: "failed", hidden: true });
    let asked = 0;
    const load = async (offset) => {
      asked += 1;
      const own = asked;
      problem.hidden = true;
      try {
        const answer = await post({ chunk_ids, query: box.value.trim(), limit: ON_A_LIST, offset });
        if (own !== asked) return;
        if (offset === 0) list.replaceChildren();
        for (const each of answer.passages) {
          list.append(listed(each, each.score === null ? null : each.score.toFixed(3)));
        }
        more.hidden = !answer.more;
        more.onclick = () => load(offset + ON_A_LIST);
      } catch (error) {
        problem.textContent = error instanceof TypeError ? words.offline : error.message;
        problem.hidden = false;
      }
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      load(0);
    });
    chosenList.replaceChildren(element("h2", {}, told), form, problem, list, more);
    chosenList.hidden = false;
    announce(told);
    load(0);
  };

  // ---- A query among its hits.

  const showQuery = (x, y, points) => {
    hits = points.filter((point) => point >= 0);
    query = x === null ? null : { x, y };
    if (query) {
      const [px, py] = toPage(x, y);
      if (px < 0 || py < 0 || px > width || py > height) Object.assign(view, { x, y });
    }
    paintSoon();
  };

  const readQuery = () => {
    const list = hitList.querySelector("ol");
    if (!list) return;
    const items = [...list.querySelectorAll("li[data-chunk]")];
    const points = items.map((item) => pointOf(item.dataset.chunk));
    items.forEach((item, at) => pointing(item, points[at]));
    const placed = "x" in list.dataset;
    showQuery(placed ? Number(list.dataset.x) : null, placed ? Number(list.dataset.y) : null, points);
  };

  let asking = null;
  const ask = async (text) => {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const heading = element("h2", {}, words.wait);
    hitList.replaceChildren(heading);
    hitList.hidden = false;
    try {
      const address = new URL(`${api}/query`, location.origin);
      address.searchParams.set("q", text);
      address.searchParams.set("k", root.dataset.hits);
      const response = await fetch(address, { signal });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.detail ?? words.offline);
      const shown = answer.hits.filter((hit) => hit.on_map);
      heading.textContent = answer.hits.length
        ? fill(words.found, { count: amount(shown.length) })
        : words.nothing;
      const list = element("ol", { class: "map-found" });
      for (const hit of answer.hits) {
        const score = hit.score.toFixed(3) + (hit.on_map ? "" : ` · ${words.off}`);
        list.append(listed(hit, score));
      }
      hitList.append(list);
      showQuery(answer.x, answer.y, shown.map((hit) => pointOf(hit.chunk_id)));
      announce(heading.textContent);
      const here = new URL(location.href);
      here.searchParams.set("q", text);
      history.replaceState(history.state, "", here);
    } catch (error) {
      if (signal.aborted) return;
      heading.textContent = error instanceof TypeError ? words.offline : error.message;
    }
  };

  document.querySelector("[data-map-query]").addEventListener("submit", (event) => {
    const text = event.target.elements.namedItem("q").value.trim();
    event.preventDefault();
    if (text) {
      ask(text);
    } else {
      hitList.hidden = true;
      showQuery(null, null, []);
    }
  });

  // Another colour is another page; what is looked at stays, since the address has it.
  const colourForm = document.querySelector("[data-map-colours]");
  colourForm.querySelector("button").hidden = true;
  colourForm.addEventListener("change", () => {
    const address = new URL(location.href);
    for (const [name, value] of new FormData(colourForm)) {
      if (name !== "q") address.searchParams.set(name, value);
    }
    location.assign(address);
    // Where only what follows the # stays the same, browsers may not load anew by themselves.
    if (address.search === location.search) location.reload();
  });

  // ---- Pointers: one moves, two zoom, with Shift or the button they draw.

  const pointers = new Map();
  let pressed = null;
  const placeOf = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left - stage.clientLeft, event.clientY - box.top - stage.clientTop];
  };
  const ofMap = (event) => event.target === over || event.target === scene || event.target === stage;

  stage.addEventListener("pointerdown", (event) => {
    if (!ofMap(event) || event.button > 0) return;
    const place = placeOf(event);
    pointers.set(event.pointerId, place);
    stage.setPointerCapture(event.pointerId);
    if (pointers.size === 1) {
      pressed = { at: place, moved: false };
      if (lassoing || event.shiftKey) lasso = [place];
    } else {
      lasso = null;
      pressed = null;
    }
  });

  stage.addEventListener("pointermove", (event) => {
    const place = placeOf(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse" && ofMap(event)) hover(...place);
      return;
    }
    if (pressed && Math.hypot(place[0] - pressed.at[0], place[1] - pressed.at[1]) > CLICK_PX) {
      pressed.moved = true;
    }
    if (pointers.size === 2) {
      const [one, other] = [...pointers].map(([id, at]) => (id === event.pointerId ? place : at));
      const [was, wasOther] = [...pointers.values()];
      const now = Math.hypot(one[0] - other[0], one[1] - other[1]);
      const then = Math.hypot(was[0] - wasOther[0], was[1] - wasOther[1]);
      pan((one[0] + other[0] - was[0] - wasOther[0]) / 2, (one[1] + other[1] - was[1] - wasOther[1]) / 2);
      if (then > 0) zoomAt((one[0] + other[0]) / 2, (one[1] + other[1]) / 2, now / then);
    } else if (lasso) {
      lasso.push(place);
      paintOverSoon();
    } else if (pressed?.moved) {
      pan(place[0] - before[0], place[1] - before[1]);
    }
    pointers.set(event.pointerId, place);
  });

  const released = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    const drawn = lasso;
    const click = pressed && !pressed.moved && event.type === "pointerup";
    lasso = null;
    if (pointers.size === 0) pressed = null;
    if (drawn && drawn.length > 2 && event.type === "pointerup") {
      setLasso(false);
      chooseWithin(drawn);
    } else if (click) {
      const finger = event.pointerType !== "mouse";
      const point = nearest(...placeOf(event), finger ? NEAR_FINGER_PX : NEAR_PX);
      if (finger) {
        current = point;
        showCard(point, { kept: true, pause: 0 });
      } else if (point >= 0) {
        open(point, event.ctrlKey || event.metaKey);
      } else {
        current = -1;
        showCard(-1);
      }
    }
    paintOverSoon();
  };
  stage.addEventListener("pointerup", released);
  stage.addEventListener("pointercancel", released);
  stage.addEventListener("pointerleave", () => {
    if (hovered < 0) return;
    hovered = -1;
    if (current < 0) showCard(-1);
    paintOverSoon();
  });

  const hover = (px, py) => {
    const point = nearest(px, py, NEAR_PX);
    stage.classList.toggle("map-on-point", point >= 0 && !lassoing);
    if (point === hovered) return;
    hovered = point;
    showCard(point);
    paintOverSoon();
  };

  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      zoomAt(...placeOf(event), Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)));
    },
    { passive: false },
  );

  const setLasso = (on) => {
    lassoing = on;
    stage.classList.toggle("map-lassoing", on);
    root.querySelector("[data-map-do=lasso]").ariaPressed = String(on);
  };

  const act = {
    lasso: () => setLasso(!lassoing),
    in: () => zoomAt(width / 2, height / 2, ZOOM),
    out: () => zoomAt(width / 2, height / 2, 1 / ZOOM),
    fit: () => {
      Object.assign(view, fit());
      moved();
    },
  };
  for (const button of root.querySelectorAll("[data-map-do]")) {
    button.addEventListener("click", () => act[button.dataset.mapDo]());
  }

  // ---- Keys.

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // The next point that way: near, and not far to the side; looked for in ever larger squares.
  const towards = (from, [dx, dy]) => {
    const [px, py] = toPage(xs[from], ys[from]);
    for (let reach = 40; reach < 4 * Math.max(width, height) * Math.max(1, view.scale / view.fit); reach *= 2) {
      const far = reach / view.scale;
      let best = -1;
      let least = Infinity;
      within(xs[from] - far, ys[from] - far, xs[from] + far, ys[from] + far, (point) => {
        if (point === from || !isSeen(point)) return;
        const [x, y] = toPage(xs[point], ys[point]);
        const along = (x - px) * dx + (y - py) * dy;
        const aside = Math.abs((x - px) * dy) + Math.abs((y - py) * dx);
        if (along < STEP_PX || aside > along || along > reach) return;
        const cost = along + 2 * aside;
        if (cost < least) {
          least = cost;
          best = point;
        }
      });
      if (best >= 0) return best;
    }
    return -1;
  };

  const goTo = (point) => {
    if (point < 0) return;
    current = point;
    hovered = -1;
    const [x, y] = toPage(xs[point], ys[point]);
    if (x < PADDING_PX || y < PADDING_PX || x > width - PADDING_PX || y > height - PADDING_PX) {
      Object.assign(view, { x: xs[point], y: ys[point] });
      moved();
    }
    paintOverSoon();
    showCard(point, {
      then: (passage) => announce([passage.title || words.untitled, labelOf(point), passage.text].filter(Boolean).join(" · ")),
    });
  };

  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey || count === 0) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey) pan((-arrow[0] * width) / 5, (-arrow[1] * height) / 5);
    else if (arrow && current < 0) goTo(nearest(width / 2, height / 2, 4 * Math.max(width, height)));
    else if (arrow) goTo(towards(current, arrow));
    else if (event.key === "+" || event.key === "=") act.in();
    else if (event.key === "-") act.out();
    else if (event.key === "0") act.fit();
    else if (event.key === "Enter" && current >= 0) open(current);
    else if (event.key === " " && current >= 0) toggle(current);
    else if (event.key === "Escape") {
      setLasso(false);
      current = -1;
      showCard(-1);
      chooseNone();
    } else return;
    event.preventDefault();
  });

  const toggle = (point) => {
    const found = [];
    for (let each = 0; chosen && each < count; each += 1) {
      if (chosen[each] === 1 && each !== point) found.push(each);
    }
    if (!chosen || chosen[point] !== 1) found.push(point);
    if (found.length) choose(found);
    else chooseNone();
  };

  // ---- Loading.

  const take = (buffer) => {
    const head = new DataView(buffer);
    if (head.byteLength < 8 || head.getUint32(0, true) !== MAGIC) throw new Error(words.offline);
    const length = head.getUint32(4, true);
    const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    let at = 8 + length;
    ({ count, groups, ordered } = about);
    coloured = about.by !== "";
    xs = new Float32Array(buffer, at, count);
    at += 4 * count;
    ys = new Float32Array(buffer, at, count);
    at += 4 * count;
    codes = new Uint8Array(buffer, at, count);
    at += count + ((4 - (count % 4)) % 4);
    ids = new Uint8Array(buffer, at, 16 * count);
    sortIntoCells();
  };

  const fetched = async (address) => {
    const response = await fetch(address);
    if (!response.ok) throw new Error((await response.json()).detail);
    take(await response.arrayBuffer());
  };

  const load = async () => {
    tell(words.wait);
    const { href } = document.querySelector("link[rel=preload][as=fetch]");
    const [plain, by] = href.split("?");
    let about = "";
    try {
      await fetched(href);
    } catch (error) {
      const reason = error instanceof TypeError ? words.offline : error.message;
      about = fill(words.uncoloured, { reason });
      // What points should be coloured by may be what is not there; they are.
      const shown = by && !(error instanceof TypeError) && (await fetched(plain).then(() => true, () => false));
      if (!shown) {
        stage.classList.add("map-empty");
        tell(fill(words.failed, { reason }));
        return;
      }
    }
    tell(about);
    readColours();
    showLegend();
    root.querySelector(".map-buttons").hidden = false;
    resize();
    Object.assign(view, fit());
    remembered();
    paint();
    readQuery();
    performance.mark("map painted");
    root.dataset.painted = count;
    new ResizeObserver(resize).observe(stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      readColours();
      paint();
    });
  };

  load();
})();
