const { Api, sequence, valuesInOrder } = await import('/js/api.js');

/** An Api whose services answer with answer(url, options). */
async function withAnswers(answer, use) {
  const real = window.fetch;
  const asked = [];
  window.fetch = async (url, options) => {
    if (url === '/config.json') return Response.json({ posts: 'http://posts', comments: 'http://comments', query: 'http://query/under' });
    asked.push({ url, ...options });
    const response = await answer(url);
    Object.defineProperty(response, 'url', { value: url });
    return response;
  };
  try {
    await use(new Api(), asked);
  } finally {
    window.fetch = real;
  }
}

const problemOf = async (promise) => {
  const { message, status, field } = await promise.then(() => ({}), (problem) => problem);
  return [message, status, field];
};

return {
  'posts keep their order, whatever their ids look like'() {
    const text = '{ "b": {"id":"b","title":"\\"}, \\"x\\": {"}, "12345678": {"id":"12345678","title":"[{"}, "7" : {"id":"7","comments":[{"id":"1"}]}, "\\u0061":{"id":"a"}, "__proto__":{"id":"__proto__"} }';
    equal(valuesInOrder(text).map(({ id }) => id), ['b', '12345678', '7', 'a', '__proto__']);
    equal(valuesInOrder('{"b":1,"a":2}'), [1, 2]);
    equal(valuesInOrder('{}'), []);
  },

  'sequences sort, with or without leading zeros'() {
    equal([sequence('9') < sequence('10'), sequence('00000000000000000010') === sequence('10'), sequence(null), sequence('9', 'log')], [true, true, '', '00000000000000000009@log']);
  },

  async 'a page of posts names the next one, under the address that was configured'() {
    const body = { p: { id: 'p', title: 'T', comments: [{ id: 'c', content: '', status: 'pending' }], commentCount: 7 } };
    await withAnswers(() => Response.json(body, { headers: { 'Event-Sequence': '42', 'Event-Log': 'log', Link: '</posts?limit=20&before=p>; rel="next"' } }), async (api, asked) => {
      const page = await api.posts(20);
      equal(page, { posts: [{ id: 'p', title: 'T', comments: [{ id: 'c', content: '', status: 'pending' }], count: 7 }], next: 'limit=20&before=p', sequence: '00000000000000000042@log' });
      await api.olderPosts(page.next);
      equal(asked.map(({ url }) => url), ['http://query/under/posts?limit=20', 'http://query/under/posts?limit=20&before=p']);
    });
  },

  async 'a simpler service, without counts, pages and sequences, will do'() {
    await withAnswers(() => Response.json({ p: { id: 'p', title: 'T', comments: [] } }), async (api) => {
      equal(await api.posts(20), { posts: [{ id: 'p', title: 'T', comments: [], count: 0 }], next: null, sequence: '' });
    });
  },

  async 'an id stays inside its part of the path'() {
    await withAnswers(() => Response.json([{ id: 'c', content: 'x', status: 'pending' }]), async (api, asked) => {
      await api.createComment('a/b?c', 'x', 'key');
      await api.comments('a/b?c', 'd&e', 5);
      equal(asked.map(({ url }) => url), ['http://comments/posts/a%2Fb%3Fc/comments', 'http://comments/posts/a%2Fb%3Fc/comments?limit=5&after=d%26e']);
      equal([asked[0].method, asked[0].headers['Idempotency-Key'], asked[0].body], ['POST', 'key', '{"content":"x"}']);
    });
  },

  async 'the new comment is the last one of the answer'() {
    const all = [{ id: 'a', content: 'same', status: 'approved' }, { id: 'b', content: 'same', status: 'pending' }];
    await withAnswers(() => Response.json(all, { status: 201 }), async (api) => equal(await api.createComment('p', 'same', 'key'), all[1]));
  },

  async 'what is wrong is said in words'() {
    const answers = [
      [() => Response.json({ detail: 'Too long.', field: 'title' }, { status: 422 }), ['Too long.', 422, 'title']],
      [() => Response.json({ detail: 'The bus is away.' }, { status: 503 }), ['The blog cannot do this just now. Try again in a moment.', 503, '']],
      [() => new Response('<h1>Too large', { status: 413 }), ['The blog answered with an error (413).', 413, '']],
      [() => Response.json(null, { status: 500 }), ['The blog answered with an error (500).', 500, '']],
      [() => new Response('<h1>Welcome'), ['The blog sent an answer that this page does not understand. Try again, or load the page anew.', 0, '']],
      [() => Promise.reject(new TypeError('Failed to fetch')), ['The blog cannot be reached. Check your connection.', 0, '']],
    ];
    for (const [answer, want] of answers) {
      await withAnswers(answer, async (api) => equal(await problemOf(api.createPost('T', 'key')), want));
    }
  },
};
