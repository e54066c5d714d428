// Virtual time, and what is to happen in it: a binary heap of events ordered by time, then by the order in
// which they were scheduled. The heap is data in the arena, so a snapshot holds it.
import { EVENT_BUS } from './codes';
import { Device } from './device';
import {
  AT_EVENT_COUNT,
  AT_EVENT_CURRENT,
  AT_EVENT_OWN,
  AT_EVENT_SEQUENCE,
  AT_EVENTS,
  AT_NOW,
  EVENT_DUE,
  EVENT_MAX,
  EVENT_STRIDE,
  REQUEST_MAX,
} from './layout';

const SEQUENCE: usize = 8;
const DEVICE: usize = 12;
const CODE: usize = 16;
const TAG: usize = 20;

export function now(): u64 {
  return load<u64>(AT_NOW);
}

export function setNow(ns: u64): void {
  store<u64>(AT_NOW, ns);
}

/**
 * Has `device` told of `code` and `tag` in `delay` ns. False when the queue is full: only then, and the
 * model has to do without (every model bounds what it has in flight). Room for one event of every media
 * request is kept free of the models' own.
 */
export function schedule(d: Device, code: u32, tag: u32, delay: u64): bool {
  const sequence = load<u32>(AT_EVENT_SEQUENCE);
  store<u32>(AT_EVENT_SEQUENCE, sequence + 1);
  return insert(d, code, tag, now() + delay, sequence);
}

/**
 * As schedule() with no delay, but in the place of the event that is being delivered: before everything
 * else that is due now.
 */
export function scheduleNext(d: Device, code: u32, tag: u32): bool {
  return insert(d, code, tag, now(), load<u32>(AT_EVENT_CURRENT));
}

function insert(d: Device, code: u32, tag: u32, due: u64, sequence: u32): bool {
  const count = load<u32>(AT_EVENT_COUNT);
  if (code < <u32>EVENT_BUS) {
    const own = load<u32>(AT_EVENT_OWN);
    if (own == EVENT_MAX - REQUEST_MAX) return false;
    store<u32>(AT_EVENT_OWN, own + 1);
  }
  assert(count < <u32>EVENT_MAX);
  store<u32>(AT_EVENT_COUNT, count + 1);
  const at = up(count, due, sequence);
  store<u64>(at + EVENT_DUE, due);
  store<u32>(at + SEQUENCE, sequence);
  store<u32>(at + DEVICE, changetype<usize>(d));
  store<u32>(at + CODE, code);
  store<u32>(at + TAG, tag);
  return true;
}

/** Takes back every event of `device` with this code and tag. */
export function cancel(d: Device, code: u32, tag: u32): void {
  let i: u32 = 0;
  while (i < load<u32>(AT_EVENT_COUNT)) {
    const at = entry(i);
    const hit =
      load<u32>(at + DEVICE) == <u32>changetype<usize>(d) &&
      load<u32>(at + CODE) == code &&
      load<u32>(at + TAG) == tag;
    i = hit ? min(i, remove(i)) : i + 1;
  }
}

/** When the next event is due; all ones when there is none. */
export function nextDue(): u64 {
  return load<u32>(AT_EVENT_COUNT) == 0 ? u64.MAX_VALUE : load<u64>(<usize>AT_EVENTS + EVENT_DUE);
}

// The event at the head, valid while nextDue() is.
export function headDevice(): u32 {
  return load<u32>(<usize>AT_EVENTS + DEVICE);
}
export function headCode(): u32 {
  return load<u32>(<usize>AT_EVENTS + CODE);
}
export function headTag(): u32 {
  return load<u32>(<usize>AT_EVENTS + TAG);
}
export function dropHead(): void {
  store<u32>(AT_EVENT_CURRENT, load<u32>(<usize>AT_EVENTS + SEQUENCE));
  remove(0);
}

/** Removes entry `i`. Returns where the entry went that took its place: nothing before that was moved. */
function remove(i: u32): u32 {
  const last = load<u32>(AT_EVENT_COUNT) - 1;
  store<u32>(AT_EVENT_COUNT, last);
  if (load<u32>(entry(i) + CODE) < <u32>EVENT_BUS) store<u32>(AT_EVENT_OWN, load<u32>(AT_EVENT_OWN) - 1);
  if (i == last) return i;
  // The last entry takes the free place, then finds its own.
  const from = entry(last);
  const due = load<u64>(from + EVENT_DUE);
  const sequence = load<u32>(from + SEQUENCE);
  const at =
    i > 0 && before(due, sequence, entry((i - 1) >>> 1))
      ? up(i, due, sequence)
      : down(i, last, due, sequence);
  move(at, from);
  return <u32>((at - AT_EVENTS) / EVENT_STRIDE);
}

/** Moves parents down from place `i` until one is earlier than the newcomer; where the newcomer goes. */
function up(i: u32, due: u64, sequence: u32): usize {
  while (i > 0) {
    const parent = (i - 1) >>> 1;
    if (!before(due, sequence, entry(parent))) break;
    move(entry(i), entry(parent));
    i = parent;
  }
  return entry(i);
}

/** Moves children up into place `i` until none is earlier than the newcomer; where the newcomer goes. */
function down(i: u32, count: u32, due: u64, sequence: u32): usize {
  while (true) {
    let child: u32 = 2 * i + 1;
    if (child >= count) break;
    if (child + 1 < count) {
      const right = entry(child + 1);
      if (before(load<u64>(right + EVENT_DUE), load<u32>(right + SEQUENCE), entry(child))) child++;
    }
    if (before(due, sequence, entry(child))) break;
    move(entry(i), entry(child));
    i = child;
  }
  return entry(i);
}

function before(due: u64, sequence: u32, other: usize): bool {
  const otherDue = load<u64>(other + EVENT_DUE);
  return due < otherDue || (due == otherDue && <i32>(sequence - load<u32>(other + SEQUENCE)) < 0);
}

/** Three words: memory.copy() costs several times as much for so little. */
function move(to: usize, from: usize): void {
  store<u64>(to, load<u64>(from));
  store<u64>(to, load<u64>(from, 8), 8);
  store<u64>(to, load<u64>(from, 16), 16);
}

function entry(i: u32): usize {
  return <usize>AT_EVENTS + i * EVENT_STRIDE;
}
