// What the page knows of the bus, made from what /activity says.
//
// It is bounded: it forgets events, deliveries and clients, the oldest first,
// however much happens. Sequences are numbers here, times are milliseconds with
// fractions, by the bus's clock.

import { BoundedMap, Rate, Ring } from './bounded.js';
import { instant } from './format.js';

const events = 4000; // of which we know what was done with them
const clients = 200;
const reads = 2000; // of a follower
const forget = 600_000; // ms, then a client that left is not shown any more
const lagIsShown = 2500; // ms that it lasts
const goneIsShown = 15_000; // ms, beside another copy of the same name

export class Model {
  log = { id: '', last: 0, bytes: 0, segments: 0, free: 0, total: 0, failure: '', at: 0 };
  stored = new BoundedMap(events); // sequence: how an event got there
  deliveries = new BoundedMap(events); // sequence: [attempt]
  publishers = new BoundedMap(clients); // by key
  followers = new BoundedMap(clients); // by key
  subscribers = []; // as the bus lists them
  pushes = new BoundedMap(clients); // name of a subscriber: {rate, state, why, at}
  types = new BoundedMap(100); // type: how often it was seen
  rate = new Rate();
  lost = 0; // facts that we were too slow for
  known = false; // whether the log has said how it is doing
  listed = false; // whether the subscribers are known
  cluster = null; // {copies, servers, stream, error}; null: the bus is alone

  #skew = 0; // the bus's clock minus ours
  #listeners = new Set();
  #watchers = new Set();
  #scheduled = 0;

  /** The bus's clock. */
  get now() {
    return Date.now() + this.#skew;
  }

  /** Calls back when something has changed, some times a second at most. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls back with each fact as it comes: watcher(name, fact). */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Takes in a fact. */
  receive(name, data) {
    const fact = this[`_${name}`](data);
    for (const watcher of this.#watchers) watcher(name, fact);
    this.changed();
  }

  changed() {
    this.#scheduled ||= setTimeout(() => {
      this.#scheduled = 0;
      for (const listener of this.#listeners) listener();
    }, 200);
  }

  /** Replaces what is known of subscribers. */
  list(subscribers) {
    this.subscribers = subscribers;
    this.listed = true;
    this.changed();
  }

  /** Replaces what is known of the cluster. */
  takeCluster(cluster) {
    this.cluster = cluster;
    this.changed();
  }

  /** The copies of the bus as they are shown: {...copy, lag}, this page's first. */
  copies() {
    const { copies } = this.cluster;
    const last = Math.max(...copies.map((copy) => copy.last));
    const passing = 2 * this.rate.perSecond(this.now); // they are not all asked at the same moment
    return copies.map((copy) => ({ ...copy, lag: last - copy.last > passing ? last - copy.last : 0 }));
  }

  _log(data) {
    const before = this.log.id;
    this.log = { free: 0, total: 0, failure: '', ...data, last: Number(data.last), at: instant(data.at) };
    this.#skew = this.log.at - Date.now();
    this.known = true;
    if (before && before !== data.id) { // another log: nothing that was known holds
      for (const map of [this.stored, this.deliveries, this.publishers, this.followers]) map.clear();
    }
    return this.log;
  }

  _stored(data) {
    const sequence = Number(data.sequence);
    const last = data.last ? Number(data.last) : sequence;
    const at = instant(data.at);
    const fact = { ...data, sequence, last, count: last - sequence + 1, at, arrived: at - data.ms };
    this.stored.set(sequence, fact);
    this.types.set(data.type, (this.types.get(data.type) ?? 0) + fact.count);
    this.rate.add(fact.count, at);
    if (last > this.log.last) this.log = { ...this.log, last };
    if (data.by) {
      const key = keyOf(data.by);
      const publisher = this.publishers.get(key) ?? { key, ...data.by, rate: new Rate(), types: new Set() };
      publisher.at = at;
      publisher.rate.add(fact.count, at);
      if (publisher.types.size < 20) publisher.types.add(data.type);
      this.publishers.set(key, publisher);
    }
    return fact;
  }

  _delivered(data) {
    const at = instant(data.at);
    const fact = { ...data, sequence: Number(data.sequence), at, began: at - data.ms };
    const attempts = this.deliveries.get(fact.sequence) ?? [];
    if (attempts.length < 100) attempts.push(fact);
    this.deliveries.set(fact.sequence, attempts);
    const push = this.#push(data.subscriber);
    push.rate.add(1, at);
    push.last = fact;
    return fact;
  }

  _state(data) {
    const fact = { ...data, at: instant(data.at) };
    Object.assign(this.#push(data.subscriber), { state: data.state, why: data.why ?? '', at: fact.at });
    const known = this.subscribers.find((s) => s.name === data.subscriber);
    if (known) known.state = data.state;
    return fact;
  }

  _followed(data) {
    const key = keyOf(data);
    const at = instant(data.at);
    const follower = this.followers.get(key) ?? { key, name: data.name, copy: data.copy, address: data.address, rate: new Rate(), reads: new Ring(reads), position: 0, sent: 0 };
    const fact = { ...data, key, at, position: Number(data.position), sent: Number(data.sent) };
    const had = Math.max(follower.position, follower.sent);
    const has = Math.max(fact.position, fact.sent);
    if (had > 0 && has > had && data.did) follower.rate.add(has - had, at);
    Object.assign(follower, { position: fact.position, sent: fact.sent, requests: data.requests, at, left: data.did === 'left', types: data.types ?? [] });
    if (data.did === 'sent' || data.did === 'asked') follower.reads.push(fact);
    this.followers.set(key, follower);
    return fact;
  }

  _lost(data) {
    this.lost += data.facts;
    return data;
  }

  #push(name) {
    const push = this.pushes.get(name) ?? { rate: new Rate() };
    this.pushes.set(name, push);
    return push;
  }

  /** Followers as they are shown: {name, copies: [{...follower, lag, state}]}. */
  followerGroups() {
    return this.#grouped(this.followers, (follower) => ({
      ...follower,
      lag: this.#lagOf(follower),
      state: follower.requests > 0 ? 'up' : follower.left || this.now - follower.at > 5000 ? 'gone' : 'up',
    }));
  }

  /** How far behind a follower is, if it has been for some time: it hears of events that it does not want now and then only. */
  #lagOf(follower) {
    const lag = Math.max(0, this.log.last - Math.max(follower.position, follower.sent));
    if (lag === 0 || follower.behindSince === undefined) follower.behindSince = lag === 0 ? undefined : this.now;
    return lag > 0 && this.now - follower.behindSince > lagIsShown ? lag : 0;
  }

  /** Publishers as they are shown, in the same form. */
  publisherGroups() {
    return this.#grouped(this.publishers, (publisher) => {
      const follower = this.followers.get(publisher.key);
      return { ...publisher, state: follower?.left && follower.requests === 0 ? 'gone' : 'up' };
    });
  }

  #grouped(clients, see) {
    const groups = new Map();
    for (const client of clients.values()) {
      if (this.now - client.at > forget) continue;
      const copy = see(client);
      const group = groups.get(client.name) ?? { name: client.name, copies: [] };
      group.copies.push(copy);
      groups.set(client.name, group);
    }
    for (const group of groups.values()) {
      const alive = group.copies.some((copy) => copy.state === 'up');
      group.copies = group.copies.filter((copy) => copy.state === 'up' || this.now - copy.at < goneIsShown || (!alive && copy === group.copies.at(-1)));
      group.copies.sort((a, b) => (a.key < b.key ? -1 : 1));
      group.state = alive ? 'up' : 'gone';
    }
    return [...groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** When each follower was sent an event, and when it asked for what comes after it, if it does so. */
  readsOf(sequence, type) {
    const found = [];
    for (const follower of this.followers.values()) {
      if (follower.types?.length > 0 && !follower.types.includes(type)) continue;
      const sent = follower.reads.find((read) => read.did === 'sent' && read.position < sequence && read.sent >= sequence);
      const asked = sent && follower.reads.find((read) => read.did === 'asked' && read.position >= sequence && read.at >= sent.at);
      if (sent) found.push({ follower, sent: sent.at, asked: asked?.at });
    }
    return found;
  }
}

function keyOf({ name, copy = '', address }) {
  return `${name} ${copy || address}`;
}
