// Runs the fused file of a network, which stops by itself, on one image; Node 20 or newer:
//
//   node docs/hosts/run_fused.mjs BUNDLE MODEL IMAGE.raw [--max-exit 2] [--thresholds 0.9,0.8]
//
// BUNDLE is a folder; IMAGE.raw holds raw bytes, one channel after another. An exit before --max-exit, the
// last unless given, answers where its confidence is at least its threshold; without thresholds none is
// asked. Exit status: 0 done, 1 a damaged file or no ONNX Runtime, 2 wrong input.

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

function must(holds, sentence, status = 2) {
  if (!holds) throw Object.assign(new Error(sentence), { status });
}

// What is asked: the index of the bundle, one of its networks, its file, the pixels and the settings.
function readRequest() {
  const options = { "max-exit": { type: "string" }, thresholds: { type: "string" } };
  const { positionals, values } = parseArgs({ options, allowPositionals: true });
  must(positionals.length === 3, `give BUNDLE MODEL IMAGE.raw, but got ${positionals.length} names`);
  const [folder, name, image] = positionals;

  must(existsSync(join(folder, "bundle.json")), `BUNDLE must hold bundle.json, but ${folder} does not`);
  const bundle = JSON.parse(readFileSync(join(folder, "bundle.json")));
  must(bundle.format === "nas-dial-bundle" && bundle.version === 1, "the bundle must be of version 1", 1);
  const names = Object.keys(bundle.models);
  must(names.includes(name), `MODEL must be one of ${names.join(", ")}, but got ${name}`);
  const { exits, fused, readout } = bundle.models[name];
  must(fused, `${name} must have a fused file, but has none; export it with one`);
  const inside = resolve(folder, fused.file).startsWith(resolve(folder) + sep);
  must(inside, `a file must stay inside the bundle, but got ${fused.file}`, 1);
  const file = readFileSync(join(folder, fused.file));
  const sha256 = createHash("sha256").update(file).digest("hex");
  must(sha256 === fused.sha256, `${fused.file} must have the sha256 of bundle.json, but is damaged`, 1);

  must(existsSync(image), `IMAGE.raw must be a file, but ${image} is not`);
  const pixels = new Uint8Array(readFileSync(image));
  const size = bundle.input.shape.reduce((product, length) => product * length);
  must(pixels.length === size, `an image must have ${size} bytes, but ${image} has ${pixels.length}`);
  const maxExit = Number(values["max-exit"] ?? exits - 1);
  const known = Number.isInteger(maxExit) && 0 <= maxExit && maxExit < exits;
  must(known, `--max-exit must be from 0 to ${exits - 1}, but got ${values["max-exit"]}`);
  const given = values.thresholds?.split(",") ?? Array(exits - 1).fill("2"); // above 1: not even asked
  const numbers = given.length === exits - 1 && given.every((part) => part.trim() && !isNaN(part));
  must(numbers, `--thresholds must be ${exits - 1} numbers, but got ${values.thresholds}`);
  return { bundle, readout, file, pixels, maxExit, thresholds: Float32Array.from(given, Number) };
}

// onnxruntime-node where it is installed, else the files of onnxruntime-web in the folder NAS_ORT_WEB.
async function loadRuntime() {
  try {
    return (await import("onnxruntime-node")).default;
  } catch {
    must(process.env.NAS_ORT_WEB, "install onnxruntime-node, or name a folder in NAS_ORT_WEB", 1);
    const folder = pathToFileURL(resolve(process.env.NAS_ORT_WEB)).href;
    const ort = await import(`${folder}/ort.wasm.min.mjs`);
    ort.env.wasm.wasmPaths = `${folder}/`; // of the two files that it loads itself
    ort.env.wasm.numThreads = 1; // enough for small networks
    return ort;
  }
}

// The logits, as sure as validation images showed the exit to be; a mean of exits has had its temperatures.
function probabilities(logits, exit, readout) {
  const temperature = (readout.combine !== "mean" && readout.temperatures[exit]) || 1;
  const powers = logits.map((logit) => Math.exp((logit - Math.max(...logits)) / temperature));
  const total = powers.reduce((sum, power) => sum + power);
  return powers.map((power) => power / total);
}

async function main() {
  const { bundle, readout, file, pixels, maxExit, thresholds } = readRequest();
  const ort = await loadRuntime();
  const session = await ort.InferenceSession.create(new Uint8Array(file), { intraOpNumThreads: 1 }); // once
  const made = await session.run({
    x: new ort.Tensor("uint8", pixels, [1, ...bundle.input.shape]),
    max_exit: new ort.Tensor("int64", [BigInt(maxExit)], []),
    thresholds: new ort.Tensor("float32", thresholds, [thresholds.length]),
  });
  const [logits, exit] = [[...made.logits.data], Number(made.exit.data[0])];
  const label = logits.indexOf(Math.max(...logits));
  const probability = probabilities(logits, exit, readout)[label];
  console.log(JSON.stringify({ exit, label, class: bundle.classes[label], probability, logits }));
}

try {
  await main();
} catch (error) {
  console.error(String(error.message ?? error).split("\n")[0]);
  process.exitCode = error.status ?? (error.code?.startsWith?.("ERR_PARSE_ARGS") ? 2 : 1);
}
