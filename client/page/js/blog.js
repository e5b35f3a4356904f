// The blog as this page sees it: its state, and everything that changes it.

import * as state from './state.js';

const postsAtOnce = 20;
const mostAtOnce = 1000; // what the services give in one answer

export class Blog {
  #api;
  #own;
  #announce;
  #listeners = new Set();
  #told = true; // whether the listeners know the current state
  #loads = 0; // an answer that was asked for before the last load is not mixed in
  #now = { ...state.nothing, status: 'loading', problem: null };

  /** announce(text) tells people who do not see the page. */
  constructor({ api, own, announce }) {
    this.#api = api;
    this.#own = own;
    this.#announce = announce;
  }

  /** What state.js describes, and status: loading, loaded, or failed with a problem. */
  get now() {
    return this.#now;
  }

  /** Calls listener after changes, at most once a frame. Returns what ends it. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads as much as is shown from the start; resolves to the sequence it reflects. */
  async load() {
    const turn = ++this.#loads;
    const shown = this.#now.posts;
    try {
      const page = await this.#api.posts(Math.min(mostAtOnce, Math.max(postsAtOnce, shown.length)));
      const unfolded = await this.#unfold(page, shown);
      if (turn === this.#loads) {
        let next = state.loaded(this.#now, this.#withOwn(page));
        for (const [postId, comments] of unfolded) next = state.commentsLoaded(next, postId, comments);
        this.#set({ ...next, status: 'loaded', problem: null });
      }
      return page.sequence;
    } catch (problem) {
      if (turn === this.#loads && this.#now.status !== 'loaded') this.#set({ status: 'failed', problem });
      throw problem;
    }
  }

  /** Where people see what the event bus did, '' if nobody may. */
  console() {
    return this.#api.console();
  }

  async loadOlder() {
    const turn = this.#loads;
    const page = await this.#api.olderPosts(this.#now.next);
    if (turn !== this.#loads) return;
    const before = this.#now.posts.length;
    this.#set(state.olderLoaded(this.#now, this.#withOwn(page)));
    this.#announce(`${this.#now.posts.length - before} older posts loaded.`);
  }

  async loadMoreComments(post) {
    const turn = this.#loads;
    const page = await this.#moreComments(post.id, post.comments[post.prefix - 1]);
    if (turn !== this.#loads) return;
    this.#set(state.commentsLoaded(this.#now, post.id, page));
    this.#announce(`${page.comments.length} more comments loaded.`);
  }

  async createPost(title, key) {
    this.#set(state.postCreated(this.#now, await this.#api.createPost(title, key)));
  }

  /** Resolves to the comment as it stands by then. */
  async createComment(postId, content, key) {
    const comment = await this.#api.createComment(postId, content, key);
    if (comment.status === 'pending') this.#own.add(comment);
    this.#set(state.commentCreated(this.#now, postId, comment));
    // The decision may have overtaken the answer.
    const shown = this.#now.posts.find((post) => post.id === postId)?.comments.find(({ id }) => id === comment.id);
    return shown ? this.#own.see(shown) : comment;
  }

  /** Takes in what the live stream brought. */
  receive(type, data, sequence) {
    if (type === 'post') this.#set(state.postSeen(this.#now, data, sequence));
    else this.#set(state.commentSeen(this.#now, { postId: data.postId, ...this.#own.see(data) }, sequence));
  }

  /** The further comments of those posts that show more than a list brings. */
  #unfold(page, shown) {
    const wanted = new Map(shown.map(({ id, prefix }) => [id, prefix]));
    const folded = page.posts.filter(({ id, comments, count }) => count > comments.length && wanted.get(id) > comments.length);
    return Promise.all(folded.map(async ({ id, comments }) => {
      const limit = Math.min(mostAtOnce, wanted.get(id) - comments.length);
      return [id, await this.#moreComments(id, comments.at(-1), limit)];
    }));
  }

  async #moreComments(postId, last, limit) {
    const page = await this.#api.comments(postId, last?.id, limit);
    return { ...page, comments: page.comments.map((comment) => this.#own.see(comment)) };
  }

  #withOwn(page) {
    const see = (comment) => this.#own.see(comment);
    return { ...page, posts: page.posts.map((post) => ({ ...post, comments: post.comments.map(see) })) };
  }

  #set(change) {
    this.#now = { ...this.#now, ...change };
    if (!this.#told) return;
    this.#told = false;
    const tell = () => {
      if (this.#told) return;
      this.#told = true;
      for (const listener of this.#listeners) listener();
    };
    requestAnimationFrame(tell);
    setTimeout(tell, 100); // a page that nobody looks at has no frames
  }
}
