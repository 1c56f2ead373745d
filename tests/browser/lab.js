// Read by the browser before every page: what a test may ask Lab and its figures. Data are compared, never pixels.
(() => {
  // anywidget 0.11 gives up on a widget whose code is not loaded after 2 s; a machine busy with tests may need longer.
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (milliseconds) => timeout(Math.max(milliseconds, 60_000));

  const panel = () => window.jupyterapp.shell.currentWidget;
  const cells = () => panel().content.widgets.filter((cell) => cell.model.type === "code" && cell.model.sharedModel.source.trim());
  const kernel = () => panel()?.sessionContext?.session?.kernel;
  const plots = () => [...panel().node.querySelectorAll(".js-plotly-plot")];
  const explorers = () => [...panel().node.querySelectorAll(".clexlab")];
  const lastLine = (text) => text.trim().split("\n").pop().slice(0, 300);

  const plain = (text) => text.replace(/\x1b\[[0-9;]*m/g, "");

  // One number that any change in any array, typed or nested, moves.
  function fingerprint(values) {
    let hash = 0;
    const walk = (value) => {
      if (Number.isFinite(value)) hash = (hash * 31 + ((Math.fround(value) * 1e4) % 1e6)) % 1e9;
      else if (typeof value === "string") for (const letter of value) hash = (hash * 31 + letter.charCodeAt(0)) % 1e9;
      else if (ArrayBuffer.isView(value)) for (let i = 0; i < value.length; i++) walk(value[i]);
      else if (Array.isArray(value)) value.forEach(walk);
      else if (value && typeof value === "object") Object.entries(value).forEach(([name, inner]) => name === "frame" || walk(inner));
      else hash = (hash * 31 + 7) % 1e9;
    };
    walk(values);
    return hash;
  }

  const cellErrors = () =>
    cells().flatMap((cell, index) =>
      cell.model.outputs.toJSON().filter((output) => output.output_type === "error").map((output) => `cell ${index}: ${output.ename}: ${output.evalue}`));
  const shownErrors = () =>
    [...panel().node.querySelectorAll('.jupyter-widgets-error-widget, .jp-mod-error, [data-mime-type="application/vnd.jupyter.error"], [role="alert"]')]
      .filter((element) => !element.hidden && element.innerText.trim())
      .map((element) => lastLine(element.innerText));

  window.lab = {
    idle: () => kernel()?.status === "idle" && kernel()?.connectionStatus === "connected",
    finished: () => window.lab.idle() && cells().every((cell) => cell.model.executionCount != null && cell.model.executionState !== "running"),
    // Errors of slider callbacks appear in no cell; the kernel still reports them.
    listen: () => {
      window.lab.kernelErrors = [];
      panel().sessionContext.iopubMessage.connect((_, { header, content }) => {
        if (header.msg_type === "error") window.lab.kernelErrors.push(`${content.ename}: ${content.evalue}\n${plain(content.traceback.slice(-4).join("\n"))}`);
        if (header.msg_type === "stream" && /Traceback/.test(content.text)) window.lab.kernelErrors.push(lastLine(content.text));
      });
    },
    kernelErrors: [],
    // Runs a line in the notebook's kernel and resolves with what it prints.
    python: async (code) => {
      let printed = "";
      const future = kernel().requestExecute({ code, store_history: false });
      future.onIOPub = ({ header, content }) => header.msg_type === "stream" && (printed += content.text);
      await future.done;
      return printed.trim();
    },
    troubles: () => [...new Set([...cellErrors(), ...shownErrors(), ...window.lab.kernelErrors])],
    figures: () => plots().length + explorers().length,
    undrawn: () => plots().filter((plot) => !plot.querySelector(".main-svg")).length + explorers().filter((explorer) => !explorer.drawn && explorer.querySelector(".clexlab-panels")).length,
    data: () => fingerprint([plots().map((plot) => (plot._fullData ?? []).map(({ x, y, z }) => [x, y, z])), explorers().map((explorer) => explorer.drawn ?? null)]),
    // Resolves with the milliseconds from the next input event to the frame after the one that drew changed data. An
    // explorer asks for its frame after this watch has asked for the same one, so what it draws there is seen in the next.
    // Explorers put a new `drawn` at every redraw: only then are the numbers compared, which takes time of its own.
    nextPaint: (event) =>
      new Promise((resolve, reject) => {
        setTimeout(() => reject(new Error(`the figures did not change within 20 s of ${event}`)), 20000);
        const states = () => explorers().map((explorer) => explorer.drawn);
        let seen = states();
        const before = window.lab.data();
        let start;
        document.addEventListener(event, (input) => (start ??= input.timeStamp), { capture: true, once: true });
        const redrawn = () => {
          const now = states();
          const same = !plots().length && now.length === seen.length && now.every((state, i) => state === seen[i]);
          seen = now;
          return !same;
        };
        const wait = (frame) => {
          const now = Math.max(frame, performance.now());
          if (start != null && redrawn() && window.lab.data() !== before) resolve(now - start);
          else requestAnimationFrame(wait);
        };
        requestAnimationFrame(wait);
      }),
  };
})();
