// Where the list of events comes from. Both kinds give the event at an index, the
// newest being 0, or undefined while it is on its way.

import { search } from './api.js';
import { BoundedMap } from './bounded.js';

const piece = 100; // events that are fetched together
const pieces = 60; // that are kept

/** All events of the log: row i is the event head-i. */
export class Whole {
  head = 0; // the newest that is shown
  #pieces = new BoundedMap(pieces); // number: {events, end}
  #asked = new Map(); // number: control of the request under way
  #changed;

  constructor(changed) {
    this.#changed = changed;
  }

  get count() {
    return this.head;
  }

  at(index) {
    const sequence = this.head - index;
    return this.#pieces.get(Math.floor((sequence - 1) / piece))?.events[(sequence - 1) % piece];
  }

  /** The index of the event at a sequence. */
  indexOf(sequence) {
    return this.head - sequence;
  }

  /** Fetches what is in sight and not here; what is not in sight any more is let go of. */
  want(first, last) {
    const [from, to] = [Math.floor((this.head - last - 1) / piece), Math.floor((this.head - first - 1) / piece)];
    for (const [number, control] of this.#asked) if (number < from - 1 || number > to + 1) control.abort();
    for (let number = Math.max(0, from); number <= to; number++) {
      const needed = Math.min(this.head, (number + 1) * piece);
      if (!this.#asked.has(number) && (this.#pieces.get(number)?.end ?? 0) < needed) this.#fetch(number);
    }
  }

  async #fetch(number) {
    const control = new AbortController();
    this.#asked.set(number, control);
    try {
      const { events, last } = await search({ after: number * piece, limit: piece }, control.signal);
      this.#pieces.delete(number); // and so it is the newest
      this.#pieces.set(number, { events, end: last });
    } catch (error) {
      if (!control.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 1000)); // the connection says that the bus is away
    } finally {
      this.#asked.delete(number);
      this.#changed();
    }
  }

  close() {
    for (const control of this.#asked.values()) control.abort();
  }
}

const most = 5000; // events that a filter may have found
const atOnce = 200;

/** The events that a filter lets through, as far as the log was looked through. */
export class Filtered {
  events = []; // newest first
  looked = { first: 0, last: 0 }; // through this part of the log
  searching = false;
  error = null;
  #filter;
  #changed;
  #control = new AbortController();
  #wanted = atOnce;
  #newer = false;

  constructor(filter, changed) {
    this.#filter = filter;
    this.#changed = changed;
    this.#older();
  }

  get count() {
    return this.events.length;
  }

  at(index) {
    return this.events[index];
  }

  indexOf(sequence) {
    return this.events.findIndex((event) => event.sequence <= sequence);
  }

  /** Whether there is more of the log to look through, further back. */
  get more() {
    return this.looked.first > 1 && this.events.length < most;
  }

  want(first, last) {
    if (last >= this.events.length - 20 && this.events.length >= this.#wanted && this.more) {
      this.#wanted = this.events.length + atOnce;
      this.#older();
    }
  }

  async #older() {
    if (this.searching) return;
    this.searching = true;
    try {
      do {
        const before = this.looked.first ? { before: this.looked.first } : { before: '' };
        const found = await search({ ...this.#filter, ...before, limit: atOnce }, this.#control.signal);
        if (!this.looked.last) this.looked.last = found.last;
        this.looked.first = found.first;
        this.events = [...this.events, ...found.events];
        this.#changed();
      } while (this.more && this.events.length < this.#wanted);
      this.error = null;
    } catch (error) {
      if (!this.#control.signal.aborted) this.error = error;
    } finally {
      this.searching = false;
      if (!this.#control.signal.aborted) this.#changed();
    }
  }

  /** Looks through what has come since. */
  async follow(last) {
    if (this.#newer || !this.looked.last || last <= this.looked.last) return;
    this.#newer = true;
    try {
      const found = await search({ ...this.#filter, after: this.looked.last, limit: atOnce }, this.#control.signal);
      this.looked.last = found.last;
      if (found.events.length > 0) this.events = [...found.events.reverse(), ...this.events].slice(0, most);
      this.#changed();
    } catch {
      // the connection says that the bus is away; the next change asks again
    } finally {
      this.#newer = false;
    }
  }

  close() {
    this.#control.abort();
  }
}
