// A button that loads more of a list, and says why if it could not.

import { html, useLayoutEffect, useRef, useState } from '../vendor/preact-htm.js';
import { announce } from './announce.js';

export function LoadButton({ label, load }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);

  async function click() {
    if (busy) return;
    setBusy(true);
    try {
      await load();
      setProblem(null);
    } catch (problem) {
      setProblem(problem);
      announce(problem.message);
    } finally {
      setBusy(false);
    }
  }

  return html`
    <div class="load">
      ${problem && html`<p class="message error">${problem.message}</p>`}
      <button type="button" class="quiet" aria-disabled=${busy} onClick=${click}>${problem ? 'Try again' : label}</button>
    </div>
  `;
}

/**
 * For a list of count items before its button: a ref for the list, and a
 * function that runs a load and then moves the focus to the first new item,
 * as the button may be gone.
 */
export function useFocusOnNew(count) {
  const list = useRef(null);
  const from = useRef(-1);

  useLayoutEffect(() => {
    if (from.current < 0 || count <= from.current) return;
    list.current.children[from.current].focus({ preventScroll: true });
    from.current = -1;
  }, [count]);

  async function focusingNew(load) {
    from.current = count;
    try {
      await load();
    } catch (problem) {
      from.current = -1;
      throw problem;
    }
  }

  return [list, focusingNew];
}
