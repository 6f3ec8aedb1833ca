// One image on its way through a model: trunk by trunk, and through the heads that are asked, by the rules of
// nas/runtime/passage.py. `call(segment, features)` runs a segment and gives what it makes.

export class Passage {
  #model;
  #call;
  #segments;
  #features;
  #answers = new Map();
  #at = -1; // the last trunk that has run

  constructor(model, call, features) {
    this.#model = model;
    this.#call = call;
    this.#segments = new Map(model.segments.map((segment) => [segment.name, segment]));
    this.#features = features;
    this.executed = []; // the segments that have run, in order
  }

  // Go on to an exit, and give its answer, or that of an exit before it which is sure enough. An exit is asked
  // where its threshold is at most 1, and answers unless its confidence is below that, both in single precision.
  async reach(exit, thresholds) {
    const allHeads = this.#model.readout.combine !== "last";
    while (this.#at < exit) {
      const at = ++this.#at;
      if (this.#segments.has(`trunk_${at}`)) await this.#run(`trunk_${at}`);
      const threshold = thresholds && at < exit ? Math.fround(thresholds[at]) : Infinity;
      if (at < exit && (allHeads || threshold <= 1)) {
        const answer = await this.#head(at);
        if (threshold <= 1 && !(answer.confidence < threshold)) return answer;
      }
    }
    return this.#answers.get(exit) ?? this.#head(exit);
  }

  async #head(exit) {
    const made = await this.#run(`head_${exit}`);
    if (made.next_state && exit === this.#at) this.#features.state = made.next_state;
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
