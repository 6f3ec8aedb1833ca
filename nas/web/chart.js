// Level, milliseconds and charge of the last minute, one above or beside the other on one axis of time.

const SPAN_S = 60;
const ROW = { height: 96, left: 46, right: 8, top: 26, bottom: 8, gap: 20 };
const AXIS = 18;
const WIDE = 640;
const QUANTILE = 0.9; // of the milliseconds; those far above it, as of first calls, run along the edge
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, parent, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

// The next of 1, 2, 5, 10, … from `value` on.
function roundedUp(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1e-6)));
  return Number(([1, 2, 5, 10].find((step) => step * unit >= value * 0.999) * unit).toPrecision(1));
}

export class Chart {
  #host;
  #points = [];
  #panels = [];
  #width = 0;
  #levels;

  constructor(host, levels) {
    this.#host = host;
    this.#levels = levels;
    new ResizeObserver(([{ contentRect }]) => this.#lay(Math.round(contentRect.width))).observe(host);
  }

  // What was so at a time in seconds.
  add(point) {
    this.#points.push(point);
    const old = this.#points.findIndex(({ time }) => time >= point.time - SPAN_S - 1);
    this.#points.splice(0, old);
    this.#draw();
  }

  #lay(width) {
    if (width === this.#width) return;
    this.#width = width;
    const beside = width >= WIDE;
    const across = beside ? (width - 2 * ROW.gap) / 3 : width;
    const height = beside ? ROW.height + AXIS : 3 * ROW.height + AXIS;
    const svg = document.createElementNS(SVG, "svg");
    const label = "Level, milliseconds and battery charge over the last minute";
    const attributes = { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label };
    for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
    this.#panels = ["Level", "Milliseconds", "Charge"].map((name, place) => {
      const [x, y] = beside ? [place * (across + ROW.gap), 0] : [0, place * ROW.height];
      return this.#panel(svg, { name, x, y, width: across, axis: beside || place === 2 });
    });
    this.#host.replaceChildren(svg);
    this.#draw();
  }

  #panel(svg, { name, x, y, width, axis }) {
    const [left, right] = [x + ROW.left, x + width - ROW.right];
    const [top, bottom] = [y + ROW.top, y + ROW.height - ROW.bottom];
    element("text", { x, y: y + 12, class: "name" }, svg, name);
    const area = element("path", { class: "area" }, svg);
    element("path", { class: "grid", d: `M${left} ${top}H${right}M${left} ${bottom}H${right}` }, svg);
    const line = element("path", { class: "line" }, svg);
    const at = (height) => ({ x: left - 8, y: height + 4, "text-anchor": "end" });
    const [high, low] = [element("text", at(top), svg), element("text", at(bottom), svg)];
    if (axis) {
      const below = y + ROW.height + AXIS - 6;
      element("text", { x: left, y: below }, svg, `${SPAN_S} s ago`);
      element("text", { x: right, y: below, "text-anchor": "end" }, svg, "now");
    }
    return { area, line, high, low, left, right, top, bottom };
  }

  #draw() {
    if (!this.#points.length || !this.#panels.length) return;
    const times = this.#points.map(({ ms }) => ms).sort((a, b) => a - b);
    const most = times[Math.floor(QUANTILE * (times.length - 1))];
    const [level, ms, charge] = this.#panels;
    this.#plot(level, ({ level: value }) => value, { most: Math.max(1, this.#levels - 1), stepped: true });
    this.#plot(ms, ({ ms: value }) => value, { most: roundedUp(1.5 * most) });
    this.#plot(charge, ({ charge: value }) => 100 * value, { most: 100, unit: " %", filled: true });
  }

  #plot(panel, value, { most, unit = "", stepped = false, filled = false }) {
    const { area, line, high, low, left, right, top, bottom } = panel;
    const now = this.#points.at(-1).time;
    const x = ({ time }) => Math.max(left, right - ((now - time) / SPAN_S) * (right - left)).toFixed(1);
    const y = (point) => (bottom - Math.min(1, value(point) / most) * (bottom - top)).toFixed(1);
    const [first, ...rest] = this.#points;
    const steps = rest.map((point) => (stepped ? `H${x(point)}V${y(point)}` : `L${x(point)} ${y(point)}`));
    const drawn = `M${x(first)} ${y(first)}${steps.join("")}`;
    line.setAttribute("d", drawn);
    if (filled) area.setAttribute("d", `${drawn}V${bottom}H${x(first)}Z`);
    high.textContent = `${most}${unit}`;
    low.textContent = `0${unit}`;
  }
}
