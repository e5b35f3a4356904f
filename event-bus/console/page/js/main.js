// Puts the page together and keeps it connected.

import { html, render } from '../vendor/preact-htm.js';
import { Activity } from './activity.js';
import * as api from './api.js';
import { App } from './app.js';
import { Model } from './model.js';

// A browser opens six connections to a service, however many windows show the
// page: one that nobody looks at for this long gives its own back.
const unseenLimit = 60_000;

// How often the subscribers are asked for, in milliseconds: what moves cursors
// is not all among the facts.
const listEvery = 1000;

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

const model = new Model();
const activity = new Activity({ receive: (name, data) => model.receive(name, data), show: showConnection });

let unseen = 0;
let listing = 0;

async function list() {
  clearTimeout(listing);
  await api.subscribers().then((subscribers) => model.list(subscribers), () => {}); // the connection says that it is away
  clearTimeout(listing);
  if (!document.hidden) listing = setTimeout(list, listEvery);
}

let paused = false;
document.addEventListener('visibilitychange', () => {
  clearTimeout(unseen);
  if (document.hidden) {
    unseen = setTimeout(() => {
      paused = true;
      activity.pause();
    }, unseenLimit);
    return;
  }
  list();
  if (paused) activity.connect();
  paused = false;
});
addEventListener('online', () => activity.connect());
addEventListener('pageshow', ({ persisted }) => persisted && activity.connect());

const main = document.getElementById('main');
main.replaceChildren();
render(html`<${App} model=${model} />`, main);
activity.connect();
list();
