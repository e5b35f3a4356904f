// The connection that brings what the bus does. It never gives up, and asks for
// what it missed.

const firstPause = 500; // ms, doubled after each failure
const longestPause = 10_000;
const facts = ['stored', 'delivered', 'followed', 'state', 'log', 'lost'];

export class Activity {
  #receive;
  #show;
  #source = null;
  #failures = 0;
  #timer = 0;

  /** receive(name, data) is told what happened, show(state) how the connection is. */
  constructor({ receive, show }) {
    this.#receive = receive;
    this.#show = show;
  }

  connect() {
    this.pause();
    const source = new EventSource('/activity');
    this.#source = source;
    source.onopen = () => {
      this.#failures = 0;
      this.#show('connected');
    };
    // The browser connects again by itself, with the last fact's number, unless
    // the answer was an error; then we do.
    source.onerror = () => {
      this.#show(this.#failures++ === 0 ? 'connecting' : 'offline');
      if (source.readyState !== EventSource.CLOSED) return;
      this.#timer = setTimeout(() => this.connect(), Math.min(longestPause, firstPause * 2 ** this.#failures));
    };
    for (const name of facts) {
      source.addEventListener(name, (event) => this.#receive(name, JSON.parse(event.data)));
    }
  }

  /** Lets go of the connection until connect is called. */
  pause() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
