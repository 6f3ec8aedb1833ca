// The image that the network gets: drawn, picked or filmed on one canvas, and read from it as raw bytes.

const LEAST_SIDE = 288; // of the canvas, in its own pixels
const STROKE = { pixels: 1.25, ratio: 0.085 }; // of the network's pixels, and of the side: the wider counts
const FILL = 0.86; // of the frame, where no samples tell how much a drawing should take
const SHADES = { light: "#ffffff", dark: "#000000" };
const IN_MEMORY = { willReadFrequently: true };

// Raw bytes of an image, channel after channel, from the pixels of a canvas.
function toBytes({ data }, [channels, height, width]) {
  const size = height * width;
  const bytes = new Uint8ClampedArray(channels * size);
  for (let place = 0; place < size; place++) {
    const [red, green, blue] = data.subarray(4 * place, 4 * place + 3);
    const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
    const colours = channels >= 3 ? [red, green, blue, 255] : [grey, 255];
    for (let channel = 0; channel < channels; channel++) {
      bytes[channel * size + place] = channel < colours.length ? colours[channel] : grey;
    }
  }
  return new Uint8Array(bytes.buffer);
}

// The same bytes as pixels of a canvas.
function toImage(bytes, [channels, height, width]) {
  const size = height * width;
  const image = new ImageData(width, height);
  for (let place = 0; place < size; place++) {
    for (let colour = 0; colour < 3; colour++) {
      image.data[4 * place + colour] = bytes[(channels >= 3 ? colour : 0) * size + place];
    }
    image.data[4 * place + 3] = 255;
  }
  return image;
}

// Draw raw bytes on a canvas of the network's own size.
export function paint(canvas, bytes, shape) {
  [canvas.height, canvas.width] = [shape[1], shape[2]];
  canvas.getContext("2d", IN_MEMORY).putImageData(toImage(bytes, shape), 0, 0);
}

// The mean of each block of pixels, for browsers differ in how they make an image smaller.
function shrunk({ data, width }, factor, [, rows, columns]) {
  const small = new ImageData(columns, rows);
  for (let place = 0; place < rows * columns; place++) {
    const [top, left] = [Math.floor(place / columns) * factor, (place % columns) * factor];
    for (let colour = 0; colour < 3; colour++) {
      let total = 0;
      for (let y = top; y < top + factor; y++) {
        for (let x = left; x < left + factor; x++) total += data[4 * (y * width + x) + colour];
      }
      small.data[4 * place + colour] = Math.round(total / factor ** 2);
    }
    small.data[4 * place + 3] = 255;
  }
  return small;
}

// Where pixels differ from the paper, as { left, top, right, bottom }, or null for an empty image.
function inked({ data, width, height }, paper) {
  const box = { left: width, top: height, right: -1, bottom: -1 };
  for (let place = 0; place < width * height; place++) {
    if (Math.abs(data[4 * place + 1] - paper) < 64) continue;
    const [x, y] = [place % width, Math.floor(place / width)];
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x + 1);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y + 1);
  }
  return box.right < 0 ? null : box;
}

export class Pad {
  #canvas;
  #context;
  #changed;
  #factor;
  #pixels = null; // until the canvas changes
  #last = null; // the point where the stroke is
  #fill = FILL;
  drawn = true; // by hand, on empty paper
  empty = true;
  fits = true;
  inverted = false;

  constructor(canvas, shape, changed) {
    this.shape = shape;
    this.#canvas = canvas;
    this.#changed = changed;
    const [, height, width] = shape;
    this.#factor = Math.max(1, Math.ceil(LEAST_SIDE / Math.max(height, width)));
    [canvas.width, canvas.height] = [width * this.#factor, height * this.#factor];
    this.#context = canvas.getContext("2d", IN_MEMORY);
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => (this.#last = null));
    }
    this.clear();
  }

  get paper() {
    return this.inverted ? SHADES.light : SHADES.dark;
  }

  // What samples look like tells how much of the frame a drawing should fill.
  learn(images) {
    const [, height, width] = this.shape;
    const parts = images.map((bytes) => {
      const image = toImage(bytes, this.shape);
      const box = inked(image, image.data[1] > 127 ? 255 : 0);
      return box ? Math.max((box.right - box.left) / width, (box.bottom - box.top) / height) : FILL;
    });
    parts.sort((a, b) => a - b);
    if (parts.length) this.#fill = parts[parts.length >> 1];
  }

  clear() {
    this.#context.fillStyle = this.paper;
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#update(true, true);
  }

  // An image or a frame of a video: its middle, as large as fits.
  show(source, width, height) {
    const { width: across, height: down } = this.#canvas;
    const scale = Math.max(across / width, down / height);
    const [wide, high] = [across / scale, down / scale];
    this.#context.imageSmoothingEnabled = true;
    this.#context.imageSmoothingQuality = "high";
    this.#context.drawImage(source, (width - wide) / 2, (height - high) / 2, wide, high, 0, 0, across, down);
    this.#update(false);
  }

  // A sample, byte for byte.
  showBytes(bytes) {
    const small = document.createElement("canvas");
    paint(small, bytes, this.shape);
    this.#context.imageSmoothingEnabled = false;
    this.#context.drawImage(small, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#update(false);
    this.#pixels = bytes;
  }

  // What the network gets.
  get pixels() {
    if (this.#pixels === null) {
      const image = this.drawn && this.fits ? this.#fitted() : this.#image(this.#context);
      this.#pixels = toBytes(shrunk(image, this.#factor, this.shape), this.shape);
    }
    return this.#pixels;
  }

  refresh() {
    this.#update(this.drawn, this.empty);
  }

  #update(drawn, empty = false) {
    Object.assign(this, { drawn, empty });
    this.#pixels = null;
    this.#changed();
  }

  #image(context) {
    return context.getImageData(0, 0, this.#canvas.width, this.#canvas.height);
  }

  // The drawing in the middle of the frame, as large as samples are.
  #fitted() {
    const image = this.#image(this.#context);
    const box = inked(image, this.inverted ? 255 : 0);
    if (box === null) return image;
    const { width, height } = this.#canvas;
    const [wide, high] = [box.right - box.left, box.bottom - box.top];
    const scale = Math.min(3, (this.#fill * width) / wide, (this.#fill * height) / high);
    const fitted = new OffscreenCanvas(width, height).getContext("2d", IN_MEMORY);
    fitted.fillStyle = this.paper;
    fitted.fillRect(0, 0, width, height);
    const [x, y] = [(width - scale * wide) / 2, (height - scale * high) / 2];
    fitted.drawImage(this.#canvas, box.left, box.top, wide, high, x, y, scale * wide, scale * high);
    return this.#image(fitted);
  }

  #press(event) {
    if (event.button !== 0) return;
    if (!this.drawn) this.clear();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#last = this.#point(event);
    this.#stroke(this.#last);
    event.preventDefault();
  }

  #move(event) {
    if (this.#last === null) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) this.#stroke(this.#point(each));
  }

  #stroke(point) {
    const { height, width } = this.#canvas;
    const context = this.#context;
    context.strokeStyle = this.inverted ? SHADES.dark : SHADES.light;
    context.lineWidth = Math.max(STROKE.pixels * this.#factor, STROKE.ratio * Math.max(height, width));
    context.lineCap = "round";
    context.lineJoin = "round";
    context.beginPath();
    context.moveTo(this.#last.x, this.#last.y);
    context.lineTo(point.x, point.y);
    context.stroke();
    this.#last = point;
    this.#update(true);
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    const scale = this.#canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }
}
