// A draft is what somebody typed and has not got through yet. It outlives a
// failed request and a reload of the page.
//
// Its law: the same text goes out under the same Idempotency-Key until it
// arrived, so that sending it again never makes a second one.

export class Draft {
  #name;
  #storage;
  #newKey;
  #attempt = null; // {text, key} of the last time it was sent

  constructor(name, storage, newKey = randomKey) {
    this.#name = `miniblog.draft.${name}`;
    this.#storage = storage;
    this.#newKey = newKey;
    const kept = storage.get(this.#name);
    this.text = typeof kept?.text === 'string' ? kept.text : '';
    if (typeof kept?.attempt?.key === 'string') this.#attempt = kept.attempt;
  }

  /** Whether this very text was sent, with an outcome that nobody knows. */
  get unfinished() {
    return this.text !== '' && this.#attempt?.text === this.text;
  }

  write(text) {
    this.text = text;
    this.#save();
  }

  /** Returns the key to send the text with. It is kept before anything is sent. */
  begin() {
    if (this.#attempt?.text !== this.text) {
      this.#attempt = { text: this.text, key: this.#newKey() };
      this.#save();
    }
    return this.#attempt.key;
  }

  /** Gives up the key: the service knows it for something else. */
  dropKey() {
    this.#attempt = null;
    this.#save();
  }

  /** The text has arrived. What another window wrote here meanwhile stays. */
  finish() {
    if (this.#storage.get(this.#name)?.text === this.text) this.#storage.remove(this.#name);
    this.text = '';
    this.#attempt = null;
  }

  #save() {
    if (this.text === '' && this.#attempt === null) this.#storage.remove(this.#name);
    else this.#storage.set(this.#name, { text: this.text, attempt: this.#attempt });
  }
}

/** randomUUID exists on https and localhost only; this works on any origin. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
