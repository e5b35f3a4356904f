const state = await import('/js/state.js');

const at = (n) => String(n).padStart(20, '0');
const post = (id, comments = [], count = comments.length) => ({ id, title: `title of ${id}`, comments, count });
const pending = (id, content = '') => ({ id, content, status: 'pending' });
const approved = (id, content = `text of ${id}`) => ({ id, content, status: 'approved' });
const list = (n, ...posts) => state.loaded(state.nothing, { posts, next: null, sequence: at(n) });
const ids = (things) => things.map(({ id }) => id).join(' ');
const seen = (s, postId, comment, n) => state.commentSeen(s, { postId, ...comment }, at(n));

return {
  'a new post is there once, however often and in whatever order it arrives'() {
    const created = (s) => state.postCreated(s, post('new'));
    const live = (s) => state.postSeen(s, post('new'), at(11));
    const listed = (s) => state.loaded(s, { posts: [post('new'), post('old')], next: null, sequence: at(11) });
    for (const order of [[created, live, listed], [live, created, listed], [created, listed, live], [listed, live, created], [created, created, live, live]]) {
      equal(ids(order.reduce((s, arrive) => arrive(s), list(10, post('old'))).posts), 'new old');
    }
  },

  'posts stand newest first, whoever wrote them'() {
    let s = state.postCreated(list(10, post('b'), post('a')), post('mine'));
    s = state.postSeen(s, post('c'), at(12));
    equal(ids(s.posts), 'mine c b a');
    s = state.postSeen(s, post('mine'), at(11)); // it was written before c
    equal(ids(s.posts), 'c mine b a');
    s = state.postSeen(s, post('d'), at(13));
    equal(ids(s.posts), 'd c mine b a');
  },

  'a change that no event made is the newest'() {
    equal(ids(state.postSeen(list(10, post('a')), post('b'), at(10)).posts), 'b a');
  },

  'a list read again replaces what was there, but not what it does not know yet'() {
    const s = state.postSeen(state.postCreated(list(10, post('b'), post('a')), post('mine')), post('c'), at(11));
    equal(ids(state.loaded(s, { posts: [post('b')], next: 'more', sequence: at(10) }).posts), 'mine b');
  },

  'older posts come below, each once'() {
    const s = state.olderLoaded(list(10, post('c'), post('b')), { posts: [post('b'), post('a')], next: null, sequence: at(15) });
    equal(ids(s.posts), 'c b a');
    equal(ids(state.postSeen(s, post('d'), at(12)).posts), 'd c b a');
  },

  'a comment goes from pending to approved and never back'() {
    let s = seen(list(10, post('p')), 'p', pending('c'), 11);
    equal(s.posts[0].comments, [pending('c')]);
    s = seen(s, 'p', approved('c'), 12);
    equal(s.posts[0].comments, [approved('c')]);
    equal(seen(s, 'p', pending('c'), 11), s);
    equal(state.commentsLoaded(s, 'p', { comments: [pending('c')], more: false }).posts[0].comments, [approved('c')]);
    s = seen(s, 'p', { id: 'c', content: '', status: 'rejected' }, 13);
    equal(s.posts[0].comments[0].status, 'rejected');
    equal(s.posts[0].count, 1);
  },

  'whoever wrote a comment keeps seeing it while it is pending'() {
    const own = (s) => state.commentCreated(s, 'p', pending('c', 'my words'));
    const live = (s) => seen(s, 'p', pending('c'), 11);
    for (const order of [[own, live], [live, own]]) {
      const [p] = order.reduce((s, arrive) => arrive(s), list(10, post('p'))).posts;
      equal([p.comments, p.count], [[pending('c', 'my words')], 1]);
    }
  },

  'a comment that the list has counted is not counted again'() {
    const s = list(10, post('p', [approved('1')], 5));
    equal(seen(s, 'p', pending('5'), 9), s);
    equal(seen(s, 'p', pending('6'), 11).posts[0].count, 6);
  },

  'a decision on a comment that is not loaded changes nothing'() {
    const s = list(10, post('p', [approved('1')], 5));
    equal(seen(s, 'p', approved('3'), 11), s);
    equal(seen(s, 'unknown', approved('3'), 11), s);
  },

  'new comments stand behind those that are not loaded yet'() {
    let s = list(10, post('p', [approved('1'), approved('2')], 5));
    s = seen(s, 'p', pending('6'), 11);
    equal([ids(s.posts[0].comments), s.posts[0].prefix, state.hidden(s.posts[0])], ['1 2 6', 2, 3]);
    s = state.commentsLoaded(s, 'p', { comments: [approved('3'), approved('4')], more: true });
    equal([ids(s.posts[0].comments), s.posts[0].prefix, state.hidden(s.posts[0])], ['1 2 3 4 6', 4, 1]);
    s = state.commentsLoaded(s, 'p', { comments: [approved('5'), approved('6')], more: false });
    equal([ids(s.posts[0].comments), s.posts[0].prefix, state.hidden(s.posts[0])], ['1 2 3 4 5 6', 6, 0]);
    equal(s.posts[0].comments[5], approved('6'));
  },

  'a post that did not change is the same object'() {
    const s = list(10, post('b', [approved('1')]), post('a', [approved('2'), pending('3')]));
    const next = seen(s, 'a', approved('3'), 11);
    equal(next.posts[0] === s.posts[0], true);
    equal(next.posts[1].comments[0] === s.posts[1].comments[0], true);
    equal(next.posts[1] === s.posts[1], false);
  },
};
