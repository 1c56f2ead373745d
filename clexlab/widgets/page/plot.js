// A line plot: axes with units, guides, a band, curves, markers, and a cursor that can be moved by pointer and by keyboard.

const MARGIN = { left: 58, right: 12, top: 8, bottom: 42 };

const number = (value) => {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7) return `${(value / 1e6).toLocaleString("en-US", { maximumFractionDigits: 0 })} M`;
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(size >= 100 ? 4 : 3)));
};

// Ticks of a log2 axis as powers of two: 64, 4k, 256k, 16M (k = 1024 tokens).
function powerOfTwo(exponent) {
  const [unit, rest] = exponent >= 30 ? ["G", exponent - 30] : exponent >= 20 ? ["M", exponent - 20] : exponent >= 10 ? ["k", exponent - 10] : ["", exponent];
  return `${number(2 ** rest)}${unit}`;
}

const raised = (exponent) => String(exponent).replace(/./g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
const powerOfTen = (exponent) => (exponent === 0 ? "1" : exponent === 1 ? "10" : `10${raised(exponent)}`);

// `log` is the base of a logarithmic axis, 2 or 10; without it the axis is linear.
function ticks({ min, max, log }, room) {
  if (log) {
    const unit = Math.log2(log);
    const [low, high] = [Math.ceil(Math.log2(min) / unit - 1e-9), Math.floor(Math.log2(max) / unit + 1e-9)];
    const step = Math.max(1, Math.ceil((high - low) / Math.max(2, room)));
    const exponents = [];
    for (let exponent = Math.ceil(low / step) * step; exponent <= high; exponent += step) exponents.push(exponent);
    return exponents.map((exponent) => ({ value: log ** exponent, text: log === 10 ? powerOfTen(exponent) : powerOfTwo(exponent) }));
  }
  // Rows of a matrix count downwards: their axis has its smaller end on top.
  const [low, high] = min < max ? [min, max] : [max, min];
  const step = niceStep((high - low) / Math.max(2, room));
  const values = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) values.push(k * step);
  return values.map((value) => ({ value, text: number(Number(value.toPrecision(6))).replace("-", "−") }));
}

// The next of 1, 2, 5, 10, 20, …
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((nice) => nice * power >= rough);
}

function scale({ min, max, log }, from, to) {
  const map = log ? Math.log2 : (value) => value;
  const [low, high] = [map(min), map(max)];
  const pixel = (value) => from + ((map(value) - low) / (high - low)) * (to - from);
  const value = (pixel) => {
    const position = low + ((pixel - from) / (to - from)) * (high - low);
    return log ? 2 ** position : position;
  };
  return { pixel, value };
}

class Plot extends Surface {
  // `onPoint(value | null)` gets the place on the x axis under the pointer, `onStep(±1)` an arrow key.
  constructor(host, title, { onPoint, onStep, height = 270 }) {
    super(host, title, height);
    this.tip = append(this.figure, "div", "clexlab-tip");
    this.tip.hidden = true;
    this.canvas.tabIndex = 0;
    this.canvas.addEventListener("pointermove", (event) => onPoint(this.valueAt(event.offsetX)));
    this.canvas.addEventListener("pointerleave", () => onPoint(null));
    this.canvas.addEventListener("blur", () => onPoint(null));
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 8, PageDown: -8 }[event.key];
      if (!step && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      step ? onStep(step) : onPoint(null);
    });
  }

  valueAt(pixel) {
    if (!this.x || pixel < MARGIN.left - 8 || pixel > this.width - MARGIN.right + 8) return null;
    const { min, max } = this.content.x;
    return Math.min(max, Math.max(min, this.x.value(pixel)));
  }

  // content: {x, y: {title, min, max, log}, lines: [{xs, ys, colour, dash, width, opacity, marker, sign}], guides, band, cursor, empty}
  show(content) {
    this.content = content;
    const context = this.begin();
    if (!context) return;
    const [right, bottom] = [this.width - MARGIN.right, this.height - MARGIN.bottom];
    this.x = scale(content.x, MARGIN.left, right);
    this.y = scale(content.y, bottom, MARGIN.top);
    this.drawBand(context, right, bottom);
    this.drawAxes(context, right, bottom);
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, MARGIN.top - 1, right - MARGIN.left, bottom - MARGIN.top + 2);
    context.clip();
    for (const line of content.lines) this.drawLine(context, line);
    for (const guide of content.guides ?? []) this.drawGuide(context, guide, right);
    context.restore();
    if (content.cursor) this.drawCursor(context, content.cursor, bottom);
  }

  drawBand(context, right, bottom) {
    const { band } = this.content;
    if (!band || band.from >= band.to) return;
    const from = Math.max(MARGIN.left, this.x.pixel(band.from));
    context.fillStyle = this.colours.band;
    context.fillRect(from, MARGIN.top, right - from, bottom - MARGIN.top);
    this.font(context, 11);
    if (right - from < context.measureText(band.text).width + 8) return;
    context.fillStyle = this.colours.faint;
    context.textAlign = "right";
    context.textBaseline = "bottom";
    context.fillText(band.text, right - 4, bottom - 4);
  }

  drawAxes(context, right, bottom) {
    const { x, y, empty } = this.content;
    this.font(context, 11.5);
    context.lineWidth = 1;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of ticks(x, (right - MARGIN.left) / 52)) {
      const place = Math.round(this.x.pixel(tick.value)) + 0.5;
      this.rule(context, place, MARGIN.top, place, bottom);
      context.fillStyle = this.colours.text;
      // The last number may not hang over the edge.
      if (!empty) context.fillText(tick.text, Math.min(place, this.width - context.measureText(tick.text).width / 2), bottom + 6);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of ticks(y, (bottom - MARGIN.top) / 34)) {
      const place = Math.round(this.y.pixel(tick.value)) + 0.5;
      this.rule(context, MARGIN.left, place, right, place);
      context.fillStyle = this.colours.text;
      if (!empty) context.fillText(tick.text, MARGIN.left - 7, place);
    }
    context.strokeStyle = this.colours.faint;
    context.strokeRect(MARGIN.left + 0.5, MARGIN.top + 0.5, 0, bottom - MARGIN.top);
    context.strokeRect(MARGIN.left + 0.5, bottom + 0.5, right - MARGIN.left, 0);
    this.font(context, 12.5);
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText(x.title, (MARGIN.left + right) / 2, this.height - 4);
    context.save();
    context.translate(13, (MARGIN.top + bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "middle";
    context.fillText(y.title, 0, 0);
    context.restore();
  }

  rule(context, x0, y0, x1, y1) {
    context.strokeStyle = this.colours.grid;
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }

  // The pen lifts where a number has no place on the axis: NaN between the lines of one curve, 0 on a logarithmic axis.
  drawLine(context, { xs, ys, colour, dash, width = 2, opacity = 1, marker = 0, sign = "diamond", fill = false }) {
    context.strokeStyle = context.fillStyle = colour ?? this.colours.text;
    context.globalAlpha = opacity;
    if (width || fill) {
      context.lineWidth = width;
      context.setLineDash(DASHES[dash] ?? []);
      context.beginPath();
      let down = false;
      for (let i = 0; i < xs.length; i++) {
        const x = this.x.pixel(xs[i]);
        const y = this.y.pixel(ys[i]);
        const placed = Number.isFinite(x) && Number.isFinite(y);
        if (placed) down ? context.lineTo(x, y) : context.moveTo(x, y);
        down = placed;
      }
      if (fill) context.fill();
      if (width) context.stroke();
      context.setLineDash([]);
    }
    if (marker) for (let i = 0; i < xs.length; i++) this[sign](context, this.x.pixel(xs[i]), this.y.pixel(ys[i]), marker / 2);
    context.globalAlpha = 1;
  }

  diamond(context, x, y, reach) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    context.beginPath();
    context.moveTo(x, y - reach);
    for (const [across, down] of [[reach, 0], [0, reach], [-reach, 0]]) context.lineTo(x + across, y + down);
    context.fill();
  }

  cross(context, x, y, reach) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const side of [1, -1]) {
      context.moveTo(x - reach, y - side * reach);
      context.lineTo(x + reach, y + side * reach);
    }
    context.stroke();
  }

  drawGuide(context, { value, dash, text }, right) {
    const place = Math.round(this.y.pixel(value)) + 0.5;
    context.strokeStyle = this.colours.faint;
    context.lineWidth = 1;
    context.setLineDash(DASHES[dash] ?? []);
    context.beginPath();
    context.moveTo(MARGIN.left, place);
    context.lineTo(right, place);
    context.stroke();
    context.setLineDash([]);
    this.font(context, 11);
    context.fillStyle = this.colours.text;
    context.textAlign = "left";
    context.textBaseline = "bottom";
    this.haloed(context, text, MARGIN.left + 6, place - 2);
  }

  // Letters stay readable where a curve runs behind them.
  haloed(context, text, x, y) {
    context.strokeStyle = this.colours.paper;
    context.lineWidth = 3;
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }

  // cursor: {at, dots: [{y, colour}], marks: [{at, colour, dash}]}
  drawCursor(context, { at, dots = [], marks = [] }, bottom) {
    for (const mark of [{ at, dash: "solid" }, ...marks]) {
      if (mark.at == null) continue;
      const place = this.x.pixel(mark.at);
      if (place < MARGIN.left || place > this.width - MARGIN.right + 1) continue;
      context.strokeStyle = mark.colour ?? this.colours.text;
      context.lineWidth = mark.colour ? 1.5 : 1;
      context.setLineDash(DASHES[mark.dash] ?? []);
      context.beginPath();
      context.moveTo(place, MARGIN.top);
      context.lineTo(place, bottom);
      context.stroke();
    }
    context.setLineDash([]);
    for (const dot of dots) {
      context.beginPath();
      context.arc(this.x.pixel(at), this.y.pixel(dot.y), 4.5, 0, 2 * Math.PI);
      context.fillStyle = dot.colour ?? this.colours.text;
      context.fill();
      context.strokeStyle = this.colours.paper;
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  // The read-out beside the cursor: a table with one row a curve, {name, values, colour, dash}.
  showTip(heading, columns, rows) {
    this.tip.replaceChildren();
    const table = append(this.tip, "table");
    const head = append(table, "tr");
    append(head, "th", "", heading).colSpan = 2;
    for (const column of columns) append(head, "td", "", column);
    for (const row of rows) {
      const line = append(table, "tr");
      append(line, "td").append(swatch(row));
      append(line, "td", "", row.name);
      for (const value of row.values) append(line, "td", "", value);
    }
    this.tip.hidden = false;
    const place = this.x.pixel(this.content.cursor.at);
    const wanted = place > this.width / 2 ? place - 12 - this.tip.offsetWidth : place + 12;
    // Inside the explorer, also where it is narrow: what hangs over its edge is cut off by the cell.
    const [outer, inner] = [this.figure.closest(".clexlab"), this.figure].map((element) => element.getBoundingClientRect());
    const [least, most] = [outer.left - inner.left, outer.right - inner.left - this.tip.offsetWidth];
    this.tip.style.left = `${Math.max(least, Math.min(wanted, most))}px`;
  }

  hideTip() {
    this.tip.hidden = true;
  }
}

// A short piece of a curve for legends and read-outs, with its colour, dash and marker.
function swatch({ colour, dash, width = 2, marker = 0, sign = "diamond", fill = false }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "clexlab-swatch");
  svg.setAttribute("viewBox", "0 0 34 8");
  svg.setAttribute("aria-hidden", "true");
  const add = (tag, attributes) => {
    const element = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag));
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  };
  const stroke = colour ?? "currentColor";
  if (fill && !width) add("rect", { x: 5, y: 0, width: 24, height: 8, fill: stroke });
  if (width) add("line", { x1: 0, x2: 34, y1: 4, y2: 4, stroke, "stroke-width": width + 0.5, "stroke-dasharray": (DASHES[dash] ?? []).join(" ") });
  if (marker && sign === "diamond") add("path", { d: "M17 0 L21 4 L17 8 L13 4 Z", fill: stroke });
  if (marker && sign === "cross") add("path", { d: "M13.5 0.5 L20.5 7.5 M20.5 0.5 L13.5 7.5", stroke, "stroke-width": 1.5 });
  return svg;
}
