// Labelled native inputs bound to the widget's traits, and the frame every explorer stands in.

// A range input for trait `name`; `toPosition`/`toValue` map the trait to the slider's own scale and back.
function slider(view, host, { name, label, min, max, step, text, toPosition = (v) => v, toValue = (p) => p }) {
  const row = append(host, "label", "clexlab-row");
  append(row, "span", "", label);
  const input = append(row, "input");
  Object.assign(input, { type: "range", min, max, step, name });
  input.setAttribute("aria-label", label);
  const output = append(row, "output");
  input.addEventListener("input", () => view.set({ [name]: toValue(Number(input.value)) }));
  return () => {
    const value = view.get(name);
    const position = toPosition(value);
    // While it is dragged the slider already stands where the value came from.
    if (Math.abs(Number(input.value) - position) >= step / 2) input.value = position;
    input.style.setProperty("--filled", `${(100 * (input.value - min)) / (max - min)}%`);
    output.textContent = text(value);
    input.setAttribute("aria-valuetext", text(value));
  };
}

function dropDown(view, host, { name, label, choices, choose = (value) => ({ [name]: value }) }) {
  const row = append(host, "label", "clexlab-row clexlab-select");
  append(row, "span", "", label);
  const select = append(row, "select");
  select.name = name;
  select.setAttribute("aria-label", label);
  for (const { value, text } of choices) {
    const option = append(select, "option", "", text);
    option.value = String(value);
  }
  select.addEventListener("change", () => view.set(choose(choices[select.selectedIndex].value)));
  return () => {
    const value = String(view.get(name));
    const known = choices.some((choice) => String(choice.value) === value);
    if (!known) {
      choices.push({ value: view.get(name), text: value });
      append(select, "option", "", value).value = value;
    }
    select.value = value;
  };
}

// A drawing of a widget's traits: one redraw a frame, what fails shown in the widget.
class Sheet {
  constructor({ model, el }) {
    this.model = model;
    this.root = append(el, "div", "clexlab");
    this.alert = append(this.root, "div", "clexlab-error");
    this.alert.setAttribute("role", "alert");
    this.alert.hidden = true;
    this.redraw = oncePerFrame(() => this.frame());
    this.onChange = () => this.sending || this.redraw();
    model.on("change", this.onChange);
  }

  makeRoom(host) {
    this.panels = append(host, "div", "clexlab-panels");
    this.unwatch = watchSurroundings(this.panels, this.redraw);
  }

  frame() {
    try {
      this.draw();
      this.report(this.model.get("error"));
    } catch (error) {
      this.report(`The page could not draw this: ${error.message}`);
      console.error(error);
    }
  }

  report(text = "") {
    if (this.alert.textContent !== text) this.alert.textContent = text;
    this.alert.hidden = !text;
  }

  close() {
    this.unwatch();
    this.model.off("change", this.onChange);
  }
}

// A sheet with native controls beside it: traits travel both ways.
class View extends Sheet {
  constructor(context, heading) {
    super(context);
    this.body = append(this.root, "div", "clexlab-body");
    this.controls = append(this.body, "div", "clexlab-controls");
    append(this.controls, "h3", "", heading);
    this.main = append(this.body, "div", "clexlab-main");
    this.pending = {};
    this.makeRoom(this.main);
  }

  get(name) {
    return name in this.pending ? this.pending[name] : this.model.get(name);
  }

  // New values are drawn in the next frame and sent to the kernel once, after it.
  set(values) {
    Object.assign(this.pending, values);
    this.redraw();
  }

  frame() {
    super.frame();
    if (!Object.keys(this.pending).length) return;
    this.sending = true;
    for (const [name, value] of Object.entries(this.pending)) this.model.set(name, value);
    this.sending = false;
    this.pending = {};
    this.model.save_changes();
  }
}
