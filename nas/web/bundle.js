// Runs a bundle of nas-dial with onnxruntime-web, level by level, as nas.runtime.Runtime does:
//
//   import * as ort from "./ort/ort.wasm.min.mjs";
//   const bundle = await Bundle.load("./bundle", ort);
//   const { className, confidence, ms } = await bundle.run(pixels, 2); // raw bytes, channel after channel
//
// What a level skips is neither run nor even fetched. Each file is checked against its hash before it runs.

import { Passage } from "./passage.js";
import { must } from "./policy.js";

const FORMAT = "nas-dial-bundle";
const VERSION = 1;
const AGAIN = "export the bundle again";

export class Bundle {
  #url;
  #ort;
  #index;
  #sessions = new Map(); // "model/segment" -> promise of its session
  #last = Promise.resolve(); // ONNX Runtime opens and runs one thing at a time

  constructor(url, ort, index) {
    checkIndex(index);
    this.#url = url;
    this.#ort = ort;
    this.#index = index;
    this.inputShape = Object.freeze([...index.input.shape]); // [C, H, W]
    this.classes = Object.freeze([...index.classes]);
    this.models = index.models; // by name, as in bundle.json
    this.levels = Object.freeze(index.levels.map(Object.freeze)); // entries of bundle.json; level 0 is cheapest
    this.governor = index.governor; // for Governor.of
    this.certificate = index.certificate;
  }

  // The bundle in the folder at `url`; `ort` is the module of onnxruntime-web.
  static async load(url, ort) {
    const folder = new URL(`${url}`.replace(/\/?$/, "/"), globalThis.document?.baseURI ?? globalThis.location?.href);
    const answer = await fetch(new URL("bundle.json", folder));
    must(answer.ok, `bundle.json must be at ${folder}, but the server says ${answer.status}; name the folder`);
    return new Bundle(folder, ort, await answer.json());
  }

  // The segments that have been needed so far, as "model/segment".
  get loaded() {
    return [...this.#sessions.keys()];
  }

  // What one level says of one image. A level is named by its number, or is one of your own, as in bundle.json.
  async run(pixels, level) {
    const { exit, model, thresholds } = this.#plan(level);
    return this.#answer(await this.#passage(model, this.#checked(pixels)), model, exit, thresholds);
  }

  // The same, and keep the features so that `resume` can go on from them.
  async start(pixels, level = 0) {
    const image = this.#checked(pixels);
    const progress = new Progress(this, {
      plan: (asked) => this.#plan(asked),
      passage: (model) => this.#passage(model, image),
      answer: (...asked) => this.#answer(...asked),
    });
    await progress.resume(level);
    return progress;
  }

  // Load what a level needs now rather than at its first call.
  async prepare(level) {
    const { exit, model, thresholds } = this.#plan(level);
    const asked = (at) => model.readout.combine !== "last" || (thresholds && Math.fround(thresholds[at]) <= 1);
    for (const segment of model.segments) {
      const [kind, at] = [segment.name.split("_")[0], Number(segment.name.split("_")[1])];
      const needed = at === exit || (at < exit && (kind === "trunk" || asked(at)));
      if (needed) await this.#session(model, segment);
    }
  }

  #plan(level) {
    const own = typeof level === "object" && level !== null;
    const found = own ? level : this.levels[level];
    const last = this.levels.length - 1;
    must(found, `level must be from 0 to ${last}, but got ${level}; choose a level of this bundle`);
    if (own) checkLevel(this.#index, found, "a level");
    const model = { name: found.model, ...this.models[found.model] };
    const { accuracy, exit, thresholds = null } = found;
    return { accuracy, exit, thresholds, model };
  }

  #checked(pixels) {
    const size = this.inputShape.reduce((product, side) => product * side, 1);
    const rule = `pixels must be a Uint8Array of ${size} raw bytes, channel after channel`;
    const bytes = pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray;
    must(bytes, `${rule}, but got ${pixels?.constructor?.name}; convert it`);
    must(pixels.length === size, `${rule}, but got ${pixels.length}; resize the image to ${this.inputShape}`);
    return Uint8Array.from(pixels); // a copy: what is drawn meanwhile belongs to the next image
  }

  #passage(model, image) {
    const features = { x: new this.#ort.Tensor("uint8", image, [1, ...this.inputShape]) };
    if (model.readout.combine !== "last" || model.readout.confidence === "patience") {
      const size = this.classes.length + 1;
      features.state = new this.#ort.Tensor("float32", new Float32Array(size), [1, size]);
    }
    const clock = { waited: 0 };
    const call = async (segment, made) => {
      const begin = performance.now();
      const session = await this.#session(model, segment);
      clock.waited += performance.now() - begin;
      return this.#next(() => session.run(Object.fromEntries(segment.inputs.map((name) => [name, made[name]]))));
    };
    return Object.assign(new Passage(model, call, features), { clock });
  }

  // Milliseconds without the loading of files; `executed` is what ran for this answer alone.
  async #answer(passage, model, exit, thresholds) {
    const [ran, waited, begin] = [passage.executed.length, passage.clock.waited, performance.now()];
    const answer = await passage.reach(exit, thresholds);
    const ms = performance.now() - begin - (passage.clock.waited - waited);
    const label = largest(answer.logits);
    return {
      logits: answer.logits,
      probabilities: probabilities(answer, model.readout),
      label,
      className: this.classes[label],
      confidence: answer.confidence,
      exit: answer.exit,
      ms,
      executed: passage.executed.slice(ran).map((name) => `${model.name}/${name}`),
    };
  }

  #session(model, segment) {
    const key = `${model.name}/${segment.name}`;
    if (!this.#sessions.has(key)) {
      const session = this.#open(segment);
      session.catch(() => this.#sessions.delete(key)); // the next call may have more luck
      this.#sessions.set(key, session);
    }
    return this.#sessions.get(key);
  }

  async #open({ file, inputs, outputs, sha256 }) {
    const url = new URL(file.split("/").map(encodeURIComponent).join("/"), this.#url);
    const answer = await fetch(url);
    must(answer.ok, `${file} must be in the bundle, but the server says ${answer.status}; ${AGAIN}`);
    const bytes = await answer.arrayBuffer();
    const found = await digest(bytes);
    const rule = `${file} must have the sha256 that bundle.json gives, ${sha256.slice(0, 12)}…`;
    must(found === sha256, `${rule}, but has ${found.slice(0, 12)}…; ${AGAIN}`);
    const options = { executionProviders: ["wasm"] };
    const session = await this.#next(() => this.#ort.InferenceSession.create(new Uint8Array(bytes), options));
    const [names, tensors] = [[...inputs, ...outputs], [...session.inputNames, ...session.outputNames]];
    const same = new Set(names).size === tensors.length && tensors.every((name) => names.includes(name));
    must(same, `${file} must have the tensors ${names}, but has ${tensors}; ${AGAIN}`);
    return session;
  }

  #next(task) {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}

// An image on its way through a bundle: an exit further on costs only what has not run yet. A level of another
// model cannot use these features: that model starts from the image.
export class Progress {
  #bundle;
  #calls;
  #passages = new Map();
  #answers = []; // [validation accuracy, model, answer]

  constructor(bundle, calls) {
    this.#bundle = bundle;
    this.#calls = calls;
    this.executed = []; // every segment run for this image, as "model/segment", in order
  }

  // The latest answer.
  get answer() {
    return this.#answers.at(-1)[2];
  }

  // The answer of the level with the best validation accuracy among those reached.
  bestSoFar() {
    return this.#answers.reduce((best, each) => (each[0] > best[0] ? each : best))[2];
  }

  // The next level of the same model, which can use the features, or null after its last exit.
  get nextLevel() {
    const [, name, { exit }] = this.#answers.at(-1);
    const later = [...this.#bundle.levels.entries()].filter(
      ([, level]) => level.model === name && level.exit > exit && (level.thresholds ?? null) === null,
    );
    later.sort(([a, first], [b, second]) => first.exit - second.exit || a - b);
    return later[0]?.[0] ?? null;
  }

  // Go on to a level, `nextLevel` if none is given, running only what has not run for this image.
  async resume(level = this.nextLevel) {
    must(level !== null, "the model must have a further exit to resume, but has none; ask for a level");
    const { accuracy, exit, model, thresholds } = this.#calls.plan(level);
    if (!this.#passages.has(model.name)) this.#passages.set(model.name, this.#calls.passage(model));
    const answer = await this.#calls.answer(this.#passages.get(model.name), model, exit, thresholds);
    this.executed.push(...answer.executed);
    this.#answers.push([accuracy, model.name, answer]);
    return answer;
  }
}

function checkIndex(index) {
  for (const [key, expected] of [["format", FORMAT], ["version", VERSION]]) {
    const rule = `bundle.json must have the ${key} ${expected}, the only one read here`;
    must(index?.[key] === expected, `${rule}, but got ${index?.[key]}; ${AGAIN}`);
  }
  const { dtype, shape } = index.input;
  const isSize = (size) => Number.isInteger(size) && size > 0;
  const sizes = Array.isArray(shape) && shape.length === 3 && shape.every(isSize);
  must(dtype === "uint8" && sizes, `input must be uint8 and three sizes, but got ${dtype} and ${shape}; ${AGAIN}`);
  must(index.levels.length > 0, `bundle.json must have at least one level, but has none; ${AGAIN}`);
  index.levels.forEach((level, number) => checkLevel(index, level, `levels[${number}]`));
  for (const { segments } of Object.values(index.models)) {
    for (const { file } of segments) {
      const inside = !/[\\:]|[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(file) && !file.split("/").some((part) => ["", ".", ".."].includes(part));
      must(inside, `a file must stay inside the bundle, but got ${file}; ${AGAIN}`);
    }
  }
}

function checkLevel({ models }, { exit, model, thresholds }, where) {
  const known = Object.hasOwn(models, model) ? models[model] : null;
  must(known, `${where} must name one of the models ${Object.keys(models)}, but got ${model}; ${AGAIN}`);
  const within = Number.isInteger(exit) && exit >= 0 && exit < known.exits;
  must(within, `${where} must name one of the ${known.exits} exits of ${model}, but got ${exit}; ${AGAIN}`);
  const fits = (thresholds ?? null) === null || thresholds.length === known.exits - 1;
  must(fits, `${where} must have a threshold for each of ${known.exits - 1} exits but the last; ${AGAIN}`);
}

async function digest(bytes) {
  const { subtle } = globalThis.crypto ?? {};
  const rule = "a bundle must come over https or from this machine";
  must(subtle, `${rule}, for elsewhere a browser cannot check its files; move it`);
  const hash = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The first of the largest, as in numpy, to whom what is no number is the largest.
function largest(values) {
  const none = values.findIndex(Number.isNaN);
  return none >= 0 ? none : values.reduce((best, value, place) => (value > values[best] ? place : best), 0);
}

// Softmax of the logits, as sure as validation images showed the exit to be.
function probabilities({ exit, logits }, { combine, temperatures }) {
  const temperature = combine !== "mean" && temperatures.length ? temperatures[exit] : 1;
  const scaled = Float64Array.from(logits, (value) => value / temperature);
  const most = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return Float32Array.from(powers, (power) => power / total);
}
