/* States that change faster than a screen: told at most once a frame. */

const framed = new WeakMap();

/** `source`, telling its subscribers at most once a frame; always the same object for the same source. */
export function perFrame(source) {
  if (!framed.has(source)) framed.set(source, new Frames(source));
  return framed.get(source);
}

class Frames {
  #source;
  #subscribers = new Set();
  #shown;
  #cancel = null;
  #stop = null;

  constructor(source) {
    this.#source = source;
  }

  getState = () => (this.#subscribers.size ? this.#shown : this.#source.getState());

  subscribe = (subscriber) => {
    const entry = { subscriber };
    if (!this.#subscribers.size) {
      this.#shown = this.#source.getState();
      this.#stop = this.#source.subscribe(() => {
        this.#cancel ??= nextFrame(() => this.#show());
      });
    }
    this.#subscribers.add(entry);
    return () => {
      if (!this.#subscribers.delete(entry) || this.#subscribers.size) return;
      this.#stop();
      this.#cancel?.();
      this.#cancel = null;
    };
  };

  #show() {
    this.#cancel = null;
    this.#shown = this.#source.getState();
    for (const { subscriber } of [...this.#subscribers]) subscriber();
  }
}

function nextFrame(then) {
  const frame = requestAnimationFrame(then);
  return () => cancelAnimationFrame(frame);
}
