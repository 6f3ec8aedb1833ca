// What the page says: the answer, the way through the network, and what a level promises.

const MOST_CLASSES = 12; // that are shown all, in their own order
const BEST_CLASSES = 8; // of more, those that are most probable
const [BRIEF, LONG] = [2, 14]; // letters of a name
const MANY_EXITS = 5;
const MOST_TICKS = 10;
const QUIET_MS = 1500; // between two announcements to those who listen

export const byId = (id) => document.getElementById(id);
export const inPercent = (ratio) => `${(100 * ratio).toFixed(1)} %`;

function rounded(value, unit) {
  if (value === null || value === undefined) return "not told";
  return `${value >= 100 ? Math.round(value) : Number(value.toPrecision(3))} ${unit}`;
}

function amount(count) {
  const [size, unit] = [[1e9, " G"], [1e6, " M"], [1e3, " K"], [1, ""]].find(([each]) => count >= each) ?? [1, ""];
  return `${Number((count / size).toPrecision(3))}${unit}`;
}

// Where the middle of a slider's thumb is.
const along = (share) => `calc(0.875rem + ${share} * (100% - 1.75rem))`;

function made(name, className, text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

export class View {
  #bundle;
  #bars;
  #model = "";
  #spoken = { text: "", at: -QUIET_MS };

  constructor(bundle) {
    this.#bundle = bundle;
    const { classes, inputShape, levels, models } = bundle;
    const networks = Object.keys(models).length;
    const shape = inputShape.join(" × ");
    const counted = (count, one, more) => `${count} ${count === 1 ? one : more}`;
    const parts = [counted(levels.length, "level", "levels"), counted(networks, "network", "networks")];
    byId("about").textContent = `${parts.join(" of ")}, ${counted(classes.length, "class", "classes")}`;
    byId("shape").textContent = shape;
    const all = classes.length <= MOST_CLASSES;
    const longest = Math.max(...classes.map((name) => name.length));
    byId("bars").classList.toggle("brief", longest <= BRIEF);
    byId("bars").closest("section").classList.toggle("long", longest > LONG);
    this.#bars = Array.from({ length: all ? classes.length : BEST_CLASSES }, () => {
      const item = made("li");
      const [name, bar, fill, value] = [made("span", "name"), made("span", "bar"), made("i"), made("span", "value")];
      bar.append(fill);
      item.append(name, bar, value);
      byId("bars").append(item);
      return { item, name, fill, value };
    });
    this.#showTicks(levels.length);
  }

  showLevel(number) {
    const { levels } = this.#bundle;
    const level = levels[number];
    const { accuracy, energy_mj, energy_source, exit, latency_ms, macs, model, thresholds } = level;
    byId("level-name").textContent = `Level ${number}`;
    byId("level-network").textContent = `exit ${exit}${thresholds ? " or sooner," : ""} of ${model}`;
    byId("level-network").title = model;
    byId("accuracy").textContent = inPercent(accuracy);
    byId("macs").textContent = amount(macs);
    byId("certified").textContent = rounded(latency_ms?.p50, "ms");
    byId("energy").textContent = rounded(energy_mj, "mJ");
    const certified = latency_ms ? `Certified on ${latency_ms.target}.` : "No target was timed for this bundle.";
    byId("target").textContent = certified + (energy_source ? ` Energy: ${energy_source}.` : "");
    const slider = byId("level");
    slider.value = number;
    slider.setAttribute("aria-valuetext", `level ${number}, accuracy ${inPercent(accuracy)}, ${amount(macs)} MACs`);
    this.fill(slider);
    [...byId("ticks").children].forEach((tick, place) => tick.classList.toggle("now", place === number));
  }

  // A number under each place of the thumb, or under some where there are many.
  #showTicks(count) {
    const ticks = Array.from({ length: count }, (_, number) => {
      const tick = made("span", "", number % Math.ceil(count / MOST_TICKS) ? "" : `${number}`);
      tick.style.left = along(number / Math.max(1, count - 1));
      return tick;
    });
    byId("ticks").replaceChildren(...ticks);
  }

  // The coloured part of a slider ends under the middle of its thumb.
  fill(slider) {
    const share = (slider.value - slider.min) / Math.max(1, slider.max - slider.min);
    slider.style.setProperty("--filled", along(share));
  }

  showAnswer(answer, { level, ms, truth }) {
    const { className, confidence, exit, executed, label, probabilities } = answer;
    byId("class-name").textContent = byId("class-name").title = className;
    byId("sure").textContent = `${inPercent(confidence)} sure`;
    byId("truth").textContent = truth === null ? "" : `labelled ${this.#bundle.classes[truth]}`;
    byId("measured").textContent = rounded(ms, "ms");
    this.#showBars(probabilities, label);
    const { model } = this.#bundle.levels[level];
    this.#showPath(model, executed, exit);
    const inWords = (name) => name.slice(model.length + 1).replace("_", " ").replace("head", "exit");
    byId("path").setAttribute("aria-label", `Ran: ${executed.map(inWords).join(", ")}`);
    const all = this.#bundle.models[model].segments.length;
    byId("path-note").textContent = `Exit ${exit} answered; ${executed.length} of ${all} segments ran.`;
    this.say(`${className}, level ${level}`);
  }

  // For those who listen: not more often than one can hear.
  say(text) {
    const now = performance.now();
    if (text === this.#spoken.text || now - this.#spoken.at < QUIET_MS) return;
    this.#spoken = { text, at: now };
    byId("live").textContent = text;
  }

  #showBars(probabilities, label) {
    const order = [...probabilities.keys()];
    if (this.#bars.length < order.length) order.sort((a, b) => probabilities[b] - probabilities[a]);
    this.#bars.forEach(({ item, name, fill, value }, place) => {
      const number = order[place];
      item.classList.toggle("first", number === label);
      name.textContent = this.#bundle.classes[number];
      fill.style.transform = `translateX(${100 * probabilities[number] - 100}%)`;
      value.textContent = inPercent(probabilities[number]);
    });
  }

  #showPath(model, executed, answered) {
    const { exits, segments } = this.#bundle.models[model];
    const there = new Set(segments.map(({ name }) => name));
    const ran = new Set(executed.map((name) => name.slice(model.length + 1)));
    if (this.#model !== model) {
      this.#model = model;
      const items = Array.from({ length: exits }, (_, exit) => {
        const item = made("li");
        const names = exits > MANY_EXITS ? [`${exit}`, `${exit}`] : [`trunk ${exit}`, `exit ${exit}`];
        item.append(made("span", "", names[0]), made("span", "", names[1]));
        return item;
      });
      byId("path").replaceChildren(...items);
    }
    [...byId("path").children].forEach(({ children: [trunk, head] }, exit) => {
      trunk.className = !there.has(`trunk_${exit}`) ? "none" : ran.has(`trunk_${exit}`) ? "ran" : "";
      head.className = exit === answered ? "answered" : ran.has(`head_${exit}`) ? "ran" : "";
    });
  }
}
