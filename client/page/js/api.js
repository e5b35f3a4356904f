// The services over HTTP. What goes wrong is thrown as a Problem, whose message
// can be shown to whoever sits in front of the page.

/** Why something did not work. field names the part of the form at fault. */
export class Problem extends Error {
  constructor(message, { status = 0, field = '' } = {}) {
    super(message);
    this.name = 'Problem';
    this.status = status;
    this.field = field;
  }
}

// Services answer within 5 s, also when they cannot do it; beyond this
// something between us and them is stuck.
const patience = 20_000;

const commentsAtOnce = 100;

export class Api {
  #services = null; // the promise of /config.json

  /** The newest posts with their first comments, at most limit. */
  posts(limit) {
    return this.#posts(`limit=${limit}`);
  }

  /** The posts that follow; next is what the page before gave. */
  olderPosts(next) {
    return this.#posts(next);
  }

  /** The comments of a post after the one with that id, oldest first. */
  async comments(postId, after, limit = commentsAtOnce) {
    const parameters = new URLSearchParams({ limit });
    if (after) parameters.set('after', after);
    const response = await this.#request('comments', `/posts/${encodeURIComponent(postId)}/comments?${parameters}`);
    return { comments: await read(response, (text) => JSON.parse(text).map(comment)), more: nextPage(response) !== null };
  }

  /** Creates a post and returns it. */
  async createPost(title, key) {
    return read(await this.#send('posts', '/posts/create', { title }, key), JSON.parse);
  }

  /** Creates a comment and returns it as its author may see it. */
  async createComment(postId, content, key) {
    const response = await this.#send('comments', `/posts/${encodeURIComponent(postId)}/comments`, { content }, key);
    return read(response, (text) => comment(JSON.parse(text).at(-1))); // the new one comes last
  }

  /** The address of the live stream of what comes after a position. */
  async liveURL(after) {
    const { query } = await this.#config();
    return `${query}/posts/live${after ? `?after=${encodeURIComponent(after)}` : ''}`;
  }

  /** Where people see what the event bus did, '' if nobody may. */
  async console() {
    return (await this.#config()).console ?? '';
  }

  async #posts(parameters) {
    const response = await this.#request('query', `/posts?${parameters}`);
    return {
      posts: await read(response, (text) => valuesInOrder(text).map(post)),
      next: nextPage(response),
      sequence: sequence(response.headers.get('Event-Sequence'), response.headers.get('Event-Log')),
    };
  }

  #send(service, path, body, key) {
    return this.#request(service, path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: JSON.stringify(body),
    });
  }

  async #request(service, path, options = {}) {
    const base = (await this.#config())[service];
    const response = await get(base + path, options);
    if (!response.ok) throw await problem(response);
    return response;
  }

  #config() {
    this.#services ??= get('/config.json').then((response) => response.json()).catch(() => {
      this.#services = null; // ask again next time
      throw unreachable();
    });
    return this.#services;
  }
}

async function get(url, options) {
  try {
    return await fetch(url, { cache: 'no-cache', ...options, signal: AbortSignal.timeout(patience) });
  } catch {
    throw unreachable();
  }
}

/** Returns what understand makes of the text of the answer. */
async function read(response, understand) {
  const text = await response.text().catch(() => {
    throw unreachable(); // cut off on its way
  });
  try {
    return understand(text);
  } catch {
    throw new Problem('The blog sent an answer that this page does not understand. Try again, or load the page anew.');
  }
}

function unreachable() {
  return new Problem('The blog cannot be reached. Check your connection.');
}

async function problem(response) {
  const { status } = response;
  if (status >= 502 && status <= 504) {
    return new Problem('The blog cannot do this just now. Try again in a moment.', { status });
  }
  const { detail, field } = (await response.json().catch(() => null)) ?? {};
  return new Problem(detail || `The blog answered with an error (${status}).`, { status, field });
}

function post({ id, title, comments = [], commentCount = comments.length }) {
  return { id, title, comments: comments.map(comment), count: commentCount };
}

function comment({ id, content, status }) {
  return { id, content, status };
}

/**
 * A sequence as its 20 digits, so that it sorts, and the log that it is in, as the
 * ids of the live stream have them; '' if there is none.
 */
export function sequence(value, log) {
  return value ? value.padStart(20, '0') + (log ? `@${log}` : '') : '';
}

/** The query of the answer's next page, or null. */
function nextPage(response) {
  const link = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(response.headers.get('Link') ?? '');
  return link && new URL(link[1], response.url).search.slice(1);
}

/**
 * The values of a JSON object in the order in which it was written. A
 * JavaScript object would put keys that look like whole numbers first, and an
 * id of hex digits sometimes does.
 */
export function valuesInOrder(text) {
  const object = JSON.parse(text);
  const keys = Object.keys(object);
  if (!keys.some((key) => /^\d+$/.test(key))) return Object.values(object);
  const ordered = [];
  let depth = 0;
  for (const [token, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (depth === 1 && colon) ordered.push(object[JSON.parse(token.slice(0, -colon.length))]);
  }
  return ordered;
}
