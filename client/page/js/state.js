// What the page knows: posts, newest first, each with comments, oldest first.
//
// Pure functions from a state and something that arrived to the next state.
// The same thing may arrive several times and in any order (the answer to
// whoever created it, the live stream, a list) and is there once. What did not
// change keeps its identity, so that only what changed is drawn again.
//
//   state   {posts, next}      next: where older posts are, null if there are none
//   post    {id, title, sequence, comments, prefix, count}
//   comment {id, content, status}
//
// A post's sequence says up to which event its comments are counted, and where
// it stands: a later one is higher up. It is null for a post that this page
// created and has not seen in the log yet.
//
// count is the number of all comments. The first `prefix` of those we have are
// the oldest without a gap; `hidden` others follow that we do not have; the
// rest of ours is newer.

export const nothing = { posts: [], next: null };

/** How many comments of the post are not here. */
export function hidden(post) {
  return Math.max(0, post.count - post.comments.length);
}

/** The newest posts, read from the start. Replaces what was there. */
export function loaded(state, { posts, next, sequence }) {
  const here = new Set(posts.map((post) => post.id));
  const unseen = state.posts.filter((post) => post.sequence === null && !here.has(post.id));
  return { posts: [...unseen, ...posts.map((post) => listed(post, sequence))], next };
}

/** Posts older than those that are there. */
export function olderLoaded(state, { posts, next, sequence }) {
  const here = new Set(state.posts.map((post) => post.id));
  const added = posts.filter((post) => !here.has(post.id)).map((post) => listed(post, sequence));
  return { posts: [...state.posts, ...added], next };
}

/** A post that this page created: on top until the log says where it belongs. */
export function postCreated(state, { id, title }) {
  if (state.posts.some((post) => post.id === id)) return state;
  return { ...state, posts: [newPost(id, title, null), ...state.posts] };
}

/** A post in the log at sequence. */
export function postSeen(state, { id, title }, sequence) {
  const known = state.posts.find((post) => post.id === id);
  if (known && known.sequence !== null) return state;
  const post = known ? { ...known, sequence } : newPost(id, title, sequence);
  const others = state.posts.filter((other) => other !== known);
  const below = others.findIndex((other) => other.sequence !== null && other.sequence <= sequence);
  return { ...state, posts: others.toSpliced(below < 0 ? others.length : below, 0, post) };
}

/** A comment that this page created. */
export function commentCreated(state, postId, comment) {
  return change(state, postId, (post) => update(post, comment) ?? append(post, comment));
}

/** A comment, or the decision on it, in the log at sequence. */
export function commentSeen(state, { id, postId, content, status }, sequence) {
  const comment = { id, content, status };
  return change(state, postId, (post) => {
    const updated = update(post, comment);
    if (updated) return updated;
    const counted = post.sequence !== null && sequence < post.sequence;
    const decisionOnHidden = status !== 'pending' && hidden(post) > 0;
    return counted || decisionOnHidden ? post : append(post, comment);
  });
}

/** The comments that follow the prefix. more: whether others follow them. */
export function commentsLoaded(state, postId, { comments, more }) {
  return change(state, postId, (post) => {
    const ours = new Map(post.comments.map((comment) => [comment.id, comment]));
    const head = post.comments.slice(0, post.prefix);
    for (const comment of head) ours.delete(comment.id);
    for (const comment of comments) {
      const known = head.findIndex((other) => other.id === comment.id);
      if (known >= 0) {
        head[known] = newer(head[known], comment);
      } else {
        head.push(ours.has(comment.id) ? newer(ours.get(comment.id), comment) : comment);
        ours.delete(comment.id);
      }
    }
    const all = [...head, ...ours.values()];
    return {
      ...post,
      comments: all,
      prefix: more ? head.length : all.length,
      count: more ? Math.max(post.count, all.length + 1) : all.length,
    };
  });
}

function newPost(id, title, sequence) {
  return { id, title, sequence, comments: [], prefix: 0, count: 0 };
}

function listed({ id, title, comments, count }, sequence) {
  return { id, title, sequence, comments, prefix: comments.length, count: Math.max(count, comments.length) };
}

function change(state, postId, next) {
  const at = state.posts.findIndex((post) => post.id === postId);
  if (at < 0) return state; // not loaded: it comes with its comments when it is
  const post = next(state.posts[at]);
  return post === state.posts[at] ? state : { ...state, posts: state.posts.with(at, post) };
}

/** The post with a comment that it has, or null if it does not have it. */
function update(post, comment) {
  const at = post.comments.findIndex((other) => other.id === comment.id);
  if (at < 0) return null;
  const winner = newer(post.comments[at], comment);
  return winner === post.comments[at] ? post : { ...post, comments: post.comments.with(at, winner) };
}

function append(post, comment) {
  const comments = [...post.comments, comment];
  return {
    ...post,
    comments,
    prefix: hidden(post) > 0 ? post.prefix : comments.length,
    count: post.count + 1,
  };
}

/**
 * A decision is never undone by an older "pending", and the text that its
 * author sees while it is pending not by the text withheld from everybody.
 */
function newer(known, arrived) {
  if (arrived.status === 'pending' && (known.status !== 'pending' || arrived.content === '')) return known;
  if (arrived.status === known.status && arrived.content === known.content) return known;
  return arrived;
}
