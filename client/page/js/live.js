// The connection that brings what changes. It never gives up: a lost one is
// opened again where it ended, so that nothing is missed.
//
// It goes by "connecting" (at first, and for the first try after a loss),
// "connected", and "offline" (a try has failed; more follow, ever less often).

const firstPause = 250; // ms, doubled after each failure
const longestPause = 10_000;
const openLimit = 15_000;

export class Live {
  #load;
  #open;
  #receive;
  #show;
  // The sequence, and its log, up to which everything is here; '' means: load first.
  // In another log the server says reset.
  #after = '';
  #turn = 0; // counts tries, so that an old one cannot meddle with a newer
  #failures = 0;
  #source = null;
  #timer = 0;

  /**
   * load() reads everything and resolves to the sequence it reflects.
   * open(after) resolves to an EventSource of what comes next.
   * receive(type, data, sequence) is told what came.
   * show(state) is told how it goes.
   */
  constructor({ load, open, receive, show }) {
    this.#load = load;
    this.#open = open;
    this.#receive = receive;
    this.#show = show;
  }

  /** Connects now, whatever is under way. */
  async connect() {
    const turn = this.pause();
    try {
      if (!this.#after) {
        const sequence = await this.#load();
        if (turn !== this.#turn) return;
        this.#after = sequence;
      }
      const source = await this.#open(this.#after);
      if (turn !== this.#turn) source.close();
      else this.#listen(source);
    } catch {
      if (turn === this.#turn) this.#retry('offline');
    }
  }

  /** Lets go of the connection until connect is called. */
  pause() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    return ++this.#turn;
  }

  get connected() {
    return this.#source?.readyState === 1;
  }

  #listen(source) {
    this.#source = source;
    this.#timer = setTimeout(() => this.#retry('offline'), openLimit);
    source.onopen = () => {
      clearTimeout(this.#timer);
      // A server that lets us in and throws us out again gets no rest from it.
      this.#timer = setTimeout(() => (this.#failures = 0), longestPause);
      this.#show('connected');
    };
    source.onerror = () => this.#retry(this.#failures === 0 ? 'connecting' : 'offline');
    source.addEventListener('reset', () => {
      this.#after = '';
      this.#retry('connecting');
    });
    for (const type of ['post', 'comment']) {
      source.addEventListener(type, (event) => {
        this.#failures = 0;
        // A change that no event in the log made comes under the last sequence.
        const sequence = event.lastEventId ? event.lastEventId.padStart(20, '0') : this.#after;
        if (sequence < this.#after) return; // seen before
        this.#after = sequence;
        this.#receive(type, JSON.parse(event.data), sequence);
      });
    }
  }

  #retry(state) {
    this.pause();
    this.#show(state);
    const pause = Math.min(longestPause, firstPause * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.connect(), pause * (0.5 + Math.random() / 2));
  }
}
