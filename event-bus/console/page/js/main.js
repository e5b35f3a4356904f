// Puts the page together and keeps it connected.

import { showConnection, whileSeen } from '../shared/connection.js';
import { html, render } from '../vendor/preact-htm.js';
import { Activity } from './activity.js';
import * as api from './api.js';
import { App } from './app.js';
import { Model } from './model.js';

// How often the subscribers are asked for, in milliseconds: what moves cursors
// is not all among the facts.
const listEvery = 1000;

const model = new Model();
const activity = new Activity({ receive: (name, data) => model.receive(name, data), show: showConnection });

let listing = 0;

async function list() {
  clearTimeout(listing);
  await api.subscribers().then((subscribers) => model.list(subscribers), () => {}); // the connection says that it is away
  clearTimeout(listing);
  if (!document.hidden) listing = setTimeout(list, listEvery);
}

let paused = false;
whileSeen({
  pause() {
    paused = true;
    activity.pause();
  },
  seen() {
    list();
    if (paused) activity.connect();
    paused = false;
  },
});
addEventListener('online', () => activity.connect());
addEventListener('pageshow', ({ persisted }) => persisted && activity.connect());

const main = document.getElementById('main');
main.replaceChildren();
render(html`<${App} model=${model} />`, main);
activity.connect();
list();
