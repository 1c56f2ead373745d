// RotationExplorer: one pair's plane, the scores over distance, and which coordinates form the pair.

const QUERY = { name: "query", colour: "#0072B2", dash: "solid" };
const KEY = { name: "key", colour: "#D55E00", dash: "dash" };
const ONE = { title: "pair j alone", colour: "#009E73", dash: "solid" };
const ALL = { title: "all pairs", colour: "#CC79A7", dash: "dashdot" };
const PAIRINGS = [
  { value: "HalfSplit", text: "half-split (j, j + d/2)" },
  { value: "Interleaved", text: "interleaved (2j, 2j + 1)" },
];
const REACH = 64;

class RotationView extends View {
  constructor(context) {
    super(context, "Rotation explorer");
    this.frames = 0;
    this.controlsFollow = this.addControls();
    this.plane = new Surface(this.panels, "The plane of pair j", 270);
    const over = { onPoint: (x) => this.point(x), onStep: (step) => this.point((this.pointed ?? this.distance()) + step) };
    this.scores = new Plot(this.panels, "Score against distance", over);
    this.map = new Surface(this.panels, "Which coordinates form pair j", 270);
    this.legend = append(this.main, "div", "clexlab-legend");
    for (const { name, title, ...line } of [QUERY, KEY, ONE, ALL]) {
      const label = append(this.legend, "label");
      label.append(swatch(line));
      append(label, "span", "", title ?? name);
    }
    this.finding = append(this.main, "p", "clexlab-finding");
    this.pointed = null;
    this.redraw();
  }

  addControls() {
    const pairs = this.get("q").length / 2;
    const whole = (name, label, max, text) => slider(this, this.controls, { name, label, min: 0, max, step: 1, text });
    return [
      whole("query_position", "query m", REACH, (m) => `token ${m}`),
      whole("key_position", "key n", REACH, (n) => `token ${n}`),
      whole("shift", "shift both", 512, (c) => `+ ${c} tokens`),
      whole("pair", "pair j", pairs - 1, (j) => `${j} of 0…${pairs - 1}`),
      dropDown(this, this.controls, { name: "pairing", label: "pairing", choices: PAIRINGS }),
    ];
  }

  distance() {
    return this.get("query_position") - this.get("key_position");
  }

  point(distance) {
    this.pointed = distance == null ? null : Math.min(REACH, Math.max(-REACH, Math.round(distance)));
    this.redraw();
  }

  draw() {
    for (const follow of this.controlsFollow) follow();
    const names = ["q", "k", "base", "pair", "pairing", "query_position", "key_position", "shift"];
    const state = Object.fromEntries(names.map((name) => [name, this.get(name)]));
    const data = { ...state, ...this.compute(state) };
    this.drawPlane(data);
    this.drawScores(data);
    this.drawMap(data);
    this.finding.replaceChildren(...this.sentence(data));
    this.root.drawn = { ...data, frame: ++this.frames };
  }

  compute({ q, k, base, pair, pairing, query_position, key_position, shift }) {
    const frequencies = baseFrequencies({ headDim: q.length, base });
    const theta = frequencies[pair];
    const [first, second] = pairIndices(q.length, pair, pairing);
    const turned = (vector, position) => rotate([vector[first], vector[second]], position * theta);
    const query = turned(q, query_position + shift);
    const key = turned(k, key_position + shift);
    const distances = Array.from({ length: 2 * REACH + 1 }, (_, i) => i - REACH);
    return {
      frequencies, theta, query, key, distances,
      queryStart: turned(q, 0),
      keyStart: turned(k, 0),
      one: distances.map((distance) => pairScore(q, k, distance, theta, pair, pairing)),
      all: distances.map((distance) => score(q, k, distance, frequencies, pairing)),
      // From the arrows as they stand after the shift, so that "nothing changed" is measured and not assumed.
      now: query[0] * key[0] + query[1] * key[1],
    };
  }

  drawPlane({ query, key, queryStart, keyStart, pair, theta, query_position, key_position, shift }) {
    const context = this.plane.begin();
    if (!context) return;
    const { colours, width, height } = this.plane;
    const reach = Math.max(0.1, ...[queryStart, keyStart].map((arrow) => Math.hypot(...arrow)));
    const radius = Math.min(width, height) / 2 - 26;
    const place = ([a, b]) => [width / 2 + (a / reach) * radius, height / 2 - 8 - (b / reach) * radius];
    const origin = place([0, 0]);
    context.strokeStyle = colours.grid;
    context.lineWidth = 1;
    for (const arrow of [queryStart, keyStart]) {
      context.beginPath();
      context.arc(...origin, (Math.hypot(...arrow) / reach) * radius, 0, 2 * Math.PI);
      context.stroke();
    }
    for (const [from, to] of [[[-reach, 0], [reach, 0]], [[0, -reach], [0, reach]]]) line(context, place(from), place(to));
    const arrows = [
      { ...QUERY, start: queryStart, end: query, angle: (query_position + shift) * theta, text: `q at ${query_position + shift}` },
      { ...KEY, start: keyStart, end: key, angle: (key_position + shift) * theta, text: `k at ${key_position + shift}` },
    ];
    for (const { colour, dash, start, end, angle, text } of arrows) {
      context.strokeStyle = context.fillStyle = colour;
      context.globalAlpha = 0.5;
      context.lineWidth = 1.5;
      context.setLineDash(DASHES.dot);
      line(context, origin, place(start));
      this.sweep(context, origin, (Math.hypot(...start) / reach) * radius * 0.45, Math.atan2(start[1], start[0]), angle);
      context.globalAlpha = 1;
      context.setLineDash(DASHES[dash]);
      context.lineWidth = 3;
      arrow(context, origin, place(end));
      this.label(context, text, place(end), origin);
    }
    this.plane.font(context, 12.5);
    context.fillStyle = colours.text;
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText(`pair ${pair}: θ = ${number(theta)} rad per token`, width / 2, height - 4);
    this.plane.describe(arrows.map(({ text, angle }) => `${text} turned by ${number(angle)} radians`).join(", "));
  }

  // The angle travelled; a full circle stands for all completed turns.
  sweep(context, [x, y], radius, from, angle) {
    context.beginPath();
    context.arc(x, y, radius, -from, -(from + Math.min(angle, 2 * Math.PI)), true);
    context.stroke();
  }

  label(context, text, [x, y], [x0, y0]) {
    const away = Math.hypot(x - x0, y - y0) || 1;
    this.plane.font(context, 12.5, "600");
    context.textAlign = x < x0 ? "right" : "left";
    context.textBaseline = "middle";
    const half = context.measureText(text).width;
    const wanted = x + ((x - x0) / away) * 8;
    const inside = x < x0 ? Math.max(wanted, half + 2) : Math.min(wanted, this.plane.width - half - 2);
    context.strokeStyle = this.plane.colours.paper;
    context.setLineDash([]);
    context.lineWidth = 3;
    const height = y + ((y - y0) / away) * 12;
    context.strokeText(text, inside, height);
    context.fillText(text, inside, height);
  }

  drawScores({ distances, one, all }) {
    const [low, high] = [Math.min(...one, ...all), Math.max(...one, ...all)];
    const room = 0.08 * (high - low) || 1;
    const at = this.pointed ?? this.distance();
    const row = at + REACH;
    this.scores.show({
      x: { title: "distance m − n (tokens)", min: -REACH, max: REACH },
      y: { title: "score ⟨q, k⟩", min: low - room, max: high + room },
      lines: [{ ...ALL, xs: distances, ys: all }, { ...ONE, xs: distances, ys: one }],
      cursor: { at, dots: [{ y: all[row], colour: ALL.colour }, { y: one[row], colour: ONE.colour }] },
    });
    this.scores.describe(`Score at distance ${at}: pair alone ${number(one[row])}, all pairs ${number(all[row])}; arrow keys move along the distance`);
    this.scores.hideTip();
    if (this.pointed == null || !this.scores.x) return;
    const rows = [{ ...ONE, values: [one[row].toFixed(3)] }, { ...ALL, values: [all[row].toFixed(3)] }];
    this.scores.showTip(`distance ${at}`, ["score"], rows.map((entry) => ({ ...entry, name: entry.title })));
  }

  // The same coordinates twice; arcs join the two of the chosen pair, strong in the pairing in use.
  drawMap({ q, pair, pairing }) {
    const context = this.map.begin();
    if (!context) return;
    const { colours, width } = this.map;
    const cell = Math.min(26, (width - 24) / q.length);
    const left = (width - cell * q.length) / 2;
    PAIRINGS.forEach(({ value, text }, i) => {
      const used = value === pairing;
      const top = 62 + i * 118;
      this.map.font(context, 12.5, used ? "600" : "");
      context.fillStyle = used ? colours.text : colours.faint;
      context.textAlign = "center";
      context.textBaseline = "top";
      context.fillText(used ? `${text}, in use` : text, width / 2, top + 32);
      this.cells(context, { count: q.length, cell, left, top, used, chosen: pairIndices(q.length, pair, value) });
      for (let j = 0; j < q.length / 2; j++) if (j !== pair) this.arc(context, { cell, left, top, ends: pairIndices(q.length, j, value), chosen: false, used });
      this.arc(context, { cell, left, top, ends: pairIndices(q.length, pair, value), chosen: true, used });
    });
    const words = PAIRINGS.map(({ value, text }) => `${text}: coordinates ${pairIndices(q.length, pair, value).join(" and ")}`);
    this.map.describe(`Pair ${pair} in ${words.join("; ")}`);
  }

  cells(context, { count, cell, left, top, used, chosen }) {
    const { colours } = this.map;
    this.map.font(context, Math.min(11, cell * 0.6));
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = 0; i < count; i++) {
      const taken = chosen.includes(i);
      context.fillStyle = taken ? (used ? ONE.colour : colours.faint) : colours.band;
      context.fillRect(left + i * cell + 0.5, top, Math.max(1, cell - 1), 22);
      if (cell < 13) continue;
      context.fillStyle = taken ? colours.paper : colours.text;
      context.fillText(String(i), left + (i + 0.5) * cell, top + 11.5);
    }
  }

  arc(context, { cell, left, top, ends, chosen, used }) {
    const [from, to] = ends.map((i) => left + (i + 0.5) * cell);
    const rise = Math.min(46, 12 + (to - from) / 5);
    context.strokeStyle = chosen ? (used ? ONE.colour : this.map.colours.faint) : this.map.colours.grid;
    context.lineWidth = chosen ? 2.5 : 1;
    context.setLineDash(chosen && !used ? DASHES.dash : []);
    context.beginPath();
    context.moveTo(from, top - 2);
    context.bezierCurveTo(from, top - rise, to, top - rise, to, top - 2);
    context.stroke();
    context.setLineDash([]);
  }

  sentence({ pair, theta, query_position, key_position, shift, one, all, now }) {
    const row = query_position - key_position + REACH;
    const bold = (text) => Object.assign(document.createElement("b"), { textContent: text });
    const signed = (value) => value.toFixed(3).replace("-", "−");
    const parts = [
      `Query at token ${query_position + shift}, key at token ${key_position + shift}: distance `, bold(signed(query_position - key_position).split(".")[0]),
      `. Pair ${pair} adds `, bold(signed(one[row])), " to a score of ", bold(signed(all[row])), ". ",
    ];
    if (shift) {
      parts.push(`The shift by ${shift} turned both arrows by ${number(shift * theta)} rad; their product is ${signed(now)}, as before: `);
      parts.push("only the distance counts.");
    } else parts.push("Shift both tokens: the arrows turn together and the score stays.");
    return parts;
  }
}

function line(context, from, to) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function arrow(context, [x0, y0], [x1, y1]) {
  const direction = Math.atan2(y1 - y0, x1 - x0);
  const head = Math.min(12, Math.hypot(x1 - x0, y1 - y0));
  line(context, [x0, y0], [x1 - head * 0.7 * Math.cos(direction), y1 - head * 0.7 * Math.sin(direction)]);
  context.setLineDash([]);
  context.beginPath();
  context.moveTo(x1, y1);
  for (const side of [-0.42, 0.42]) context.lineTo(x1 - head * Math.cos(direction + side), y1 - head * Math.sin(direction + side));
  context.fill();
}

function render(context) {
  const view = new RotationView(context);
  return () => view.close();
}

export default { render };
