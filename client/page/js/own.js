// Comments that were written here and await moderation. Their text is withheld
// from everybody, so it is kept here for whoever wrote it, until the decision.

const name = 'miniblog.awaiting';

export class Own {
  #storage;
  #decided;
  #texts;

  /** decided(status) is told when one of them was approved or rejected. */
  constructor(storage, decided) {
    this.#storage = storage;
    this.#decided = decided;
    this.#texts = new Map(storage.get(name) ?? []);
  }

  add({ id, content }) {
    this.#texts.set(id, content);
    this.#save();
  }

  /** Returns the comment as its author may see it. */
  see(comment) {
    const text = this.#texts.get(comment.id);
    if (text === undefined) return comment;
    if (comment.status === 'pending') return { ...comment, content: text };
    this.#texts.delete(comment.id);
    this.#save();
    this.#decided(comment.status);
    return comment;
  }

  #save() {
    this.#storage.set(name, [...this.#texts]);
  }
}
