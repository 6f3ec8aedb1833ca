// Turns signals into a level, as nas/runtime/governor.py does: each step is a pure function, so a trace
// replayed gives the same switches. It needs no browser.
//
//   let governor = new Governor(levels, { name: "battery_bands" });
//   governor = governor.step({ battery_ratio: 0.4, charging: false, time_s: 12 });
//   governor.level; governor.reason;

import { decide, readPolicy } from "./policies.js";
import { checkRange, MOST, must, short } from "./policy.js";

const STATE = ["level", "reason", "switched", "switched_s", "memory"];
const NUMBERS = [
  "battery_ratio",
  "temperature_c",
  "load",
  "time_s",
  "latency_ms",
  "requests_hz",
  "deadline_ms",
  "until_s",
  "pin",
];
const NOT_BELOW_0 = ["latency_ms", "requests_hz", "deadline_ms", "pin"];

// What levels are ordered by: their median times, or their MACs unless all are measured.
function costs(levels) {
  const timed = levels.every(({ latency_ms }) => latency_ms);
  return levels.map(({ latency_ms, macs }) => (timed ? latency_ms.p50 : macs));
}

// Numbers of the levels that no other beats in time and accuracy, cheapest first.
export function undominated(levels) {
  const cost = costs(levels);
  const numbers = [...levels.keys()];
  numbers.sort((a, b) => cost[a] - cost[b] || levels[b].accuracy - levels[a].accuracy);
  const best = [];
  for (const number of numbers) {
    if (!best.length || levels[number].accuracy > levels[best.at(-1)].accuracy) best.push(number);
  }
  return best;
}

function checkSignals(signals) {
  for (const name of Object.keys(signals)) {
    const known = NUMBERS.includes(name) || name === "charging";
    must(known, `signals must be ${NUMBERS.join(", ")} and charging, but got ${name}; leave it out`);
  }
  for (const name of NUMBERS) {
    const value = signals[name] ?? null;
    const within = value === null || Math.abs(value) <= MOST; // which NaN is not either
    const rule = `${name} must be a number within ${short(MOST)}`;
    must(within, `${rule}, but got ${value}; leave it out if it is not known`);
    const positive = value === null || value >= 0 || !NOT_BELOW_0.includes(name);
    must(positive, `${name} must not be below 0, but got ${value}; leave it out`);
  }
  const charge = signals.battery_ratio ?? 0;
  const rule = "battery_ratio must be from 0 to 1";
  must(charge >= 0 && charge <= 1, `${rule}, but got ${charge}; give 0.38 for 38 %`);
}

// The level in force with the reason for it; `step` gives the governor that follows. A value that never
// changes: `levels` are the entries of bundle.json, `dial` the numbers of those to choose from, by default
// the ones that no other beats. Two switches are at least `dwell_s` apart as far as signals tell the time,
// unless a choice is urgent.
export class Governor {
  constructor(levels, policy, settings = {}) {
    const { level = -1, reason = "started", switched = false, switched_s = null } = settings;
    const { memory = {}, dwell_s = 30 } = settings;
    const size = levels.length;
    must(size > 0, "a governor must have levels to choose from, but got none; give those of a bundle");
    const within = Number.isInteger(level) && -1 <= level && level < size;
    const rule = `level must be from 0 to ${size - 1}, or -1 for the top`;
    must(within, `${rule}, but got ${level}; choose a level of the bundle`);
    checkRange({ dwell_s: [dwell_s, 0, 1e9] });
    const dial = [...(settings.dial ?? undominated(levels))];
    const rises = [-1, ...dial, size].every((number, index, all) => index === 0 || all[index - 1] < number);
    const order = `dial must be levels from 0 to ${size - 1} in rising order`;
    must(dial.length && rises, `${order}, but got ${dial}; choose levels of the bundle and sort them`);
    this.levels = levels;
    this.policy = readPolicy(policy);
    this.level = level === -1 ? dial.at(-1) : level;
    Object.assign(this, { reason, switched, switched_s, memory, dwell_s, dial });
    Object.freeze(this);
  }

  // The governor that a bundle asks for, by default bands of battery charge.
  static of(bundle) {
    const asked = Object.keys(bundle.governor ?? {}).length ? bundle.governor : { policy: { name: "battery_bands" } };
    return Governor.fromJSON(asked, bundle.levels);
  }

  // The governor that wrote `record`, here or in Python; without state one with these settings begins.
  static fromJSON(record, levels) {
    const names = [...STATE, "dwell_s", "dial"].filter((name) => name in record);
    return new Governor(levels, record.policy, Object.fromEntries(names.map((name) => [name, record[name]])));
  }

  // Settings and state; the levels stay in the bundle.
  toJSON() {
    const state = Object.fromEntries(STATE.map((name) => [name, this[name]]));
    return { policy: this.policy, dwell_s: this.dwell_s, dial: this.dial, ...state };
  }

  // The governor after these signals; what is not known is null or left out.
  step(signals) {
    checkSignals(signals);
    const { dial, level: now, levels } = this;
    const position = Math.max(0, dial.filter((number) => number <= now).length - 1);
    const choice = decide(this.policy, {
      levels: dial.map((number) => levels[number]),
      numbers: dial,
      position,
      wanted: position,
      ran: levels[now],
      signals,
      memory: this.memory,
    });
    let level = dial[choice.position];
    let reason = choice.reason;
    const wait = level === now || choice.urgent ? 0 : this.#wait(signals);
    if (wait > 0) {
      level = now;
      reason = `${reason}, but the last switch is too young by ${short(wait)} s`;
    }
    const switched = level !== now;
    return new Governor(levels, this.policy, {
      level,
      reason: switched ? `${reason}: level ${now} -> ${level}` : `${reason}: level ${now} kept`,
      switched,
      switched_s: switched ? (signals.time_s ?? null) : this.switched_s,
      memory: choice.memory,
      dwell_s: this.dwell_s,
      dial,
    });
  }

  #wait({ time_s = null }) {
    if (this.switched_s === null || time_s === null) return 0;
    const elapsed = time_s - this.switched_s;
    return elapsed >= 0 ? this.dwell_s - elapsed : 0; // a clock that went back began anew
  }
}
