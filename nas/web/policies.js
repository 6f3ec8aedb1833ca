// The rules by which a governor chooses a level, as in nas/runtime/policies.py. A policy is
// the object that stands in bundle.json: its name, its settings, and nothing else. Names are those of Python,
// so what one of the two writes the other reads.
//
// `decide(policy, situation)` is pure. A situation has `levels` (entries of bundle.json, cheapest first),
// `numbers` (theirs in the bundle), `position` (the place of the one in force), `ran` (that one itself),
// `wanted` (the place that this policy wished for), `signals` and `memory` (what it gave the step before). The
// choice has `position`, `reason`, `memory`, and `urgent` where it cannot wait.

import { deadline, energyUntil } from "./adaptive.js";
import { checkRange, isNone, must, percent, short, top } from "./policy.js";

const count = (values, holds) => values.reduce((total, value) => total + Number(holds(value)), 0);
const steps = (values) => values.slice(1).map((high, index) => [values[index], high]);

// One band of battery charge per level, the fullest for the top level; the top level while charging.
const batteryBands = {
  settings: { bands: null, hysteresis_ratio: 0.03 },
  check({ bands, hysteresis_ratio }) {
    const rise = bands === null || steps([0, ...bands, 1]).every(([low, high]) => low < high);
    must(rise, `bands must rise between 0 and 1, but got ${bands}; sort charges such as 0.4`);
    checkRange({ hysteresis_ratio: [hysteresis_ratio, 0, 1] });
  },
  decide(policy, situation) {
    const { wanted: now, signals } = situation;
    const charge = signals.battery_ratio;
    const size = situation.levels.length;
    const bands = policy.bands ?? Array.from({ length: size - 1 }, (_, index) => (index + 1) / size);
    const rule = `bands must be one fewer than the ${size} levels of the dial`;
    must(bands.length === size - 1, `${rule}, but got ${bands.length}; leave them out for equal bands`);
    if (signals.charging) return { position: top(situation), reason: "charging", memory: {} };
    if (isNone(charge)) return { position: now, reason: "no battery reading", memory: {} };
    const narrowest = Math.min(...steps([0, ...bands, 1]).map(([low, high]) => high - low));
    const margin = Math.min(policy.hysteresis_ratio, narrowest / 2);
    const battery = `battery ${percent(charge)}`;
    const lower = count(bands.slice(0, now), (bound) => charge >= bound - margin);
    if (lower < now) {
      return { position: lower, reason: `${battery} < ${percent(bands[lower] - margin)}`, memory: {} };
    }
    const upper = now + count(bands.slice(now), (bound) => charge > bound + margin);
    if (upper > now) {
      return { position: upper, reason: `${battery} > ${percent(bands[upper - 1] + margin)}`, memory: {} };
    }
    return { position: now, reason: battery, memory: {} };
  },
};

// The top level while a charger is in, at most a share of the dial without one.
const charger = {
  settings: { unplugged_ratio: 0.5 },
  check: ({ unplugged_ratio }) => checkRange({ unplugged_ratio: [unplugged_ratio, 0, 1] }),
  decide(policy, situation) {
    if (situation.signals.charging) return { position: top(situation), reason: "charging", memory: {} };
    const position = Math.trunc(policy.unplugged_ratio * top(situation));
    return { position, reason: "no charger", memory: {} };
  },
};

// A ceiling that sinks level by level while it is too hot, and rises again when it is cool.
const thermalClamp = {
  settings: { hot_c: 75, cool_c: 70, pause_s: 5 },
  check({ hot_c, cool_c, pause_s }) {
    checkRange({ hot_c: [hot_c, -273, 1000], pause_s: [pause_s, 0, 1e9], cool_c: [cool_c, -273, hot_c] });
  },
  decide({ hot_c, cool_c, pause_s }, situation) {
    const { memory, position, signals } = situation;
    const degrees = signals.temperature_c;
    const now = signals.time_s ?? null;
    let ceiling = Math.min(memory.ceiling ?? top(situation), top(situation));
    let moved = memory.moved_s ?? null;
    let reason = isNone(degrees) ? "no temperature" : `${short(degrees)} °C`;
    const waiting = now !== null && moved !== null && now - moved >= 0 && now - moved < pause_s;
    if (!isNone(degrees) && !waiting) {
      if (degrees >= hot_c && ceiling > 0) {
        [ceiling, moved] = [Math.max(0, Math.min(ceiling, position) - 1), now];
        reason = `${short(degrees)} °C >= ${short(hot_c)} °C`;
      } else if (degrees <= cool_c && ceiling < top(situation)) {
        [ceiling, moved] = [ceiling + 1, now];
        reason = `${short(degrees)} °C <= ${short(cool_c)} °C`;
      }
    }
    const urgent = ceiling < position;
    return { position: ceiling, reason, memory: { ceiling, moved_s: moved }, urgent };
  },
};

// The level that the user asks for, as long as one does, else what another policy chooses.
const userPin = {
  settings: { otherwise: undefined },
  complete: (policy) => ({ ...policy, otherwise: readPolicy(policy.otherwise) }),
  check() {},
  decide({ otherwise }, situation) {
    const { pin } = situation.signals;
    if (isNone(pin)) return decide(otherwise, situation);
    const position = Math.max(0, count(situation.numbers, (number) => number <= pin) - 1);
    return { position, reason: `pinned to ${pin}`, memory: situation.memory, urgent: true };
  },
};

// The lowest level that any of several policies chooses, of equal ones the first. Where others hold the level
// down, each stands at what it wanted itself.
const lowest = {
  settings: { policies: undefined },
  complete: (policy) => ({ ...policy, policies: policy.policies.map(readPolicy) }),
  check: ({ policies }) => must(policies.length > 0, "policies must be at least one, but got none; give one"),
  decide({ policies }, situation) {
    const choices = policies.map((policy, index) => {
      const part = situation.memory.parts?.[index] ?? {};
      const wanted = Math.max(situation.position, Math.min(part.wanted ?? 0, top(situation)));
      return decide(policy, { ...situation, wanted, memory: part.memory ?? {} });
    });
    const least = choices.reduce((low, choice) => (choice.position < low.position ? choice : low));
    const parts = choices.map(({ position, memory }) => ({ wanted: position, memory }));
    return { position: least.position, reason: least.reason, memory: { parts }, urgent: least.urgent };
  },
};

const POLICIES = {
  battery_bands: batteryBands,
  charger,
  deadline,
  energy_until: energyUntil,
  lowest,
  thermal_clamp: thermalClamp,
  user_pin: userPin,
};

// The policy that a record names, with the usual settings where it leaves them out.
export function readPolicy(record) {
  const known = Object.hasOwn(POLICIES, record?.name ?? "") ? POLICIES[record.name] : undefined;
  must(known, `a policy must be one of ${Object.keys(POLICIES).join(", ")}, but got ${record?.name}`);
  const { name, ...given } = record;
  const settings = { ...known.settings, ...given };
  for (const [key, value] of Object.entries(settings)) {
    must(key in known.settings, `${name} must have known settings, but got ${key}; leave it out`);
    must(value !== undefined, `${name} must have ${key}, but has not; give it`);
  }
  const policy = { name, ...(known.complete?.(settings) ?? settings) };
  known.check(policy);
  return Object.freeze(policy);
}

export const decide = (policy, situation) => POLICIES[policy.name].decide(policy, situation);
