// Policies that learn from what they observe, as in nas/runtime/adaptive.py: deadlines under a slow-down, and
// a battery that shall last. Numbers and formulas must change in both places.

import { checkRange, isNone, MOST, must, percent, short, top } from "./policy.js";

const MOST_SLOWDOWN = 1e3; // beyond it a device stands still
const FULL = 0.98; // a battery that charges no faster however little is taken
const PATIENCE_S = 300; // for which what is usual counts at the start
const GONE_S = 60; // a charger that is out is no loose contact
const STAY_S = 200; // for which a charger is expected to stay, at least
const SHORT_S = 30; // a charger that is out no longer has a loose contact, perhaps
const LEAST_WINDOW_S = 10; // over which requests are averaged, at least
const SLOWDOWN_S = 30; // over which the energy of inferences is averaged

// The highest level whose 95th percentile, at the present slow-down, fits the deadline. The slow-down is one
// factor on the times of all levels, tracked by a Kalman filter whose process noise follows the surprises.
export const deadline = {
  settings: { deadline_ms: null, caution: 2, noise: 0.1, process_noise: 0.01, memory_ratio: 0.3 },
  check({ deadline_ms, caution, noise, process_noise, memory_ratio }) {
    checkRange({
      deadline_ms: [deadline_ms, 0, MOST],
      caution: [caution, 0, 100],
      noise: [noise, 1e-6, 10],
      process_noise: [process_noise, 1e-9, 10],
      memory_ratio: [memory_ratio, 0, 0.999],
    });
  },
  decide(policy, situation) {
    const memory = observedSlowdown(policy, situation);
    const limit = policy.deadline_ms ?? situation.signals.deadline_ms;
    if (isNone(limit)) return { position: top(situation), reason: "no deadline", memory };
    const slowdown = memory.mean + policy.caution * Math.sqrt(memory.variance);
    const fits = situation.levels.map((level) => latency(level).p95 * slowdown <= limit);
    const reason = `slow-down ${short(slowdown)}, deadline ${short(limit)} ms`;
    const position = Math.max(0, fits.lastIndexOf(true));
    return { position, reason, memory, urgent: position < situation.position };
  },
};

function observedSlowdown({ noise, process_noise, memory_ratio }, { memory, ran, signals }) {
  const mean = memory.mean ?? 1;
  const variance = memory.variance ?? process_noise ** 2;
  const moved = memory.moved ?? 0;
  const found = slowdownOf(ran, signals.latency_ms, mean);
  if (isNone(found)) return { mean, variance, moved };
  const predicted = variance + Math.max(process_noise ** 2, moved);
  const surprise = Math.min(MOST_SLOWDOWN, found) - mean;
  const spread = predicted + (noise * mean) ** 2;
  // No noise beyond three deviations: the device has changed, and one observation is all that is known of it.
  const changed = surprise ** 2 > 9 * spread;
  const gain = changed ? 1 : predicted / spread;
  return {
    mean: Math.max(1e-3, mean + gain * surprise),
    variance: changed ? (noise * (mean + surprise)) ** 2 : (1 - gain) * predicted,
    moved: memory_ratio * moved + (1 - memory_ratio) * (gain * surprise) ** 2,
  };
}

// How many times slower than measured the device is; null where the time does not tell. Where images leave at
// different exits, only one slower than the longest way tells of the device.
function slowdownOf(ran, latencyMs, mean) {
  if (isNone(latencyMs)) return null;
  if (isNone(ran.thresholds)) return latencyMs / latency(ran).p50;
  const slower = latencyMs / latency(ran).p95;
  return slower > mean ? slower : null;
}

// The levels that the battery can pay until a time: the one below what is left for a request, or above, in such
// shares that all is used.
export const energyUntil = {
  settings: { capacity_mj: undefined, idle_w: 0, power_w: null, charger_w: 0, usual_hz: null, reserve_ratio: 0.002 },
  check({ capacity_mj, idle_w, power_w, charger_w, usual_hz, reserve_ratio }) {
    checkRange({
      capacity_mj: [capacity_mj, 1e-9, MOST],
      idle_w: [idle_w, 0, MOST],
      power_w: [power_w, 0, MOST],
      charger_w: [charger_w, 0, MOST],
      usual_hz: [usual_hz, 0, MOST],
      reserve_ratio: [reserve_ratio, 0, 0.99],
    });
  },
  decide(policy, situation) {
    const { memory: before, signals } = situation;
    const { battery_ratio: charge, time_s: now, until_s } = signals;
    const anywhere = (reason, memory) => ({ position: top(situation), reason, memory });
    const held = (reason, memory) => ({ position: situation.wanted, reason, memory });
    if (isNone(until_s)) return anywhere("no time to last until", before);
    if (isNone(now)) return held("no clock", before);
    if (isNone(charge)) return held("no battery reading", before);
    const left = until_s - now;
    if (left <= 0) return anywhere("the time to last until is over", before);
    const requests = observedRequests(policy, situation, left);
    const charger = observedCharger(before.charger ?? null, signals.charging ?? null, now);
    const slowdown = observedEnergy(situation);
    const memory = { time_s: now, requests, charger, slowdown, credit_mj: 0 };
    const rate = requests[1] ? requests[0] / requests[1] : 0;
    if (signals.charging && charge >= FULL) return anywhere(`charging at ${percent(charge)}`, memory);
    if (!requests[1]) return held("nothing known of requests", memory);
    if (!rate) return anywhere("no requests", memory);
    const stored = Math.max(0, charge - policy.reserve_ratio) * policy.capacity_mj;
    const spare = (stored + inflow(policy, charger, now, left)) / left - 1000 * policy.idle_w;
    return paid(policy, situation, { spare: spare / rate / slowdown, left, memory });
  },
};

// The neighbor of what is left for a request that makes up best for what ran before.
function paid({ power_w }, { levels, memory: before, ran }, { spare, left, memory }) {
  const energies = levels.map((level) => energy(level, power_w));
  const places = frontier(energies, levels.map(({ accuracy }) => accuracy));
  const most = energies[places.at(-1)] - energies[places[0]];
  const credit = Math.max(-most, Math.min(most, (before.credit_mj ?? 0) + spare - energy(ran, power_w)));
  const lower = Math.max(0, places.findLastIndex((place) => energies[place] <= spare));
  const distance = (place) => Math.abs(energies[place] - spare - credit);
  const around = places.slice(lower, lower + 2);
  const position = around.reduce((best, place) => (distance(place) < distance(best) ? place : best));
  const reason = `${short(spare)} mJ a request for ${short(left)} s`;
  return { position, reason, memory: { ...memory, credit_mj: credit } };
}

// Requests and the seconds that they came in; the older, the less they count.
function observedRequests({ usual_hz }, { memory, signals }, left) {
  const start = usual_hz === null ? [0, 0] : [usual_hz * PATIENCE_S, PATIENCE_S];
  const [requests, seconds] = memory.requests ?? start;
  const step = Math.max(0, signals.time_s - (memory.time_s ?? signals.time_s));
  if (isNone(signals.requests_hz) || !step) return [requests, seconds];
  const kept = Math.exp(-step / Math.max(left, LEAST_WINDOW_S));
  return [kept * requests + step * signals.requests_hz, kept * seconds + step];
}

// By how much inferences take longer than measured, hence more energy; smoothed, and of ratios the geometric
// mean is the fair one.
function observedEnergy({ memory, ran, signals }) {
  const slowdown = memory.slowdown ?? 1;
  if (isNone(signals.latency_ms) || !ran.latency_ms) return slowdown;
  const step = Math.max(0, signals.time_s - (memory.time_s ?? signals.time_s));
  const found = Math.max(1 / MOST_SLOWDOWN, Math.min(MOST_SLOWDOWN, signals.latency_ms / ran.latency_ms.p50));
  const share = 1 - Math.exp(-step / SLOWDOWN_S);
  return slowdown ** (1 - share) * found ** share;
}

// What a charger is expected to give; nothing, once it is out for much longer than ever before.
function inflow({ charger_w }, charger, now, left) {
  if (charger === null) return 0;
  const { most_out_s, out_s, plugged_s, since_s } = charger;
  if (out_s > (most_out_s ? Math.max(SHORT_S, 2 * most_out_s) : Math.min(SHORT_S, left / 10))) return 0;
  const lasted = now - since_s;
  const share = lasted ? plugged_s / lasted : 1;
  const away = out_s ? Math.max(0, most_out_s - out_s) : 0;
  const horizon = most_out_s ? left : Math.min(left, Math.max(lasted / 2, STAY_S));
  return 1000 * charger_w * share * Math.max(0, horizon - away);
}

// Since when a charger is in or flapping, for how long it was in, and how long it was out at most.
function observedCharger(known, charging, now) {
  if (charging === null) return known;
  if (known === null || now < known.time_s || known.out_s > GONE_S) {
    return charging ? { since_s: now, time_s: now, plugged_s: 0, out_s: 0, most_out_s: 0 } : null;
  }
  const step = now - known.time_s;
  return {
    since_s: known.since_s,
    time_s: now,
    plugged_s: known.plugged_s + (charging ? step : 0),
    out_s: charging ? 0 : known.out_s + step,
    most_out_s: Math.max(known.most_out_s, charging ? known.out_s : 0),
  };
}

// Places on the concave hull of accuracy over energy, cheapest first.
function frontier(energies, accuracies) {
  const slope = (low, high) =>
    (accuracies[high] - accuracies[low]) / Math.max(energies[high] - energies[low], 1e-12);
  const places = [...energies.keys()];
  places.sort((a, b) => energies[a] - energies[b] || accuracies[b] - accuracies[a]);
  const hull = [];
  for (const place of places) {
    if (hull.length && accuracies[place] <= accuracies[hull.at(-1)]) continue;
    while (hull.length > 1 && slope(hull.at(-2), hull.at(-1)) <= slope(hull.at(-1), place)) hull.pop();
    hull.push(place);
  }
  return hull;
}

function latency({ model, exit, latency_ms }) {
  must(latency_ms, `a level must have a measured latency, but ${model} exit ${exit} has none; export with a target`);
  return latency_ms;
}

function energy({ model, exit, energy_mj, latency_ms }, power) {
  if (!isNone(energy_mj)) return energy_mj;
  const rule = "a level must have energy, or a latency and a policy with power_w";
  must(latency_ms && !isNone(power), `${rule}, but ${model} exit ${exit} has none; export with --energy`);
  return latency_ms.p50 * power;
}
