// A canvas that is sharp on every screen, follows its width and takes its colours from Lab's theme.

const DASHES = { solid: [], dash: [8, 5], dot: [2, 3], dashdot: [9, 3, 2, 3], longdash: [15, 5] };

function themeColours(element) {
  const style = getComputedStyle(element);
  const read = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
  return {
    text: read("--jp-ui-font-color1", "#212121"),
    faint: read("--jp-ui-font-color2", "#616161"),
    grid: "rgba(127, 127, 127, 0.22)",
    band: "rgba(127, 127, 127, 0.13)",
    paper: read("--jp-layout-color0", "#ffffff"),
    font: read("--jp-ui-font-family", "system-ui, sans-serif"),
  };
}

class Surface {
  constructor(host, title, height) {
    this.height = height;
    this.figure = append(host, "figure", "clexlab-panel");
    this.title = append(this.figure, "figcaption", "", title);
    this.canvas = append(this.figure, "canvas");
    this.canvas.setAttribute("role", "img");
  }

  entitle(text) {
    if (this.title.textContent !== text) this.title.textContent = text;
  }

  describe(text) {
    this.canvas.setAttribute("aria-label", text);
  }

  // Sizes the bitmap to the panel and returns a cleared context in CSS pixels; null while the panel has no width.
  begin() {
    const width = this.figure.clientWidth;
    if (!width) return null;
    const density = window.devicePixelRatio || 1;
    const [columns, rows] = [Math.round(width * density), Math.round(this.height * density)];
    if (this.canvas.width !== columns || this.canvas.height !== rows) {
      this.canvas.width = columns;
      this.canvas.height = rows;
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${this.height}px`;
    }
    this.width = width;
    this.colours = themeColours(this.canvas);
    const context = this.canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, this.height);
    context.lineJoin = "round";
    return context;
  }

  font(context, size, weight = "") {
    context.font = `${weight} ${size}px ${this.colours.font}`;
  }
}

function append(host, tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  // Lab takes arrow keys for its own shortcuts (fold a heading, next cell) unless the focused element itself objects.
  if (["input", "select", "canvas"].includes(tag)) element.dataset.lmSuppressShortcuts = "true";
  return host.appendChild(element);
}

// Runs `task` at most once a frame, however often it is asked for: a fast drag never queues work, its last value wins.
function oncePerFrame(task) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      task();
    });
  };
}

// Calls `redraw` when the width, the theme or the screen's density changes; returns how to stop.
function watchSurroundings(element, redraw) {
  const resize = new ResizeObserver(redraw);
  resize.observe(element);
  const theme = new MutationObserver(redraw);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  const density = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
  density.addEventListener("change", redraw);
  return () => {
    resize.disconnect();
    theme.disconnect();
    density.removeEventListener("change", redraw);
  };
}
