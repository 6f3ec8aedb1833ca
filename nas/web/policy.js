// What all policies share: numbers in words, and checks that say the rule and the value.

const DIGITS = 4;
export const MOST = 1e15; // far beyond any device; so sums and products of signals stay finite

// A number as Python's "%.4g" writes it: ties of the exact value go to the even digit.
export function short(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const [mantissa, power] = Math.abs(value).toExponential(100).split("e");
  const digits = mantissa.replace(".", "");
  const [head, tail] = [Number(digits.slice(0, DIGITS)), digits.slice(DIGITS)];
  const half = `5${"0".repeat(tail.length - 1)}`;
  let rounded = String(head + Number(tail > half || (tail === half && head % 2 === 1)));
  let exponent = Number(power);
  if (rounded.length > DIGITS) [rounded, exponent] = [rounded.slice(0, DIGITS), exponent + 1];
  rounded = rounded.padEnd(DIGITS, "0");
  const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0*$/, "") : text);
  if (exponent < -4 || exponent >= DIGITS) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${trimmed(`${rounded[0]}.${rounded.slice(1)}`)}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  if (exponent < 0) return `${sign}${trimmed(`0.${"0".repeat(-exponent - 1)}${rounded}`)}`;
  return `${sign}${trimmed(`${rounded.slice(0, exponent + 1)}.${rounded.slice(exponent + 1)}`)}`;
}

export const percent = (ratio) => `${short(100 * ratio)} %`;

export function must(holds, sentence) {
  if (!holds) throw new Error(sentence);
}

export function checkRange(values) {
  for (const [name, [value, low, high]] of Object.entries(values)) {
    const span = `from ${short(low)} to ${short(high)}`;
    const holds = value === null || (Number.isFinite(value) && low <= value && value <= high);
    must(holds, `${name} must be ${span}, but got ${value}; give such a number`);
  }
}

export const isNone = (value) => value === null || value === undefined;
export const top = (situation) => situation.levels.length - 1;
