// Joins the image, the bundle, the dial and the governor: a request some times a second, and what it answers.

import * as ort from "./ort/ort.wasm.min.mjs";
import { Battery } from "./battery.js";
import { Bundle } from "./bundle.js";
import { Chart } from "./chart.js";
import { Pad, paint } from "./draw.js";
import { Governor } from "./governor.js";
import { byId, View } from "./view.js";

const EACH_MS = 200; // a request, unless the network needs longer
const SOON_MS = 40; // the least time between two, however much is drawn
const RETRY_MS = 2000;
const LAST_TIMES = 20;
const DWELL_S = 2; // a device waits longer between switches, but a visitor should see them
const MOST_SAMPLES = 20;

class Page {
  #bundle;
  #view;
  #pad;
  #chart;
  #battery;
  #governor;
  #level;
  #times; // the last milliseconds of each level
  #finished = []; // when requests ended, of the last seconds
  #truth = null;
  #video = null;
  #paused = false;
  #changed = true;
  #wake = () => {};

  constructor(bundle) {
    this.#bundle = bundle;
    this.#view = new View(bundle);
    this.#chart = new Chart(byId("chart"), bundle.levels.length);
    this.#times = bundle.levels.map(() => []);
    this.#governor = this.#freshGovernor();
    this.#pad = new Pad(byId("pad"), bundle.inputShape, () => this.#imageChanged());
    const inputs = { pretend: byId("pretend"), charge: byId("charge"), charging: byId("charging") };
    this.#battery = new Battery(inputs, byId("battery"), () => this.#batteryChanged());
    this.#setLevel(this.#governor.level);
    const { dwell_s } = Governor.of(bundle);
    const usual = dwell_s > DWELL_S ? `, on a device ${dwell_s} s` : "";
    byId("dwell").textContent = `Here two switches are at least ${this.#governor.dwell_s} s apart${usual}.`;
    this.#listen();
  }

  // Requests for as long as the page is open.
  async run() {
    for (;;) {
      const begin = performance.now();
      let pause = EACH_MS;
      try {
        if (!this.#paused) await this.#request();
        byId("error").hidden = true;
      } catch (error) {
        this.#complain(error);
        pause = RETRY_MS;
      }
      const spent = performance.now() - begin;
      await this.#sleep(Math.max(SOON_MS, spent), Math.max(pause, 2 * spent) - spent);
    }
  }

  async #request() {
    if (this.#video?.videoWidth) this.#pad.show(this.#video, this.#video.videoWidth, this.#video.videoHeight);
    const time = performance.now() / 1000;
    const { battery_ratio: charge, charging } = this.#battery.read();
    if (this.#isAutomatic) this.#govern({ battery_ratio: charge, charging, time_s: time });
    const level = this.#level;
    const pixels = this.#pad.pixels;
    if (this.#changed) paint(byId("seen"), pixels, this.#pad.shape);
    this.#changed = false;
    const answer = await this.#bundle.run(pixels, level);
    this.#times[level] = [...this.#times[level], answer.ms].slice(-LAST_TIMES);
    const sorted = [...this.#times[level]].sort((a, b) => a - b);
    this.#finished = [...this.#finished.filter((end) => end > time - 5), time];
    byId("rate").textContent = `${this.#rate.toFixed(1)} requests a second`;
    if (level === this.#level) {
      this.#view.showAnswer(answer, { level, ms: sorted[sorted.length >> 1], truth: this.#truth });
    }
    this.#chart.add({ time, level, ms: answer.ms, charge });
  }

  get #rate() {
    const [first, last] = [this.#finished[0], this.#finished.at(-1)];
    return last > first ? (this.#finished.length - 1) / (last - first) : 0;
  }

  get #isAutomatic() {
    return document.querySelector("input[name=mode]:checked").value === "automatic";
  }

  // The bundle's own, at the level in force.
  #freshGovernor() {
    const asked = Governor.of(this.#bundle);
    const settings = { dwell_s: Math.min(DWELL_S, asked.dwell_s), level: this.#level ?? asked.level };
    return Governor.fromJSON({ ...asked.toJSON(), ...settings }, asked.levels);
  }

  #govern(signals) {
    const latency_ms = this.#times[this.#level].at(-1) ?? null;
    this.#governor = this.#governor.step({ ...signals, latency_ms, requests_hz: this.#rate || null });
    byId("reason").textContent = this.#governor.reason.replace("->", "→");
    if (this.#governor.switched) {
      byId("switch").textContent = this.#governor.reason.replace("->", "→");
      this.#view.say(this.#governor.reason);
      this.#setLevel(this.#governor.level);
    }
  }

  #setLevel(level) {
    this.#level = level;
    this.#view.showLevel(level);
  }

  #listen() {
    const slider = byId("level");
    Object.assign(slider, { max: this.#bundle.levels.length - 1, disabled: false });
    slider.addEventListener("input", () => {
      document.querySelector("input[value=hand]").checked = true;
      this.#setMode();
      this.#setLevel(Number(slider.value));
      this.#wake();
    });
    this.#setLevel(this.#level);
    for (const mode of document.querySelectorAll("input[name=mode]")) {
      mode.addEventListener("change", () => this.#setMode());
    }
    byId("clear").addEventListener("click", () => this.#take(() => this.#pad.clear()));
    byId("fit").addEventListener("change", (event) => {
      this.#pad.fits = event.target.checked;
      this.#pad.refresh();
    });
    byId("invert").addEventListener("change", (event) => {
      this.#pad.inverted = event.target.checked;
      this.#take(() => this.#pad.clear());
    });
    byId("file-button").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => this.#openFile());
    byId("camera").addEventListener("click", () => this.#toggleCamera());
    byId("pause").addEventListener("click", () => {
      this.#paused = !this.#paused;
      byId("pause").setAttribute("aria-pressed", this.#paused);
      byId("pause").textContent = this.#paused ? "Go on" : "Pause";
      byId("rate").textContent = this.#paused ? "paused" : byId("rate").textContent;
      this.#wake();
    });
    addEventListener("pagehide", () => this.#stopCamera());
  }

  #setMode() {
    if (this.#isAutomatic) this.#governor = this.#freshGovernor();
    else byId("reason").textContent = "resting, for the dial is turned by hand";
    this.#wake();
  }

  #imageChanged() {
    this.#changed = true;
    byId("hint").hidden = !(this.#pad?.empty ?? true);
    if (this.#pad?.drawn) this.#mark(null);
    this.#wake();
  }

  #batteryChanged() {
    byId("charge-text").value = `${byId("charge").value} %`;
    this.#view.fill(byId("charge"));
    this.#wake();
  }

  // An image from another source than before.
  #take(show) {
    this.#stopCamera();
    this.#mark(null);
    show();
  }

  #mark(chosen) {
    this.#truth = null;
    for (const button of byId("samples").children) button.setAttribute("aria-pressed", button === chosen);
  }

  async #openFile() {
    const [file] = byId("file").files;
    byId("file").value = "";
    if (!file) return;
    byId("input-note").textContent = "";
    try {
      const image = await createImageBitmap(file);
      this.#take(() => this.#pad.show(image, image.width, image.height));
    } catch {
      byId("input-note").textContent = `${file.name} must be an image that this browser reads; choose another.`;
    }
  }

  async #toggleCamera() {
    if (this.#video) {
      this.#stopCamera();
      return;
    }
    byId("input-note").textContent = "";
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      this.#mark(null);
      this.#video = document.createElement("video");
      Object.assign(this.#video, { srcObject: stream, muted: true, playsInline: true });
      await this.#video.play();
      byId("camera").setAttribute("aria-pressed", "true");
    } catch (error) {
      this.#stopCamera();
      byId("input-note").textContent = `The camera must be allowed and free, but: ${error.message}.`;
    }
  }

  #stopCamera() {
    for (const track of this.#video?.srcObject.getTracks() ?? []) track.stop();
    this.#video = null;
    byId("camera").setAttribute("aria-pressed", "false");
  }

  async offerSamples() {
    const { images } = await (await fetch("samples.json")).json();
    const samples = images.slice(0, MOST_SAMPLES).map(({ pixels, label }) => {
      const bytes = Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0));
      return { bytes, label };
    });
    this.#pad.learn(samples.map(({ bytes }) => bytes));
    const buttons = samples.map(({ bytes, label }) => {
      const [button, canvas] = [document.createElement("button"), document.createElement("canvas")];
      paint(canvas, bytes, this.#pad.shape);
      Object.assign(button, { type: "button", title: this.#bundle.classes[label] });
      button.setAttribute("aria-label", `Sample of ${this.#bundle.classes[label]}`);
      button.setAttribute("aria-pressed", "false");
      button.append(canvas);
      button.addEventListener("click", () => {
        this.#take(() => this.#pad.showBytes(bytes));
        this.#mark(button);
        this.#truth = label;
      });
      return button;
    });
    byId("samples").replaceChildren(...buttons);
    byId("samples-part").hidden = buttons.length === 0;
    buttons[0]?.click();
  }

  #complain(error) {
    byId("error").textContent = error.message;
    byId("error").hidden = false;
  }

  // Until the time is up, or something changes after the least of it.
  async #sleep(least, most) {
    let changed = false;
    this.#wake = () => (changed = true);
    await new Promise((resolve) => setTimeout(resolve, least));
    if (!changed && most > least) {
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, most - least);
      });
    }
    this.#wake = () => {};
  }
}

try {
  ort.env.wasm.numThreads = 1;
  const page = new Page(await Bundle.load("bundle", ort));
  await page.offerSamples();
  await page.run();
} catch (error) {
  byId("error").textContent = error.message;
  byId("error").hidden = false;
}
