// Followers, and the log itself.

import { html } from '../vendor/preact-htm.js';
import { logNumbers } from './api.js';
import { ago, bytes, count, counted, moment, rate } from './format.js';
import { useLoaded, useModel, useTicks } from './hooks.js';
import { Spark } from './spark.js';

export function LogView({ model }) {
  useModel(model);
  const ticks = useTicks(10_000);
  const { value: numbers, error } = useLoaded(logNumbers, [ticks]);
  const followers = model.followerGroups().flatMap((group) => group.copies);
  const { log } = model;
  const each = log.last > 0 ? log.bytes / log.last : 0;
  const aDay = (numbers?.lastDay ?? 0) * each;
  return html`
    <section aria-labelledby="followers">
      <h3 id="followers">Followers</h3>
      ${followers.length === 0 && html`<p class="note">Nobody follows the log at the moment. A service that asks for events and waits for more is shown here by itself.</p>`}
      ${followers.length > 0 && html`
        <div class="scroll" tabindex="0" role="region" aria-labelledby="followers">
          <table>
            <thead><tr><th scope="col">Who</th><th scope="col">Copy</th><th scope="col" class="number">Behind</th><th scope="col" class="number">Reads</th><th scope="col">Last seen</th><th scope="col">From</th></tr></thead>
            <tbody>
              ${followers.map((f) => html`
                <tr key=${f.key} data-state=${f.state}>
                  <th scope="row">${f.name}</th>
                  <td>${f.copy}</td>
                  <td class="number">${f.state === 'gone' ? 'left' : count(f.lag)}</td>
                  <td class="number">${rate(f.rate.perSecond(model.now))}</td>
                  <td>${f.state === 'up' && f.requests > 0 ? 'waits for events' : ago(model.now - f.at)}</td>
                  <td>${f.address}</td>
                </tr>
              `)}
            </tbody>
          </table>
        </div>
      `}
    </section>
    <section aria-labelledby="log">
      <h3 id="log">The log</h3>
      ${log.failure && html`<p class="note wrong">It takes no more events until the event bus is started again: ${log.failure}</p>`}
      ${error && html`<p class="note wrong">${error.message}</p>`}
      <div class="numbers">
        <${Figure} label="Events" value=${count(log.last)}>${numbers?.begun && `since ${moment(Date.parse(numbers.begun))}`}<//>
        <${Figure} label="Rate" value=${rate(model.rate.perSecond(model.now))}><${Spark} history=${model.rate.history(model.now)} /><//>
        <${Figure} label="On disk" value=${bytes(log.bytes)}>${counted(log.segments, 'segment')}${each > 0 && `, ${bytes(each)} an event`}<//>
        <${Figure} label="Last hour" value=${count(numbers?.lastHour ?? 0)}>events<//>
        <${Figure} label="Growth a day" value=${bytes(aDay)}>${counted(numbers?.lastDay ?? 0, 'event')} in the last 24 hours<//>
        ${log.total > 0 && html`<${Figure} label="Disk left" value=${bytes(log.free)}>of ${bytes(log.total)}${aDay > 0 && `, enough for ${lasts(log.free / aDay)}`}<//>`}
        <${Figure} label="Ids remembered" value=${count(numbers?.remembered ?? 0)}>an event that comes again under one of these is stored once<//>
      </div>
      <p class="small">The log's id is <code>${log.id}</code>.</p>
    </section>
    ${model.cluster && html`<${Cluster} model=${model} />`}
  `;
}

const copyStates = { up: 'up', joining: 'reads what was stored before it came', stopped: 'takes no more events', away: 'does not answer' };

/** Every copy of the bus, who of them delivers to whom, and the servers. */
function Cluster({ model }) {
  const { servers, stream, error } = model.cluster;
  const [own] = model.copies();
  return html`
    <section aria-labelledby="copies">
      <h3 id="copies">Copies of the event bus</h3>
      ${error && html`<p class="note wrong">${error}. Of the others, what follows is as it was before.</p>`}
      <div class="scroll" tabindex="0" role="region" aria-labelledby="copies">
        <table>
          <thead><tr><th scope="col">Copy</th><th scope="col">State</th><th scope="col" class="number">At event</th><th scope="col" class="number">Behind</th><th scope="col">Delivers to</th></tr></thead>
          <tbody>
            ${model.copies().map((copy) => html`
              <tr key=${copy.copy} data-copy=${copy.name} data-state=${copy.state === 'up' ? 'up' : 'gone'}>
                <th scope="row">${copy.name}${copy.copy === own.copy ? html` <span class="small">this one</span>` : ''}</th>
                <td>${copyStates[copy.state] ?? copy.state}${copy.why && html`<br /><span class="small">${copy.why}</span>`}</td>
                <td class="number">${count(copy.last)}</td>
                <td class="number">${count(copy.lag)}</td>
                <td>${model.subscribers.filter((s) => s.owner === copy.name).map((s) => s.name).join(', ') || 'nobody'}</td>
              </tr>
            `)}
          </tbody>
        </table>
      </div>
      <p class="small">Publishers and followers are shown as this copy sees them: its own.</p>
    </section>
    <section aria-labelledby="servers">
      <h3 id="servers">NATS servers</h3>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="servers">
        <table>
          <thead><tr><th scope="col">Server</th><th scope="col">State</th><th scope="col">Part</th><th scope="col" class="number">Behind</th></tr></thead>
          <tbody>
            ${servers.map((server) => html`
              <tr key=${server.name} data-server=${server.name} data-state=${error || server.state === 'offline' ? 'gone' : 'up'}>
                <th scope="row">${server.name}</th>
                <td>${error ? 'unknown' : server.state}</td>
                <td>${server.leader ? 'leads: gives events their order' : 'keeps a copy'}</td>
                <td class="number">${count(server.behind)}</td>
              </tr>
            `)}
          </tbody>
        </table>
      </div>
      <p class="small">Their stream has ${counted(stream.messages, 'message')} in ${bytes(stream.bytes)}${stream.limit > 0 && ` of at most ${bytes(stream.limit)}`}.</p>
    </section>
  `;
}

function lasts(days) {
  if (days > 3650) return 'more than ten years';
  if (days > 60) return `${count(days / 30)} months`;
  return counted(Math.floor(days), 'day');
}

function Figure({ label, value, children }) {
  return html`<div class="card number-card"><p class="label">${label}</p><p class="figure">${value}</p><div class="small">${children}</div></div>`;
}
