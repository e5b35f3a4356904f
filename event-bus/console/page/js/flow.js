// The lines of the map, and the events that run along them.
//
// An event comes in along its publisher's line; it runs on along the lines of
// those who are sent it, and a reply comes back along the subscriber's. Above some
// events a second a line shows that it is busy instead. Nothing moves for whoever
// asks for less motion.

import { BoundedMap } from './bounded.js';
import { tint } from './map.js';

const along = 620; // ms from one end of a line to the other
const perSecond = 8; // dots on a line; more make it busy
const atOnce = 80; // dots in all
const namespace = 'http://www.w3.org/2000/svg';
const still = matchMedia('(prefers-reduced-motion: reduce)');

export class Flow {
  #map;
  #svg;
  #model;
  #lines = new Map(); // node: {group, path, label, curve, began: [ms], busyUntil}
  #dots = []; // {element, line, back, start}
  #atBus = new BoundedMap(500); // sequence: when its dot is at the bus, by our clock
  #replies = new BoundedMap(500); // id of a cause: sequence of the reply to it
  #frame = 0;
  #stop;
  #resized;
  #live = performance.now() + 1500; // what was before is not played again

  constructor(map, svg, model) {
    [this.#map, this.#svg, this.#model] = [map, svg, model];
    this.#stop = model.watch((name, fact) => this.#receive(name, fact));
    this.#resized = new ResizeObserver(() => this.layout());
    this.#resized.observe(map);
  }

  end() {
    this.#stop();
    this.#resized.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Draws the lines between the bus and the cards that are there now. */
  layout() {
    const box = this.#map.getBoundingClientRect();
    const bus = this.#map.querySelector('[data-node="bus"]').getBoundingClientRect();
    // All is measured before anything is written, which would have it laid out anew.
    const cards = [...this.#map.querySelectorAll('[data-side]')].map((card) => ({ rect: card.getBoundingClientRect(), ...card.dataset }));
    const here = new Set();
    this.#svg.setAttribute('viewBox', `0 0 ${box.width} ${box.height}`);
    for (const { rect, node, side, state, label } of cards) {
      here.add(node);
      const line = this.#lines.get(node) ?? this.#draw(node);
      line.curve = curve(side, rect, bus, box);
      const [[x0, y0], [x1, y1], [x2, y2], [x3, y3]] = line.curve;
      line.path.setAttribute('d', `M${x0} ${y0}C${x1} ${y1} ${x2} ${y2} ${x3} ${y3}`);
      line.group.setAttribute('data-state', state);
      line.group.classList.toggle('busy', performance.now() < line.busyUntil && !still.matches);
      const [x, y] = at(line.curve, 0.5);
      line.label.setAttribute('x', x);
      line.label.setAttribute('y', y - 7);
      line.label.textContent = label === '0/s' ? '' : label;
    }
    for (const [node, line] of this.#lines) {
      if (here.has(node)) continue;
      line.group.remove();
      this.#lines.delete(node);
    }
  }

  #draw(node) {
    const group = element('g', { class: 'line', 'data-line': node });
    const line = { group, path: element('path', {}), label: element('text', { 'text-anchor': 'middle' }), began: [], busyUntil: 0 };
    group.append(line.path, line.label);
    this.#svg.append(group);
    this.#lines.set(node, line);
    return line;
  }

  #receive(name, fact) {
    const now = performance.now();
    if (now < this.#live || document.hidden) return;
    if (name === 'stored') {
      if (fact.reply) {
        this.#replies.set(fact.cause, fact.sequence);
        const cause = this.#model.stored.get(fact.sequence - 1); // most often
        if (cause?.id === fact.cause) this.#atBus.set(fact.sequence, Math.max(now, this.#atBus.get(cause.sequence) ?? 0) + 2 * along + 80);
        return;
      }
      const arrives = this.#run(`publisher ${fact.by?.name}`, fact.type, now, false);
      for (let sequence = fact.sequence; sequence <= fact.last && sequence < fact.sequence + 20; sequence++) this.#atBus.set(sequence, arrives);
    } else if (name === 'delivered') {
      const event = this.#model.stored.get(fact.sequence);
      const taken = fact.outcome === 'delivered';
      const there = this.#run(`subscriber ${fact.subscriber}`, taken ? event?.type : 'refused', this.#start(fact.sequence, now), false);
      const reply = taken && this.#replies.get(event?.id);
      if (reply) {
        this.#replies.delete(event.id);
        this.#atBus.set(reply, this.#run(`subscriber ${fact.subscriber}`, this.#model.stored.get(reply)?.type, there + 80, true));
      }
    } else if (name === 'followed' && fact.did === 'sent') {
      const event = this.#model.stored.get(fact.sent);
      this.#run(`follower ${fact.name}`, event?.type, this.#start(fact.sent, now), false);
    }
  }

  #start(sequence, now) {
    return Math.max(now, this.#atBus.get(sequence) ?? now);
  }

  /** Lets a dot run along a line from a time on, and returns when it is there. */
  #run(node, type, start, back) {
    const line = this.#lines.get(node);
    if (!line || still.matches) return start + along;
    const now = performance.now();
    line.began = line.began.filter((began) => began > now - 1000);
    line.began.push(now);
    if (line.began.length > perSecond) line.busyUntil = now + 1200;
    else if (this.#dots.length < atOnce) {
      const dot = element('circle', { r: 5, class: 'dot', 'data-tint': type === 'refused' ? 'refused' : tint(type ?? '') });
      this.#dots.push({ element: dot, line, back, start });
      this.#frame ||= requestAnimationFrame(() => this.#move());
    }
    return start + along;
  }

  #move() {
    const now = performance.now();
    this.#frame = 0;
    this.#dots = this.#dots.filter((dot) => {
      const share = (now - dot.start) / along;
      if (share > 1 || !dot.line.group.isConnected) {
        dot.element.remove();
        return false;
      }
      if (share < 0) return true;
      if (!dot.element.isConnected) this.#svg.append(dot.element);
      const eased = share * share * (3 - 2 * share);
      const [x, y] = at(dot.line.curve, dot.back ? 1 - eased : eased);
      dot.element.setAttribute('cx', x);
      dot.element.setAttribute('cy', y);
      return true;
    });
    if (this.#dots.length > 0) this.#frame = requestAnimationFrame(() => this.#move());
  }
}

/**
 * The curve that events take between a card and the bus, in its direction: four
 * points of a cubic. Cards are beside the bus where there is room, and above and
 * below it else.
 */
function curve(side, card, bus, box) {
  const shift = ([x, y]) => [x - box.left, y - box.top];
  const beside = side === 'left' ? card.right < bus.left : card.left > bus.right;
  let from, to, bend;
  if (beside) {
    const y = Math.min(card.top + 24, card.top + card.height / 2);
    const middle = bus.top + bus.height / 2;
    const busY = Math.max(bus.top + 20, Math.min(bus.bottom - 20, middle + (y - middle) * 0.35));
    [from, to] = side === 'left' ? [[card.right, y], [bus.left, busY]] : [[bus.right, busY], [card.left, y]];
    bend = [(to[0] - from[0]) / 2, 0];
  } else {
    const x = card.left + card.width / 2;
    const middle = bus.left + bus.width / 2;
    const busX = Math.max(bus.left + 20, Math.min(bus.right - 20, middle + (x - middle) * 0.5));
    [from, to] = side === 'left' ? [[x, card.bottom], [busX, bus.top]] : [[busX, bus.bottom], [x, card.top]];
    bend = [0, (to[1] - from[1]) / 2];
  }
  return [from, [from[0] + bend[0], from[1] + bend[1]], [to[0] - bend[0], to[1] - bend[1]], to].map(shift);
}

/** The point of a curve at a share of it. */
function at([a, b, c, d], t) {
  const u = 1 - t;
  return [0, 1].map((i) => u * u * u * a[i] + 3 * u * u * t * b[i] + 3 * u * t * t * c[i] + t * t * t * d[i]);
}

function element(name, attributes) {
  const made = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
