const { Live } = await import('/js/live.js');

const at = (n) => String(n).padStart(20, '0');

/** What a Live under test does, and the sources that it opens. */
function follow(load = async () => at(10)) {
  const log = [];
  const sources = [];
  class Source extends EventTarget {
    readyState = 0;
    constructor(after) {
      super();
      log.push(`open ${Number(after)}`);
      sources.push(this);
    }
    accept() {
      this.readyState = 1;
      this.onopen();
    }
    send(type, n, data = {}) {
      this.dispatchEvent(Object.assign(new Event(type), { lastEventId: n ? at(n) : '', data: JSON.stringify(data) }));
    }
    close() {
      this.readyState = 2;
    }
  }
  const live = new Live({
    load: () => (log.push('load'), load()),
    open: async (after) => new Source(after),
    receive: (type, data, sequence) => log.push(`${type} ${Number(sequence)}`),
    show: (state) => log.push(state),
  });
  live.connect();
  return { live, log, sources };
}

async function until(condition) {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function connected(n, { sources }) {
  await until(() => sources.length === n);
  sources[n - 1].accept();
  return sources[n - 1];
}

return {
  async 'it loads, and then follows what comes after'() {
    const it = follow();
    const source = await connected(1, it);
    source.send('post', 11);
    source.send('comment', 12);
    equal(it.log, ['load', 'open 10', 'connected', 'post 11', 'comment 12']);
    it.live.pause();
  },

  async 'after a loss it goes on where it was, and takes nothing twice'() {
    const it = follow();
    const first = await connected(1, it);
    first.send('post', 11);
    first.onerror();
    const second = await connected(2, it);
    second.send('post', 11);
    second.send('post', 10);
    second.send('post', 12);
    equal(it.log, ['load', 'open 10', 'connected', 'post 11', 'connecting', 'open 11', 'connected', 'post 11', 'post 12']);
    equal(first.readyState, 2);
    it.live.pause();
  },

  async 'it says when it is not connected, and keeps trying'() {
    const it = follow();
    (await connected(1, it)).onerror();
    await until(() => it.sources.length === 2);
    it.sources[1].onerror();
    await until(() => it.sources.length === 3);
    it.sources[2].onerror();
    await connected(4, it);
    equal(it.log.filter((entry) => !entry.startsWith('open')), ['load', 'connected', 'connecting', 'offline', 'offline', 'connected']);
    it.live.pause();
  },

  async 'told to reset, it loads again'() {
    let n = 0;
    const it = follow(async () => at(++n * 10));
    (await connected(1, it)).send('reset', 0);
    await connected(2, it);
    equal(it.log, ['load', 'open 10', 'connected', 'connecting', 'load', 'open 20', 'connected']);
    it.live.pause();
  },

  async 'what cannot be loaded is tried again'() {
    let n = 0;
    const it = follow(async () => {
      if (++n < 3) throw new Error('not now');
      return at(10);
    });
    await connected(1, it);
    equal(it.log, ['load', 'offline', 'load', 'offline', 'load', 'open 10', 'connected']);
    it.live.pause();
  },

  async 'a change that no event made comes under the last sequence'() {
    const it = follow();
    (await connected(1, it)).send('comment', 0);
    equal(it.log.at(-1), 'comment 10');
    it.live.pause();
  },

  async 'paused, it keeps no connection; connected again, it has one'() {
    const it = follow();
    const first = await connected(1, it);
    equal(it.live.connected, true);
    it.live.pause();
    equal([it.live.connected, first.readyState], [false, 2]);
    it.live.connect();
    it.live.connect();
    await until(() => it.sources.length === 3);
    equal(it.sources.filter((source) => source.readyState !== 2).length, 1);
    it.live.pause();
  },
};
