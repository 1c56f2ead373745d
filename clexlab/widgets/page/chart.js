// LiveChart: panels of curves whose numbers come from the kernel, as float32 columns x0, y0, x1, y1, …

const BASES = { linear: 0, log2: 2, log10: 10 };
const LEAST_SHARE = 0.55;
const label = ({ title, unit }) => (unit ? `${title} (${unit})` : title);

// Smallest and largest number that has a place on the axis, in the axis' own measure (a logarithm, or the value).
function reach(columns, log) {
  let [low, high] = [Infinity, -Infinity];
  for (const values of columns) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return log ? [Math.log2(low), Math.log2(high)] : [low, high];
}

// A little room, then outwards to a round number: the axis stands still while a drag moves the data a little.
function roundedOut([low, high], log) {
  const room = 0.04 * (high - low) || (log ? 0.5 : Math.abs(high) / 10 || 1);
  const unit = log ? Math.log2(log) / 2 : niceStep((high - low + 2 * room) / 8);
  return [Math.floor((low - room) / unit) * unit, Math.ceil((high + room) / unit) * unit];
}

class ChartView extends Sheet {
  constructor(context) {
    super(context);
    this.specs = this.model.get("panels");
    this.curves = this.model.get("curves");
    this.columns = {};
    this.frames = 0;
    this.pointer = null;
    this.makeRoom(this.root);
    this.plots = this.specs.map(({ title }, panel) => {
      const over = { onPoint: (x) => this.point(panel, x), onStep: (step) => this.step(panel, step), height: this.model.get("height") };
      return new Plot(this.panels, title, over);
    });
    this.held = this.specs.map(() => null);
    this.legend = append(this.root, "div", "clexlab-legend");
    this.entries = this.curves.map((curve) => curve.legend && this.addEntry(curve));
    this.finding = append(this.root, "p", "clexlab-finding");
    this.finding.setAttribute("role", "status");
    this.spoken = append(this.root, "p", "clexlab-spoken");
    this.spoken.setAttribute("aria-live", "polite");
    this.redraw();
  }

  addEntry(curve) {
    const entry = append(this.legend, "label");
    entry.append(swatch(curve));
    return append(entry, "span");
  }

  nameEntry(entry, { name, passing, xs }) {
    if (entry.textContent !== name) entry.textContent = name;
    entry.parentElement.hidden = passing && !xs.length;
  }

  // Bytes arrive at any offset of a message; the copy is aligned, and made once for every update of the column.
  column(name) {
    const bytes = this.model.get(name);
    if (this.columns[name]?.bytes !== bytes) {
      const { buffer, byteOffset, byteLength } = bytes;
      this.columns[name] = { bytes, values: new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)) };
    }
    return this.columns[name].values;
  }

  draw() {
    this.specs = this.model.get("panels");
    const names = this.model.get("names");
    const lines = this.curves.map((curve, i) => ({ ...curve, name: names[i], xs: this.column(`x${i}`), ys: this.column(`y${i}`) }));
    const finding = this.model.get("finding");
    if (finding !== this.told) this.finding.innerHTML = this.told = finding;
    this.lines = this.specs.map((_, panel) => lines.filter((line) => line.panel === panel));
    this.entries.forEach((entry, i) => entry && this.nameEntry(entry, lines[i]));
    this.plots.forEach((plot, panel) => this.drawPanel(plot, panel));
    this.readOut();
    this.root.drawn = { frame: ++this.frames, finding, curves: lines.map(({ name, xs, ys }) => ({ name, xs, ys })) };
  }

  drawPanel(plot, panel) {
    const { title, x, y } = this.specs[panel];
    const lines = this.lines[panel];
    const axes = { x: this.along(x, lines), y: this.up(y, lines, panel) };
    // Without a single point the numbers of the axes would be made up.
    const [low, high] = reach(lines.map((line) => line.ys), 0);
    plot.show({ ...axes, lines, empty: !(low <= high), cursor: this.pointer?.panel === panel ? this.cursor(plot, panel) : null });
    plot.entitle(title);
    const told = lines.filter((line) => line.told && (line.xs.length || !line.passing)).map((line) => line.name);
    plot.describe(`${title}: ${label(y)} against ${label(x)} for ${told.join(", ")}. ${this.finding.textContent} Arrow keys move along ${x.title}.`);
  }

  // Along x exactly as far as the numbers reach.
  along(axis, lines) {
    const log = BASES[axis.scale];
    const found = reach(lines.map((line) => line.xs), log);
    return this.ends(axis, found[0] < found[1] ? found : [0, 1], log);
  }

  // Up y a rounded range, kept as long as the numbers fit and fill enough of it.
  up(axis, lines, panel) {
    const log = BASES[axis.scale];
    const [low, high] = reach(lines.map((line) => line.ys), log);
    const held = this.held[panel];
    const fits = held && low >= held[0] && high <= held[1] && high - low >= LEAST_SHARE * (held[1] - held[0]);
    if (!fits) this.held[panel] = low <= high ? roundedOut([low, high], log) : [0, 1];
    return this.ends(axis, this.held[panel], log);
  }

  ends(axis, [low, high], log) {
    const value = (place) => (log ? 2 ** place : place);
    return { title: label(axis), log, min: axis.low ?? value(low), max: axis.high ?? value(high) };
  }

  point(panel, x) {
    this.pointer = x == null ? null : { panel, x };
    this.redraw();
  }

  // One step along the curve with the most points.
  step(panel, step) {
    const { xs } = this.leading(panel);
    const last = xs.length - 1;
    const from = this.pointer?.panel === panel ? this.nearest(panel, this.pointer.x) + step : step > 0 ? 0 : last;
    this.point(panel, xs[Math.min(last, Math.max(0, from))]);
  }

  leading(panel) {
    return this.lines[panel].filter((line) => line.told).reduce((best, line) => (line.xs.length > best.xs.length ? line : best), { xs: [] });
  }

  nearest(panel, x) {
    const { pixel } = this.plots[panel].x;
    const gaps = Array.from(this.leading(panel).xs, (each) => Math.abs(pixel(each) - pixel(x)));
    return gaps.indexOf(Math.min(...gaps));
  }

  cursor(plot, panel) {
    if (!plot.x || !this.leading(panel).xs.length) return null;
    const at = this.leading(panel).xs[this.nearest(panel, this.pointer.x)];
    const read = this.lines[panel].filter((line) => line.told).map((line) => ({ ...line, y: this.valueAt(plot, line, at) }));
    return { at, dots: read.filter((line) => line.y != null) };
  }

  // Straight between two points of the curve as it is drawn; null where the curve has nothing to say.
  valueAt(plot, { xs, ys, width }, at) {
    for (let i = 0; i < xs.length; i++) {
      if (xs[i] === at) return Number.isFinite(ys[i]) ? ys[i] : null;
      if (!width || i + 1 === xs.length || !(xs[i] < at && at < xs[i + 1])) continue;
      const [from, to, x] = [xs[i], xs[i + 1], at].map(plot.x.pixel);
      const [start, end] = [ys[i], ys[i + 1]].map(plot.y.pixel);
      const value = plot.y.value(start + ((end - start) * (x - from)) / (to - from));
      return Number.isFinite(value) ? value : null;
    }
    return null;
  }

  readOut() {
    for (const plot of this.plots) plot.hideTip();
    const cursor = this.pointer && this.plots[this.pointer.panel].content?.cursor;
    if (!cursor) {
      this.spoken.textContent = "";
      return;
    }
    const { title, unit } = this.specs[this.pointer.panel].x;
    const heading = `${title} = ${number(cursor.at)} ${unit}`.trim();
    const rows = cursor.dots.map((line) => ({ ...line, values: [number(line.y).replace("-", "−")] }));
    this.plots[this.pointer.panel].showTip(heading, [""], rows);
    this.spoken.textContent = `${heading}: ${rows.map(({ name, values }) => `${name} ${values[0]}`).join(", ")}`;
  }
}

function render(context) {
  const view = new ChartView(context);
  return () => view.close();
}

export default { render };
