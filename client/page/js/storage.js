// Storage that never fails. A browser may forbid it or be out of room; then
// what was to be kept lasts until the page is left.

export class Storage {
  #backing = null;
  #memory = new Map(); // what the browser would not take

  /** open returns the browser's storage; reading the property may throw. */
  constructor(open) {
    try {
      this.#backing = open();
    } catch {
      // forbidden: memory has to do
    }
  }

  /** Returns what was kept under name, or null. */
  get(name) {
    try {
      return JSON.parse(this.#memory.get(name) ?? this.#backing?.getItem(name) ?? 'null');
    } catch {
      return null; // not ours, or forbidden meanwhile
    }
  }

  set(name, value) {
    const text = JSON.stringify(value);
    try {
      this.#backing.setItem(name, text);
      this.#memory.delete(name);
    } catch {
      this.#memory.set(name, text);
    }
  }

  remove(name) {
    this.#memory.delete(name);
    try {
      this.#backing.removeItem(name);
    } catch {
      // never got there
    }
  }
}
