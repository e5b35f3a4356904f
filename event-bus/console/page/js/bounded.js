// Collections that forget what is oldest, so that a page that is open for a day
// is no larger than one that was opened just now.

/** A Map of at most limit entries; those that were set first go first. */
export class BoundedMap extends Map {
  #limit;

  constructor(limit) {
    super();
    this.#limit = limit;
  }

  set(key, value) {
    super.set(key, value);
    if (this.size > this.#limit) this.delete(this.keys().next().value);
    return this;
  }
}

/** The newest of a list, at most limit. */
export class Ring {
  #items = [];
  #limit;
  #start = 0;

  constructor(limit) {
    this.#limit = limit;
  }

  push(item) {
    if (this.#items.length < this.#limit) {
      this.#items.push(item);
    } else {
      this.#items[this.#start] = item;
      this.#start = (this.#start + 1) % this.#limit;
    }
  }

  /** The first item, oldest first, for which test holds. */
  find(test) {
    for (let i = 0; i < this.#items.length; i++) {
      const item = this.#items[(this.#start + i) % this.#items.length];
      if (test(item)) return item;
    }
    return undefined;
  }
}

const seconds = 60;

/** How often something happened in each of the last seconds. */
export class Rate {
  #counts = new Array(seconds).fill(0);
  #second = 0; // that the newest count is of
  total = 0;

  /** n times, at ms of the bus's clock. */
  add(n, ms) {
    const second = Math.floor(ms / 1000);
    this.total += n;
    this.#advance(second);
    if (second > this.#second - seconds) this.#counts[second % seconds] += n;
  }

  /** A second, over the last five that are whole. */
  perSecond(now) {
    return this.history(now).slice(-5).reduce((sum, n) => sum + n, 0) / 5;
  }

  /** Counts of whole seconds, the newest last. */
  history(now) {
    this.#advance(Math.floor(now / 1000));
    const counts = [];
    for (let s = this.#second - seconds + 1; s < this.#second; s++) counts.push(this.#counts[((s % seconds) + seconds) % seconds]);
    return counts;
  }

  #advance(second) {
    if (second <= this.#second) return;
    for (let s = Math.max(this.#second + 1, second - seconds + 1); s <= second; s++) this.#counts[s % seconds] = 0;
    this.#second = second;
  }
}
