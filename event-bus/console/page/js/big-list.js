// A list of any length that scrolls as smoothly as a short one: only the rows in
// sight are there.
//
// A browser gives no element more than some ten million pixels. A longer list has
// an element of that height, and its own idea of where it is: small steps move it
// by as many pixels, a jump (the scroll bar is dragged) by the share of the whole.

import { Component, html } from '../vendor/preact-htm.js';

export const rowHeight = 36;

const highest = 4_000_000; // pixels
const settled = 150; // ms without a scroll event

/**
 * count    how many rows there are
 * row(i)   the row at an index, as {key, selected, content}
 * label    of the list
 * seen(first, last)  is told which rows are in sight
 * open(i)  is told that somebody chose a row
 * atTop(is) is told whether the list is at its top
 * active   the index of the row that the keyboard is at, -1 for none
 * move(i)  is told that the keyboard goes to a row
 */
export class BigList extends Component {
  top = 0; // in pixels of the whole list
  height = 600;
  #native = 0; // the element's scrollTop as we know it
  #timer = 0;
  #seen = '';

  componentDidMount() {
    this.observer = new ResizeObserver(() => {
      this.height = this.box.clientHeight;
      this.setState({});
    });
    this.observer.observe(this.box);
    this.tell();
  }

  componentDidUpdate() {
    this.top = Math.min(this.top, this.#farthest());
    this.tell();
  }

  componentWillUnmount() {
    clearTimeout(this.#timer);
    this.observer.disconnect();
  }

  #whole() {
    return this.props.count * rowHeight;
  }

  #farthest() {
    return Math.max(0, this.#whole() - this.height);
  }

  #range() {
    return Math.max(0, Math.min(highest, this.#whole()) - this.height);
  }

  scrolled() {
    const native = this.box.scrollTop;
    const step = native - this.#native;
    if (step === 0) return;
    const before = this.top;
    if (this.#whole() <= highest) this.top = native;
    else if (Math.abs(step) <= 2 * this.height && native > 0 && native < this.#range()) this.top += step;
    else this.top = this.#range() === 0 ? 0 : (native / this.#range()) * this.#farthest();
    this.top = Math.max(0, Math.min(this.top, this.#farthest()));
    this.#native = native;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.settle(), settled);
    if ((before === 0) !== (this.top === 0)) this.props.atTop(this.top === 0);
    this.setState({});
  }

  /** Puts the scroll bar where the list is, unless somebody scrolls at this moment. */
  settle() {
    if (!this.box || this.#whole() <= highest) return;
    if (this.box.scrollTop === this.#native) this.#place();
    else this.scrolled(); // its event is still to come; a step must not be lost
  }

  #place() {
    const native = this.#farthest() === 0 ? 0 : Math.round((this.top / this.#farthest()) * this.#range());
    this.box.scrollTop = Math.max(this.top > 0 ? 1 : 0, native);
    this.#native = this.box.scrollTop;
  }

  /** Brings a row into sight. */
  show(index, { middle = false } = {}) {
    const at = index * rowHeight;
    if (middle) this.top = at - this.height / 2;
    else if (at < this.top) this.top = at;
    else if (at + rowHeight > this.top + this.height) this.top = at + rowHeight - this.height;
    this.top = Math.max(0, Math.min(this.top, this.#farthest()));
    if (this.#whole() <= highest) {
      this.box.scrollTop = this.top;
      this.#native = this.box.scrollTop;
    } else {
      this.#place();
    }
    this.props.atTop(this.top === 0);
    this.setState({});
  }

  /** The rows in sight. */
  rows() {
    const first = Math.max(0, Math.floor(this.top / rowHeight));
    return { first, last: Math.min(this.props.count - 1, first + Math.ceil(this.height / rowHeight)) };
  }

  tell() {
    const { first, last } = this.rows();
    const seen = `${first} ${last} ${this.props.version}`;
    if (seen === this.#seen) return;
    this.#seen = seen;
    this.props.seen(first, last);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.height / rowHeight) - 1);
    const { active, count, move, open } = this.props;
    const steps = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: count - 1 };
    if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      const to = Math.max(0, Math.min(count - 1, active < 0 ? this.rows().first : steps[event.key]));
      event.preventDefault();
      move(to);
      this.show(to);
    } else if (event.key === 'Enter' && active >= 0) {
      event.preventDefault();
      open(active);
    }
  }

  render({ count, row, label, open, active, id }) {
    const { first, last } = this.rows();
    const shown = [];
    for (let i = first; i <= last; i++) shown.push(i);
    const offset = -(this.top - first * rowHeight);
    return html`
      <div class="big-list" id=${id} ref=${(box) => (this.box = box)} role="listbox" tabindex="0" aria-label=${label}
        aria-activedescendant=${active >= first && active <= last ? `${id}-${active}` : undefined}
        onScroll=${() => this.scrolled()} onKeyDown=${(event) => this.key(event)}>
        <div class="whole" role="presentation" style=${{ height: `${Math.min(highest, this.#whole())}px` }}>
          <div class="window" role="presentation" style=${{ height: `${this.height}px` }}>
            <div role="presentation" style=${{ transform: `translateY(${offset}px)` }}>
              ${shown.map((i) => {
                const { key, selected, content } = row(i);
                return html`
                  <div key=${key} id="${id}-${i}" class=${i === active ? 'row active' : 'row'} role="option" aria-selected=${selected} aria-posinset=${i + 1} aria-setsize=${count}
                    onClick=${() => open(i)}>${content}</div>
                `;
              })}
            </div>
          </div>
        </div>
      </div>
    `;
  }
}
