// The page: where one can go, and the view that one is in.

import { html, useEffect, useRef } from '../vendor/preact-htm.js';
import { ApiView } from './api-view.js';
import { EventsView } from './events.js';
import { announce } from './hooks.js';
import { LifeView } from './life.js';
import { LogView } from './log.js';
import { MapView, stateTexts } from './map.js';
import { useRoute } from './route.js';
import { SubscribersView } from './subscribers.js';
import { Tour } from './tour.js';

const views = {
  '': { name: 'Map', view: MapView },
  events: { name: 'Events', view: EventsView },
  subscribers: { name: 'Subscribers', view: SubscribersView },
  log: { name: 'Followers and log', short: 'Log', view: LogView },
  api: { name: 'API', view: ApiView },
};
const hidden = { life: { name: 'The life of an event', view: LifeView, within: 'events' } };

const justNow = 5000; // ms; what was before the page was opened is told, too

export function App({ model }) {
  const route = useRoute();
  const [at = ''] = route.path;
  const place = views[at] ?? hidden[at] ?? views[''];
  const heading = useRef(null);
  const arrived = useRef(false);
  useEffect(() => {
    document.title = `${place.name} · Event bus`;
    if (arrived.current) heading.current.focus({ preventScroll: true });
    if (arrived.current) scrollTo(0, 0);
    arrived.current = true;
  }, [place]);
  useEffect(() => model.watch((name, { subscriber, state, at }) => { // to whoever does not see the map
    if (name === 'state' && model.now - at < justNow) announce(`${subscriber}: ${stateTexts[state] ?? state}.`);
  }), [model]);
  return html`
    <nav aria-label="Views">
      ${Object.entries(views).map(([path, { name, short }]) => html`
        <a key=${path} href="#/${path}" aria-current=${path === (place.within ?? at) || views[path] === place ? 'page' : undefined}>${short ? html`<span class="long">${name}</span><span class="short">${short}</span>` : name}</a>
      `)}
    </nav>
    <div class="view">
      <h2 class="unseen" tabindex="-1" ref=${heading}>${place.name}</h2>
      <${place.view} model=${model} route=${route} />
    </div>
    <${Tour} model=${model} />
  `;
}
