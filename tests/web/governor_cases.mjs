// node governor_cases.mjs FOLDER CASES.json: all in which the JavaScript of that folder differs from the cases.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";

const [folder, file] = process.argv.slice(2);
const { Governor } = await import(pathToFileURL(join(folder, "governor.js")));
const { short } = await import(pathToFileURL(join(folder, "policy.js")));
const { signals: names, numbers, cases } = JSON.parse(readFileSync(file));

const differences = [];
const compare = (where, expected, got) => {
  if (!isDeepStrictEqual(got, expected)) differences.push({ ...where, expected, got });
};
const stored = (value) => JSON.parse(JSON.stringify(value));
// Powers and roots may differ in the last of 17 digits.
const rounded = (value) =>
  JSON.parse(JSON.stringify(value), (_, each) => (typeof each === "number" ? Number(each.toPrecision(9)) : each));

for (const [value, text] of numbers) compare({ value }, text, short(value));
let steps = 0;
cases.forEach((each, number) => {
  let governor = Governor.fromJSON(each.governor, each.levels);
  each.steps.forEach(([row, ...expected], step) => {
    governor = governor.step(Object.fromEntries(names.map((name, place) => [name, row[place]])));
    compare({ case: number, step }, expected, [governor.level, governor.switched, governor.reason]);
    if (step % 8 === 7) governor = Governor.fromJSON(stored(governor), each.levels);
    steps++;
  });
  compare({ case: number }, rounded(each.end), rounded(governor));
});
console.log(JSON.stringify({ cases: cases.length, steps, count: differences.length, first: differences.slice(0, 3) }));
