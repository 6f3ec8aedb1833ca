// The charge that the governor goes by: this device's, where the browser tells it, or a pretended one.

export class Battery {
  #device = null;
  #inputs;
  #shown;

  // `inputs` are the elements pretend, charge and charging; `shown` takes the state in words.
  constructor(inputs, shown, changed) {
    this.#inputs = inputs;
    this.#shown = shown;
    const update = () => {
      this.#show();
      changed();
    };
    for (const name of ["charge", "charging"]) {
      inputs[name].addEventListener("input", () => {
        inputs.pretend.checked = true; // whoever moves it means it
        update();
      });
    }
    inputs.pretend.addEventListener("change", () => {
      if (this.#device === null) inputs.pretend.checked = true;
      update();
    });
    this.#open(update);
  }

  get pretended() {
    return this.#inputs.pretend.checked;
  }

  // Signals for a governor.
  read() {
    const { charge, charging } = this.#inputs;
    if (this.pretended) return { battery_ratio: Number(charge.value) / 100, charging: charging.checked };
    const { level, charging: plugged } = this.#device;
    return { battery_ratio: level, charging: plugged };
  }

  async #open(update) {
    this.#inputs.pretend.checked = true;
    try {
      this.#device = (await navigator.getBattery?.()) ?? null;
    } catch {
      // A page may be denied its battery, and pretends one.
    }
    if (this.#device !== null) {
      this.#inputs.pretend.checked = false;
      for (const event of ["levelchange", "chargingchange"]) this.#device.addEventListener(event, update);
    }
    update();
  }

  #show() {
    const { battery_ratio, charging } = this.read();
    const state = `${Math.round(100 * battery_ratio)} %, ${charging ? "charger plugged in" : "no charger"}`;
    const untold = this.#device === null ? "This browser tells none, so pretended: " : "Pretended: ";
    this.#shown.textContent = `${this.pretended ? untold : "This device: "}${state}`;
  }
}
