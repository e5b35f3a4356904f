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

// In a cluster, how often who takes part in it is asked for.
const clusterEvery = 3000;

const model = new Model();
const activity = new Activity({ receive: (name, data) => model.receive(name, data), show: showConnection });

let listing = 0;

async function list() {
  clearTimeout(listing);
  await api.subscribers().then((subscribers) => model.list(subscribers), () => {}); // the connection says that it is away
  clearTimeout(listing);
  if (!document.hidden) listing = setTimeout(list, listEvery);
}

let watching = 0;

async function watchCluster() {
  clearTimeout(watching);
  const cluster = await api.cluster().catch(() => model.cluster);
  clearTimeout(watching);
  if (!cluster) return; // and will not be in one before it is started again, and this page connected again
  model.takeCluster(cluster);
  if (!document.hidden) watching = setTimeout(watchCluster, clusterEvery);
}

let paused = false;
whileSeen({
  pause() {
    paused = true;
    activity.pause();
  },
  seen() {
    list();
    watchCluster();
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
watchCluster();
