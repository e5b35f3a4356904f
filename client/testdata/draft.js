const { Draft } = await import('/js/draft.js');
const { Storage } = await import('/js/storage.js');

let made = 0;
const newKey = () => `key ${++made}`;
const kept = () => {
  const map = new Map();
  return new Storage(() => ({
    getItem: (name) => map.get(name) ?? null,
    setItem: (name, value) => map.set(name, value),
    removeItem: (name) => map.delete(name),
  }));
};
const written = (text, storage = kept()) => {
  const draft = new Draft('post', storage, newKey);
  draft.write(text);
  return draft;
};

return {
  'the same text goes out under the same key'() {
    const draft = written('hello');
    equal(draft.begin(), draft.begin());
  },

  'another text goes out under another key'() {
    const draft = written('hello');
    const first = draft.begin();
    draft.write('hello!');
    equal(draft.begin() === first, false);
  },

  'text and key survive a reload'() {
    const storage = kept();
    const key = written('hello', storage).begin();
    const again = new Draft('post', storage, newKey);
    equal([again.text, again.unfinished, again.begin()], ['hello', true, key]);
  },

  'a text that was never sent is not called unfinished'() {
    const storage = kept();
    written('hello', storage);
    const again = new Draft('post', storage, newKey);
    equal([again.text, again.unfinished], ['hello', false]);
  },

  'a text that has arrived is forgotten, and so is its key'() {
    const storage = kept();
    const draft = written('hello', storage);
    const first = draft.begin();
    draft.finish();
    equal([draft.text, new Draft('post', storage, newKey).text], ['', '']);
    draft.write('hello');
    equal(draft.begin() === first, false);
  },

  'what another window writes meanwhile stays'() {
    const storage = kept();
    const draft = written('hello', storage);
    draft.begin();
    written('something else', storage);
    draft.finish();
    equal(new Draft('post', storage, newKey).text, 'something else');
  },

  'drafts do not mix'() {
    const storage = kept();
    written('hello', storage);
    equal(new Draft('comment.1', storage, newKey).text, '');
  },

  'a key that the service knows for something else is given up'() {
    const draft = written('hello');
    const first = draft.begin();
    draft.dropKey();
    equal(draft.begin() === first, false);
  },

  'a browser that keeps nothing, or is full, or holds something else, does no harm'() {
    const refuse = () => {
      throw new DOMException('no');
    };
    for (const open of [refuse, () => null, () => ({ getItem: refuse, setItem: refuse, removeItem: refuse }), () => ({ getItem: () => '{"text":', setItem() {}, removeItem() {} })]) {
      const draft = written('hello', new Storage(open));
      const key = draft.begin();
      equal([draft.text, draft.begin()], ['hello', key]);
      draft.finish();
      equal(draft.text, '');
    }
  },

  'keys are different'() {
    const keys = Array.from({ length: 100 }, () => {
      const draft = new Draft('post', kept());
      draft.write('hello');
      return draft.begin();
    });
    equal([new Set(keys).size, keys.every((key) => /^[0-9a-f]{32}$/.test(key))], [100, true]);
  },
};
