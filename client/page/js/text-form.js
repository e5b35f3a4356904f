// A form for one text, which is a draft until it has arrived.

import { html, useLayoutEffect, useRef, useState } from '../vendor/preact-htm.js';
import { announce } from './announce.js';

const growsByItself = CSS.supports('field-sizing', 'content');

let forms = 0;

/**
 * id, className  of the form
 * draft          the Draft that it edits
 * field          {name, label, labelUnseen, placeholder, limit, lines}; labelUnseen: whether it is
 *                for screen readers alone; lines: whether the text may have several
 * what           what is being written, in a word
 * button         what sends it
 * send           (text, key), resolves when it has arrived
 * sent           (what send resolved to), returns what to announce then
 */
export function TextForm({ id, className, draft, field, what, button, send, sent }) {
  const [prefix] = useState(() => `form-${++forms}`);
  const [text, setText] = useState(draft.text);
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState(null);
  const [unsent, setUnsent] = useState(draft.unfinished);
  const input = useRef(null);

  useLayoutEffect(() => {
    if (growsByItself || !field.lines) return;
    input.current.style.height = 'auto';
    input.current.style.height = `${input.current.scrollHeight}px`;
  }, [text]);

  function edit({ target }) {
    draft.write(target.value);
    setText(target.value);
    setProblem(null);
    setUnsent(false);
  }

  function fail(problem) {
    setProblem(problem);
    announce(sentence(problem));
    input.current.focus();
  }

  async function submit(event) {
    event.preventDefault();
    if (sending) return;
    const mistake = mistakeIn(text, what, field.limit);
    if (mistake) {
      fail({ message: mistake, field: field.name });
      return;
    }
    setSending(true);
    try {
      const result = await send(text.toWellFormed(), draft.begin());
      draft.finish();
      setText('');
      setProblem(null);
      announce(sent(result));
      if (event.target.contains(document.activeElement)) input.current.focus();
    } catch (problem) {
      if (problem.field === 'Idempotency-Key') draft.dropKey();
      fail(problem);
    } finally {
      setSending(false);
      setUnsent(false);
    }
  }

  function submitByKey(event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
  }

  const atFault = problem?.field === field.name;
  const sentence = (problem) => (problem.field === field.name ? problem.message : `${problem.message} Your ${what} is kept.`);
  const message = problem ? sentence(problem) : unsent ? `This ${what} was not sent yet.` : '';
  const left = field.limit - length(text);
  const counted = left <= Math.min(field.limit / 10, 500);
  const described = [message && `${prefix}-message`, counted && `${prefix}-count`].filter(Boolean).join(' ');
  const attributes = {
    id: `${prefix}-text`,
    ref: input,
    name: field.name,
    value: text,
    placeholder: field.placeholder,
    readOnly: sending,
    dir: 'auto',
    autocomplete: 'off',
    onInput: edit,
    'aria-required': 'true',
    'aria-invalid': atFault || left < 0 ? 'true' : 'false',
    'aria-describedby': described || undefined,
  };

  return html`
    <form id=${id} class="text-form ${className}" onSubmit=${submit} aria-busy=${sending} novalidate>
      <label for="${prefix}-text" class=${field.labelUnseen ? 'unseen' : undefined}>${field.label}</label>
      ${field.lines
        ? html`<textarea rows="1" onKeyDown=${submitByKey} ...${attributes}></textarea>`
        : html`<input type="text" enterkeyhint="send" ...${attributes} />`}
      <div class="foot">
        ${message && html`<p id="${prefix}-message" class=${problem ? 'message error' : 'message'}>${message}</p>`}
        ${counted && html`<p id="${prefix}-count" class=${left < 0 ? 'count error' : 'count'}>${remaining(left)}</p>`}
        <button type="submit" aria-disabled=${sending}>${(problem && !atFault) || unsent ? 'Try again' : button}</button>
      </div>
    </form>
  `;
}

/** Counts as the services do: characters, without blanks around. */
function length(text) {
  let count = 0;
  for (const _ of text.trim()) count++;
  return count;
}

function mistakeIn(text, what, limit) {
  const over = length(text) - limit;
  if (over === -limit) return `Write a ${what} first.`;
  if (over > 0) return `The ${what} is too long by ${characters(over)}.`;
  return '';
}

function remaining(left) {
  return left < 0 ? `${characters(-left)} too many` : `${characters(left)} left`;
}

function characters(n) {
  return n === 1 ? '1 character' : `${n} characters`;
}
