// One image on its way through a model: trunk by trunk, and through the heads that are asked, by the rules of
// nas/runtime/passage.py. `call(segment, features)` runs a segment and gives what it makes.

export class Passage {
  #model;
  #call;
  #segments;
  #features;
  #answers = new Map();
  #states = new Map(); // after the head of an exit
  #blank;
  #at = -1; // the last trunk that has run

  constructor(model, call, features) {
    this.#model = model;
    this.#call = call;
    this.#segments = new Map(model.segments.map((segment) => [segment.name, segment]));
    this.#features = features;
    this.#blank = features.state;
    this.executed = []; // the segments that have run, in order
  }

  // Go on to an exit, and give its answer, or that of an exit before it which is sure enough. An exit is asked
  // where its threshold is at most 1, and answers unless its confidence is below that, both in single precision.
  async reach(exit, thresholds) {
    const allHeads = this.#model.readout.combine !== "last";
    for (let k = 0; k < exit; k += 1) {
      await this.#trunk(k);
      const threshold = thresholds ? Math.fround(Math.min(2, thresholds[k])) : 2;
      if (allHeads || threshold <= 1) {
        const answer = this.#answers.get(k) ?? (await this.#head(k));
        if (threshold <= 1 && !(answer.confidence < threshold)) return answer;
      }
    }
    await this.#trunk(exit);
    return this.#answers.get(exit) ?? this.#head(exit);
  }

  async #trunk(exit) {
    if (exit <= this.#at) return;
    if (this.#segments.has(`trunk_${exit}`)) await this.#run(`trunk_${exit}`);
    this.#at = exit;
  }

  async #head(exit) {
    // What the last head before this exit that was asked remembers; nothing, where none was.
    const before = Math.max(...[...this.#states.keys()].filter((asked) => asked < exit));
    if (this.#blank) this.#features.state = this.#states.get(before) ?? this.#blank;
    const made = await this.#run(`head_${exit}`);
    if (made.next_state) this.#states.set(exit, made.next_state);
    const answer = { logits: made.logits.data, confidence: made.confidence.data[0], exit };
    this.#answers.set(exit, answer);
    return answer;
  }

  async #run(name) {
    const segment = this.#segments.get(name);
    const made = await this.#call(segment, this.#features);
    if (name.startsWith("trunk")) Object.assign(this.#features, made);
    this.executed.push(name);
    return made;
  }
}
