// Puts the page together and keeps it connected.

import { html, render } from '../vendor/preact-htm.js';
import { announce } from './announce.js';
import { Api } from './api.js';
import { App } from './app.js';
import { Blog } from './blog.js';
import { Live } from './live.js';
import { Own } from './own.js';
import { Storage } from './storage.js';

// A browser opens six connections to a service, however many windows show the
// page: one that nobody looks at for this long gives its own back.
const unseenLimit = 60_000;

const connectionTexts = {
  connecting: 'Connecting…',
  connected: 'Live',
  offline: 'Not connected – reconnecting…',
};

function showConnection(state) {
  const element = document.getElementById('connection');
  element.dataset.state = state;
  element.textContent = connectionTexts[state];
}

const api = new Api();
const own = new Own(new Storage(() => sessionStorage), (status) => announce(`Your comment was ${status}.`));
const blog = new Blog({ api, own, announce });
const live = new Live({
  load: () => blog.load(),
  open: async (after) => new EventSource(await api.liveURL(after)),
  receive: (...event) => blog.receive(...event),
  show: showConnection,
});

let unseen = 0;
document.addEventListener('visibilitychange', () => {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(() => live.pause(), unseenLimit);
  else if (!live.connected) live.connect();
});
for (const change of ['online', 'offline']) addEventListener(change, () => live.connect());
addEventListener('pageshow', ({ persisted }) => persisted && live.connect());

const main = document.getElementById('main');
main.replaceChildren();
render(html`<${App} blog=${blog} drafts=${new Storage(() => localStorage)} retry=${() => live.connect()} />`, main);
live.connect();
