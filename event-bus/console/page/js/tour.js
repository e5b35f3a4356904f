// A short tour over the real thing. It says what to do and sees that it was done.
// Whoever has no use for it is asked once.

import { html, useEffect, useState } from '../vendor/preact-htm.js';
import { announce, useFocus } from './hooks.js';
import { link } from './route.js';

const seenKey = 'console.tour';

const steps = [
  {
    title: 'Watch a post travel',
    text: 'Open the blog beside this page and write a post. It comes in from the left as an event, is stored, and runs on to everybody who follows the log.',
    done: (name, fact) => name === 'stored' && fact.type === 'PostCreated',
    did: 'There it was. Each follower has it in its own database now.',
  },
  {
    title: 'Watch a comment being decided',
    text: 'Write a comment. The bus pushes it to moderation, which replies with an event; that one goes to comments, which replies with another.',
    done: (name, fact) => name === 'stored' && fact.type === 'CommentUpdated',
    did: (fact) => html`Three events from one click. <a href=${link(['life', String(fact.sequence)])}>See how long each step took.</a>`,
  },
  {
    title: 'Stop moderation',
    text: html`Freeze it: <code>pkill -STOP -x moderation</code>. Then write another comment. Posts still work; the comment waits, and its subscriber's lag grows.`,
    done: (name, fact) => name === 'state' && fact.subscriber === 'moderation' && fact.state !== 'up',
    did: 'The bus has noticed. It asks again every now and then, and loses nothing.',
  },
  {
    title: 'Start it again',
    text: html`<code>pkill -CONT -x moderation</code>. The comment that waited is decided at once.`,
    done: (name, fact) => name === 'state' && fact.subscriber === 'moderation' && fact.state === 'up',
    did: 'Healed, by itself. That is what the log is for.',
  },
];

function seen() {
  try {
    return localStorage.getItem(seenKey) !== null;
  } catch {
    return true; // not to be asked each time
  }
}

function remember() {
  try {
    localStorage.setItem(seenKey, 'seen');
  } catch {
    // forbidden: seen() says so, too
  }
}

export function Tour({ model }) {
  const [at, setAt] = useState(() => (seen() ? -2 : -1)); // -2: closed, -1: the question
  const [fact, setFact] = useState(null);
  const title = useFocus([at]);
  const step = steps[at];
  useEffect(() => {
    setFact(null);
    if (!step) return undefined;
    return model.watch((name, data) => {
      if (model.now - (data.at ?? model.now) > 5000 || !step.done(name, data)) return; // what was before does not count
      setFact(data);
      announce(`Done: ${step.title}.`);
    });
  }, [at, model]);
  const leave = () => {
    remember();
    setAt(-2);
    document.getElementById('tour-open')?.focus();
  };
  const escape = (event) => event.key === 'Escape' && leave();
  if (at === -2) {
    return html`<footer><button type="button" id="tour-open" class="quiet" onClick=${() => setAt(0)}>Take the tour</button></footer>`;
  }
  if (!step) {
    return html`
      <aside class="tour" aria-label="Tour" onKeyDown=${escape}>
        <p>New here? A tour of four steps shows what an event does.</p>
        <p class="buttons"><button type="button" onClick=${() => setAt(0)}>Take the tour</button> <button type="button" class="quiet" onClick=${leave}>No, thanks</button></p>
      </aside>
    `;
  }
  const last = at === steps.length - 1;
  return html`
    <aside class="tour" aria-label="Tour" onKeyDown=${escape}>
      <p class="small">Step ${at + 1} of ${steps.length}</p>
      <h3 tabindex="-1" ref=${title}>${step.title}</h3>
      <p>${step.text}</p>
      ${fact && html`<p class="did">${typeof step.did === 'function' ? step.did(fact) : step.did}</p>`}
      <p class="buttons">
        <button type="button" class=${fact ? '' : 'quiet'} onClick=${() => (last ? leave() : setAt(at + 1))}>${last ? 'Finish' : fact ? 'Next' : 'Skip'}</button>
        ${!last && html`<button type="button" class="quiet" onClick=${leave}>End the tour</button>`}
      </p>
    </aside>
  `;
}
