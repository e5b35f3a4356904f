// Puts the page together and keeps it connected.

import { showConnection, whileSeen } from '../shared/connection.js';
import { html, render } from '../vendor/preact-htm.js';
import { announce } from './announce.js';
import { Api } from './api.js';
import { App } from './app.js';
import { Blog } from './blog.js';
import { Live } from './live.js';
import { Own } from './own.js';
import { Storage } from './storage.js';

const api = new Api();
const own = new Own(new Storage(() => sessionStorage), (status) => announce(`Your comment was ${status}.`));
const blog = new Blog({ api, own, announce });
const live = new Live({
  load: () => blog.load(),
  open: async (after) => new EventSource(await api.liveURL(after)),
  receive: (...event) => blog.receive(...event),
  show: showConnection,
});

whileSeen({ pause: () => live.pause(), seen: () => live.connected || live.connect() });
for (const change of ['online', 'offline']) addEventListener(change, () => live.connect());
addEventListener('pageshow', ({ persisted }) => persisted && live.connect());

const main = document.getElementById('main');
main.replaceChildren();
render(html`<${App} blog=${blog} drafts=${new Storage(() => localStorage)} retry=${() => live.connect()} />`, main);
live.connect();
