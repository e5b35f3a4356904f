// Something that one can do. What will happen is said before, what it did after.

import { html, useState } from '../vendor/preact-htm.js';
import { announce, useFocus } from './hooks.js';

/**
 * label  of the button
 * ask    () resolves to a sentence that says what will happen
 * act    () does it and resolves to a sentence that says what it did, or to
 *        {text, failed} if that is not what was wanted
 * done   is told that sentence afterwards
 */
export function Action({ label, ask, act, done = () => {} }) {
  const [state, setState] = useState({ step: 'idle' });
  const sure = useFocus([state.step === 'asked']);
  const run = async (step, work) => {
    setState({ step: 'busy', text: state.text });
    try {
      const said = await work();
      const { text, failed } = said.text ? said : { text: said };
      setState({ step: failed ? 'failed' : step, text });
      announce(text);
      if (step === 'done') done(text);
    } catch (error) {
      setState({ step: 'failed', text: error.message });
      announce(error.message);
    }
  };
  const leave = () => setState({ step: 'idle' });
  if (state.step === 'asked' || (state.step === 'busy' && state.text)) {
    return html`
      <div class="action asked">
        <p>${state.text}</p>
        <button type="button" ref=${sure} aria-disabled=${state.step === 'busy'} onClick=${() => state.step === 'asked' && run('done', act)}>${label}</button>
        <button type="button" class="quiet" onClick=${leave}>Leave it</button>
      </div>
    `;
  }
  return html`
    <div class="action">
      <button type="button" class="quiet" onClick=${() => run('asked', ask)}>${label}</button>
      ${state.text && html`<p class=${state.step === 'failed' ? 'wrong' : 'did'}>${state.text}</p>`}
    </div>
  `;
}
