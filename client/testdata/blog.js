const { Blog } = await import('/js/blog.js');
const { Own } = await import('/js/own.js');
const { Storage } = await import('/js/storage.js');

const at = (n) => String(n).padStart(20, '0');
const approved = (id) => ({ id, content: `text of ${id}`, status: 'approved' });
const pending = (id, content = '') => ({ id, content, status: 'pending' });
const page = (n, ...posts) => ({ posts, next: null, sequence: at(n) });
const post = (id, comments = [], count = comments.length) => ({ id, title: id, comments, count });
const ids = (things) => things.map(({ id }) => id).join(' ');

function open(api, storage = new Storage(() => null)) {
  const said = [];
  const own = new Own(storage, (status) => said.push(status));
  return { blog: new Blog({ api, own, announce: (text) => said.push(text) }), said };
}

function later() {
  let resolve;
  const promise = new Promise((r) => (resolve = r));
  return { promise, resolve };
}

return {
  async 'loaded again, it shows as much as before'() {
    const asked = [];
    const comments = [1, 2, 3, 4].map((n) => approved(`c${n}`));
    const { blog } = open({
      posts: async (limit) => (asked.push(limit), page(10, post('p', comments.slice(0, 2), 4))),
      comments: async (id, after, limit) => (asked.push(`${id} ${after} ${limit}`), { comments: comments.slice(2), more: false }),
    });
    equal(await blog.load(), at(10));
    equal(ids(blog.now.posts[0].comments), 'c1 c2');
    await blog.loadMoreComments(blog.now.posts[0]);
    equal(ids(blog.now.posts[0].comments), 'c1 c2 c3 c4');
    await blog.load();
    equal(ids(blog.now.posts[0].comments), 'c1 c2 c3 c4');
    equal(asked, [20, 'p c2 undefined', 20, 'p c2 2']);
  },

  async 'an answer from before it was loaded again is not mixed in'() {
    const slow = later();
    const { blog } = open({
      posts: async () => ({ ...page(10, post('b')), next: 'before=b' }),
      olderPosts: () => slow.promise,
    });
    await blog.load();
    const older = blog.loadOlder();
    await blog.load();
    slow.resolve(page(10, post('a')));
    await older;
    equal(ids(blog.now.posts), 'b');
  },

  async 'what cannot be loaded at first is a failure, later it is not'() {
    let works = false;
    const problem = new Error('not now');
    const { blog } = open({
      posts: async () => {
        if (!works) throw problem;
        return page(10, post('a'));
      },
    });
    await blog.load().catch(() => {});
    equal([blog.now.status, blog.now.problem === problem], ['failed', true]);
    works = true;
    await blog.load();
    equal([blog.now.status, blog.now.problem, ids(blog.now.posts)], ['loaded', null, 'a']);
    works = false;
    await blog.load().catch(() => {});
    equal([blog.now.status, ids(blog.now.posts)], ['loaded', 'a']);
  },

  async 'a writer sees the pending text, also after a reload, and hears of the decision once'() {
    const map = new Map();
    const storage = new Storage(() => ({ getItem: (n) => map.get(n) ?? null, setItem: (n, v) => map.set(n, v), removeItem: (n) => map.delete(n) }));
    const api = { posts: async () => page(10, post('p', [pending('c')])), createComment: async () => pending('c', 'my words') };
    const before = open({ ...api, posts: async () => page(9, post('p')) }, storage);
    await before.blog.load();
    await before.blog.createComment('p', 'my words', 'key');
    equal(before.blog.now.posts[0].comments, [pending('c', 'my words')]);

    const { blog, said } = open(api, storage);
    await blog.load();
    equal(blog.now.posts[0].comments, [pending('c', 'my words')]);
    for (const n of [11, 12]) blog.receive('comment', { postId: 'p', ...approved('c') }, at(n));
    equal([blog.now.posts[0].comments, said], [[approved('c')], ['approved']]);
    equal(JSON.stringify([...map]).includes('my words'), false);
  },

  async 'a decision that overtakes the answer stays'() {
    const answer = later();
    const { blog, said } = open({ posts: async () => page(10, post('p')), createComment: () => answer.promise });
    await blog.load();
    const creating = blog.createComment('p', 'an orange', 'key');
    blog.receive('comment', { postId: 'p', ...pending('c') }, at(11));
    blog.receive('comment', { postId: 'p', id: 'c', content: '', status: 'rejected' }, at(12));
    answer.resolve(pending('c', 'an orange'));
    await creating;
    equal(blog.now.posts[0].comments, [{ id: 'c', content: '', status: 'rejected' }]);
    equal(said, ['rejected']);
  },

  async 'listeners hear of a burst once'() {
    const { blog } = open({});
    let calls = 0;
    const heard = new Promise((resolve) => blog.subscribe(() => (calls++, resolve())));
    for (let n = 1; n <= 100; n++) blog.receive('post', post(`p${n}`), at(n));
    await heard;
    equal([calls, blog.now.posts.length], [1, 100]);
  },
};
