// FrequencyExplorer: three linked panels over one geometry. All curves are computed here, from formulas.js.

const DISTANCES = 96;

class FrequencyView extends View {
  constructor(context) {
    super(context, "Frequency explorer");
    this.models = this.get("models");
    this.legend = this.get("legend");
    this.cursor = null;
    this.frames = 0;
    this.controlsFollow = this.addControls();
    this.addPanels();
    this.checks = append(this.main, "fieldset", "clexlab-legend");
    append(this.checks, "legend", "", "methods");
    this.entries = this.legend.map((entry) => this.addEntry(entry));
    this.finding = append(this.main, "p", "clexlab-finding");
    this.spoken = append(this.main, "p", "clexlab-spoken");
    this.spoken.setAttribute("aria-live", "polite");
    this.redraw();
  }

  addControls() {
    const models = [{ value: "", text: "custom geometry" }, ...this.models.map(({ name }) => ({ value: name, text: name }))];
    const choose = (name) => {
      const model = this.models.find((candidate) => candidate.name === name);
      return model ? { preset: name, head_dim: model.head_dim, base: model.base, window: model.window } : { preset: "" };
    };
    const dimensions = [...new Set([16, 32, 64, 96, 128, 256, ...this.models.map((model) => model.head_dim)])].sort((a, b) => a - b);
    const log2 = { toPosition: Math.log2, toValue: (position) => 2 ** position };
    const base = { toPosition: Math.log10, toValue: (position) => Number((10 ** position).toPrecision(3)) };
    return [
      dropDown(this, this.controls, { name: "preset", label: "model", choices: models, choose }),
      slider(this, this.controls, { name: "factor", label: "factor t", min: 0, max: 5, step: 0.0625, ...log2, text: (t) => `${number(t)} ×` }),
      slider(this, this.controls, { name: "base", label: "base", min: 3, max: 8, step: 0.02, ...base, text: number }),
      slider(this, this.controls, { name: "window", label: "window L", min: 8, max: 18, step: 1, ...log2, text: (L) => `${number(L)} tokens` }),
      dropDown(this, this.controls, { name: "head_dim", label: "rotary dim", choices: dimensions.map((value) => ({ value, text: String(value) })) }),
    ];
  }

  addPanels() {
    const over = (kind, plot) => ({
      onPoint: (x) => this.point(x, kind, this[plot]),
      onStep: (step) => this.step(step, this[plot]),
    });
    this.wavelength = new Plot(this.panels, "Wavelength of every pair", over("pair", "wavelength"));
    this.stretch = new Plot(this.panels, "Stretch beyond training", over("pair", "stretch"));
    this.envelope = new Plot(this.panels, "Similarity envelope", over("distance", "envelope"));
  }

  addEntry(entry) {
    const label = append(this.checks, "label");
    const box = append(label, "input");
    Object.assign(box, { type: "checkbox", name: entry.name });
    box.addEventListener("change", () => {
      const others = this.get("methods").filter((name) => name !== entry.name);
      this.set({ methods: box.checked ? [...others, entry.name] : others });
    });
    label.append(swatch(entry));
    const text = append(label, "span", "", entry.title);
    return { ...entry, label, box, text };
  }

  // Moving one number of the geometry leaves the model that was chosen.
  set(values) {
    const leaves = ["head_dim", "base", "window"].some((name) => name in values) && !("preset" in values);
    super.set(leaves ? { ...values, preset: "" } : values);
  }

  // The cursor: a pair or a distance, and the plot it was set in, which shows the numbers.
  point(place, kind, plot) {
    this.cursor = place == null ? null : { kind, plot, [kind]: Math.round(place) };
    this.redraw();
  }

  step(step, plot) {
    const pairs = this.get("head_dim") / 2;
    const pair = this.cursor ? this.pairUnderCursor() + step : step > 0 ? 0 : pairs - 1;
    this.point(Math.min(pairs - 1, Math.max(0, pair)), "pair", plot === this.envelope ? this.wavelength : plot);
  }

  // A distance stands for the pair that makes one turn over it.
  pairUnderCursor() {
    if (this.cursor.kind === "pair") return Math.min(this.cursor.pair, this.data.base.length - 1);
    const gaps = this.data.base.map((theta) => Math.abs(Math.log(TURN / theta / this.cursor.distance)));
    return gaps.indexOf(Math.min(...gaps));
  }

  draw() {
    for (const follow of this.controlsFollow) follow();
    const state = Object.fromEntries(["preset", "head_dim", "base", "window", "factor", "methods"].map((name) => [name, this.get(name)]));
    const key = JSON.stringify(state);
    if (key !== this.key) {
      this.data = this.compute(state);
      this.key = key;
      this.state();
    }
    this.drawPanels();
    this.drawCursorTips();
    this.root.drawn = { ...state, frame: ++this.frames, slow: this.data.slow, curves: this.data.curves };
  }

  compute({ preset, head_dim, base, window, factor, methods }) {
    const geometry = { headDim: head_dim, base, window };
    const start = baseFrequencies(geometry);
    const own = this.models.find(({ name }) => name === preset)?.own ?? null;
    const target = factor * window;
    const distances = [...new Set(Array.from({ length: DISTANCES }, (_, i) => Math.round(target ** (i / (DISTANCES - 1)))))];
    const curves = [];
    const refused = {};
    for (const { name, title, colour, dash, width } of this.legend) {
      if (!methods.includes(name) || (name === "own" && !own)) continue;
      try {
        const frequencies = name === "own" ? Float64Array.from(own.inv_freq) : scaledFrequencies(name, geometry, factor);
        curves.push({
          name, title, colour, dash, width, frequencies,
          wavelengths: frequencies.map((theta) => TURN / theta),
          stretch: frequencies.map((theta, j) => (factor * theta) / start[j]),
          similarity: distances.map((distance) => similarity(frequencies, distance)),
        });
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        refused[name] = error.message;
      }
    }
    const critical = criticalPair(start, window);
    return { preset, base: start, window, factor, target, own, distances, curves, refused, critical, slow: start.length - critical };
  }

  // What changes with the data but not with the cursor: legend and sentence.
  state() {
    const { curves, refused, own, preset } = this.data;
    for (const { name, label, box, text, title } of this.entries) {
      box.checked = this.get("methods").includes(name);
      label.hidden = name === "own" && !own;
      text.textContent = name === "own" && own ? `${preset}'s own` : title;
      label.classList.toggle("clexlab-refused", name in refused);
      label.title = refused[name] ?? "";
    }
    this.finding.replaceChildren(...this.sentence());
    const drawn = curves.map(({ title }) => title).join(", ");
    this.wavelength.describe(`Wavelength in tokens against pair for ${drawn}; arrow keys move along the pairs`);
    this.stretch.describe(`Largest angle at the target length over trained angle against pair for ${drawn}; arrow keys move along the pairs`);
    this.envelope.describe(`Similarity against distance in tokens for ${drawn}; arrow keys move along the pairs`);
  }

  beyond(frequencies, factor) {
    const { base, critical } = this.data;
    return frequencies.filter((theta, j) => j >= critical && (factor * theta) / base[j] > 1 + 1e-6).length;
  }

  sentence() {
    const { base, slow, window, target, factor, curves, own, preset } = this.data;
    const bold = (text) => Object.assign(document.createElement("b"), { textContent: text });
    const parts = [bold(`${slow} of ${base.length}`), ` pairs never complete a turn within ${number(window)} tokens. Target length t·L = `, bold(number(target)), " tokens. "];
    const shown = curves.filter(({ name }) => name !== "own");
    if (slow && shown.length) {
      parts.push(`Of these ${slow}, turned past every angle of training at that length: `);
      shown.forEach(({ title, frequencies }, i) => parts.push(i ? ", " : "", `${title} `, bold(String(this.beyond(frequencies, factor)))));
      parts.push(". ");
    }
    if (own) {
      parts.push(`${preset} itself is published with ${own.title} scaling at factor ${number(own.factor)}, `);
      parts.push(`for ${number(own.factor * window)} tokens: there `, bold(String(this.beyond(Float64Array.from(own.inv_freq), own.factor))), ` of the ${slow} are past it.`);
    }
    return parts;
  }

  drawPanels() {
    const { base, curves, distances, factor, window, target, critical } = this.data;
    const pairs = Array.from(base, (_, j) => j);
    const pairAxis = { title: "pair j", min: 0, max: base.length - 1 };
    const band = { from: critical - 0.5, to: base.length - 1, text: "never a full turn" };
    const at = this.cursor && this.pairUnderCursor();
    const cursor = (values) => this.cursor && { at, dots: curves.map((curve) => ({ y: values(curve)[at], colour: curve.colour })) };
    const waves = curves.flatMap(({ wavelengths }) => [wavelengths[0], wavelengths[base.length - 1]]);
    const lines = (xs, values) => curves.map((curve) => ({ ...curve, xs, ys: values(curve) }));
    this.wavelength.show({
      x: pairAxis, band,
      y: { title: "wavelength (tokens)", log: 2, min: 4, max: 1.6 * Math.max(target, TURN / base[base.length - 1], ...waves) },
      lines: lines(pairs, (curve) => curve.wavelengths),
      guides: [{ value: window, dash: "solid", text: `window ${number(window)}` }, ...(factor > 1 ? [{ value: target, dash: "dash", text: `target ${number(target)}` }] : [])],
      cursor: cursor((curve) => curve.wavelengths),
    });
    const stretches = curves.flatMap(({ stretch }) => Array.from(stretch));
    this.stretch.show({
      x: pairAxis, band: { ...band, text: "" },
      y: { title: "largest angle ÷ trained angle", log: 2, min: Math.min(1, ...stretches) / 1.15, max: 1.15 * Math.max(2, factor, ...stretches) },
      lines: lines(pairs, (curve) => curve.stretch),
      guides: [{ value: 1, dash: "solid", text: "trained range" }],
      cursor: cursor((curve) => curve.stretch),
    });
    this.envelope.show({
      x: { title: "distance m (tokens)", log: 2, min: 1, max: target },
      y: { title: "|mean of exp(i·m·θ)|", min: 0, max: 1.02 },
      lines: lines(distances, (curve) => curve.similarity),
      cursor: this.envelopeCursor(at),
    });
  }

  // Over a distance: one line with a dot on every curve. Over a pair: its wavelength, once for each method.
  envelopeCursor(at) {
    if (!this.cursor) return null;
    const { curves } = this.data;
    if (this.cursor.kind === "distance") {
      const distance = this.cursor.distance;
      return { at: distance, dots: curves.map(({ frequencies, colour }) => ({ y: similarity(frequencies, distance), colour })) };
    }
    return { at: null, marks: curves.map(({ wavelengths, colour, dash }) => ({ at: wavelengths[at], colour, dash })) };
  }

  drawCursorTips() {
    for (const plot of [this.wavelength, this.stretch, this.envelope]) plot.hideTip();
    this.spoken.textContent = "";
    if (!this.cursor?.plot.x) return;
    const at = this.pairUnderCursor();
    const rows = (texts) => this.data.curves.map((curve) => ({ ...curve, name: curve.title, values: texts(curve) }));
    if (this.cursor.kind === "distance") {
      const { distance } = this.cursor;
      this.envelope.showTip(`${number(distance)} tokens apart`, ["similarity"], rows(({ frequencies }) => [similarity(frequencies, distance).toFixed(3)]));
      return;
    }
    const told = rows(({ wavelengths, stretch }) => [number(wavelengths[at]), `${number(stretch[at])} ×`]);
    this.cursor.plot.showTip(`pair ${at}`, ["tokens a turn", "stretch"], told);
    this.spoken.textContent = `Pair ${at}, tokens a turn and stretch: ${told.map(({ name, values }) => [name, ...values].join(" ")).join(", ")}`;
  }
}

function render(context) {
  const view = new FrequencyView(context);
  return () => view.close();
}

export default { render };
