// Times networks in onnxruntime-web for the program that serves this page (nas/latency/browser.py).

import * as ort from "./ort.wasm.min.mjs";

// As in nas/latency/rounds.py and timing.py, in milliseconds.
const PASSES = 5;
const MOST_PASSES = 25;
const ROUND_MS = 1;
const WARM_UP = 3;
const FIRST_LOOK_MS = 100;
const NARROW = 1.01;
const QUIET = 1.02;
const LOOK_EACH = 8;
const PARTS = 4;

const LEAST_MS = 100; // of measuring: a browser's own threads may take a shorter time whole
const STEPS = 50; // of the clock in what is timed at once: 2 % at worst, and less in a median
const ATTEMPTS = 10; // one a second, to reach a program that may have ended
const TYPES = {
  "|b1": ["bool", Uint8Array],
  "|i1": ["int8", Int8Array],
  "|u1": ["uint8", Uint8Array],
  "<i2": ["int16", Int16Array],
  "<u2": ["uint16", Uint16Array],
  "<i4": ["int32", Int32Array],
  "<u4": ["uint32", Uint32Array],
  "<i8": ["int64", BigInt64Array],
  "<u8": ["uint64", BigUint64Array],
  "<f2": ["float16", globalThis.Float16Array ?? Uint16Array],
  "<f4": ["float32", Float32Array],
  "<f8": ["float64", Float64Array],
};

const now = () => performance.now();
const sum = (values) => values.reduce((total, value) => total + value, 0);
const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

// Browsers round the clock: to 5 microseconds in a page isolated from other origins, else up to a millisecond.
function clockStep() {
  let least = Infinity;
  for (let i = 0; i < 20; i++) {
    const begin = now();
    let end = begin;
    while (end === begin) end = now();
    least = Math.min(least, end - begin);
  }
  return least;
}

// Runs models one after another, each on the features so far, and gives the time of each.
function passes(sessions, inputs) {
  return async () => {
    const features = { ...inputs };
    const times = [];
    for (const session of sessions) {
      const begin = now();
      const feeds = {};
      for (const name of session.inputNames) if (name in features) feeds[name] = features[name];
      const made = await session.run(feeds);
      times.push(now() - begin);
      Object.assign(features, made);
    }
    return times;
  };
}

// What the clock is too coarse for is run several times, and its mean time stands for one run. Readings are
// as often too long as too short, so that the mean holds for each model of a chain too.
async function grouped(run, step) {
  const begin = now();
  let size = 0;
  do {
    await run();
    size++;
  } while (now() - begin < STEPS * step);
  return async () => {
    const total = await run();
    for (let i = 1; i < size; i++) (await run()).forEach((time, model) => (total[model] += time));
    return total.map((time) => time / size);
  };
}

// What runs often is compiled again, for speed, while it runs: a browser needs longer to warm up.
async function warmedUp(run, step, atLeast) {
  const begin = now();
  for (let i = 0; i < WARM_UP || now() - begin < atLeast; i++) await run();
  return grouped(run, step);
}

// Mirrors nas/latency/rounds.py: rounds beside the reference network, until narrow or the time is up.
class Stopwatch {
  static async start(reference) {
    const step = clockStep();
    return new Stopwatch(step, await warmedUp(reference, step, FIRST_LOOK_MS));
  }

  constructor(step, reference) {
    this.step = step;
    this.reference = reference;
  }

  async referenceTime() {
    const times = [];
    for (let i = 0; i < PASSES; i++) times.push(sum(await this.reference()));
    return median(times);
  }

  async floor() {
    const begin = now();
    let floor = await this.referenceTime();
    while (now() - begin < FIRST_LOOK_MS) floor = Math.min(floor, await this.referenceTime());
    return floor;
  }

  async time(single, asked, knownFloor) {
    const limit = Math.max(asked, LEAST_MS);
    const floor = knownFloor ?? (await this.floor());
    const begin = now();
    const run = await warmedUp(single, this.step, limit / 10);
    let lasted = Infinity; // all runs of a group
    for (let i = 0; i < WARM_UP; i++) {
      const first = now();
      await run();
      lasted = Math.min(lasted, now() - first);
    }
    let count = Math.min(MOST_PASSES, Math.max(PASSES, Math.floor(ROUND_MS / Math.max(lasted, this.step))));
    if (lasted * PASSES > limit / 10) count = 1; // a slow network: rounds of single passes
    const rounds = [];
    const beside = [];
    for (;;) {
      beside.push(await this.referenceTime());
      const round = [];
      for (let i = 0; i < count; i++) round.push(await run());
      rounds.push(round);
      const spent = now() - begin;
      const looking = rounds.length % LOOK_EACH === 0 && spent > FIRST_LOOK_MS;
      if (spent >= limit || (looking && isSettled(rounds, beside, floor))) break;
    }
    return { rounds, beside, floor: Math.min(floor, ...beside) };
  }
}

function isSettled(rounds, beside, floor) {
  const medians = rounds.map((round) => median(round.map(sum)));
  const quietest = Array.from({ length: PARTS }, (_, part) =>
    Math.min(...medians.filter((_, index) => index % PARTS === part)),
  );
  const width = Math.max(...quietest) / Math.min(...quietest);
  return width <= NARROW && Math.min(...beside) <= QUIET * floor;
}

const openSession = (model) => ort.InferenceSession.create(model, { executionProviders: ["wasm"] });

let stopwatch = null;

async function theStopwatch() {
  if (stopwatch === null) {
    const model = await (await fetch("reference.onnx")).arrayBuffer();
    const x = new ort.Tensor("uint8", new Uint8Array(3 * 32 * 32), [1, 3, 32, 32]);
    stopwatch = await Stopwatch.start(passes([await openSession(new Uint8Array(model))], { x }));
  }
  return stopwatch;
}

async function measure({ models, inputs, seconds, floor_s }, payloads) {
  const sessions = [];
  try {
    for (const model of payloads.slice(0, models)) sessions.push(await openSession(new Uint8Array(model)));
    const features = {};
    inputs.forEach(({ name, dtype, shape }, index) => {
      const [type, Values] = TYPES[dtype];
      features[name] = new ort.Tensor(type, new Values(payloads[models + index]), shape);
    });
    const run = passes(sessions, features);
    await run();
    const floor = floor_s === null ? null : 1e3 * floor_s;
    const timed = await (await theStopwatch()).time(run, 1e3 * seconds, floor);
    return {
      rounds_s: timed.rounds.map((round) => round.map((times) => times.map((time) => time / 1e3))),
      reference_s: timed.beside.map((time) => time / 1e3),
      floor_s: timed.floor / 1e3,
    };
  } finally {
    for (const session of sessions) await session.release();
  }
}

// Who measures: newer browsers say it in parts, and only to pages that count as secure.
async function describe() {
  const runtime = `onnxruntime-web ${ort.env.versions.web} wasm`;
  const isolated = globalThis.crossOriginIsolated;
  const cores = `${navigator.hardwareConcurrency} cores`;
  if (navigator.userAgentData) {
    const asked = ["fullVersionList", "model", "platform", "platformVersion"];
    const parts = await navigator.userAgentData.getHighEntropyValues(asked);
    const { brand, version } = parts.fullVersionList.find(({ brand }) => !/not.?a.?brand/i.test(brand));
    const system = `${parts.platform} ${parts.platformVersion}`.trim();
    const machine = [parts.model, system, cores].filter((text) => text).join(", ");
    return { browser: `${brand} ${version}`, machine, runtime, isolated };
  }
  const known = navigator.userAgent.match(/(Firefox|FxiOS|CriOS|Chrome|Version)\/([\d.]+)/);
  const [, name, version] = known ?? ["", navigator.userAgent, ""];
  const browser = `${name === "Version" ? "Safari" : name} ${version}`.trim(); // as Safari calls its own
  return { browser, machine: `${navigator.platform}, ${cores}`, runtime, isolated };
}

// A message of nas/latency/protocol.py: 14 bytes that end in the header's length, the header, the payloads.
function readMessage(buffer) {
  const length = new DataView(buffer).getUint32(10);
  let end = 14 + length;
  const { fields, sizes } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 14, length)));
  const payloads = sizes.map((size) => buffer.slice(end, (end += size)));
  return { fields, payloads };
}

async function answer({ fields, payloads }) {
  ort.env.wasm.numThreads = fields.threads; // holds from the first session on
  const result = { number: fields.number, ...(await describe()) };
  if (!fields.models) return result;
  try {
    return { ...result, timing: await measure(fields, payloads) };
  } catch (error) {
    return { ...result, error: String(error?.message ?? error) };
  }
}

async function serve() {
  for (let failures = 0; failures < ATTEMPTS; ) {
    try {
      const job = await fetch("job");
      if (!job.ok) throw new Error(job.statusText);
      failures = 0;
      if (job.status === 204) continue; // none yet
      postMessage({ state: "Measuring." });
      const result = await answer(readMessage(await job.arrayBuffer()));
      await fetch("result", { method: "POST", body: JSON.stringify(result) });
      postMessage({ state: "Waiting for the next network.", reload: "error" in result });
      if ("error" in result) return; // the runtime's memory may be in any state: the page begins anew
    } catch {
      failures++;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  postMessage({ state: "The program that asked has ended; this page can be closed.", close: true });
}

postMessage({ state: "Ready." });
await serve();
