// Virtual time, and what is to happen in it: a binary heap of events ordered by time, then by the order in
// which they were scheduled. The heap is data in the arena, so a snapshot holds it.
import { Device } from './device';
import { AT_EVENT_COUNT, AT_EVENT_SEQUENCE, AT_EVENTS, AT_NOW, EVENT_MAX, EVENT_STRIDE } from './layout';

const DUE: usize = 0;
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
 * model has to do without (every model bounds what it has in flight).
 */
export function schedule(d: Device, code: u32, tag: u32, delay: u64): bool {
  const count = load<u32>(AT_EVENT_COUNT);
  if (count == EVENT_MAX) return false;
  const due = now() + delay;
  const sequence = load<u32>(AT_EVENT_SEQUENCE);
  store<u32>(AT_EVENT_SEQUENCE, sequence + 1);
  store<u32>(AT_EVENT_COUNT, count + 1);
  const at = up(count, due, sequence);
  store<u64>(at + DUE, due);
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
    if (hit) remove(i);
    else i++;
  }
}

/** Takes back every event of `device`. */
export function cancelAll(d: Device): void {
  let i: u32 = 0;
  while (i < load<u32>(AT_EVENT_COUNT)) {
    if (load<u32>(entry(i) + DEVICE) == <u32>changetype<usize>(d)) remove(i);
    else i++;
  }
}

/** When the next event is due; all ones when there is none. */
export function nextDue(): u64 {
  return load<u32>(AT_EVENT_COUNT) == 0 ? u64.MAX_VALUE : load<u64>(<usize>AT_EVENTS + DUE);
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
  remove(0);
}

function remove(i: u32): void {
  const last = load<u32>(AT_EVENT_COUNT) - 1;
  store<u32>(AT_EVENT_COUNT, last);
  if (i == last) return;
  // The last entry takes the free place, then finds its own.
  const from = entry(last);
  const due = load<u64>(from + DUE);
  const sequence = load<u32>(from + SEQUENCE);
  const at =
    i > 0 && before(due, sequence, entry((i - 1) >>> 1))
      ? up(i, due, sequence)
      : down(i, last, due, sequence);
  memory.copy(at, from, EVENT_STRIDE);
}

/** Moves parents down from place `i` until one is earlier than the newcomer; where the newcomer goes. */
function up(i: u32, due: u64, sequence: u32): usize {
  while (i > 0) {
    const parent = (i - 1) >>> 1;
    if (!before(due, sequence, entry(parent))) break;
    memory.copy(entry(i), entry(parent), EVENT_STRIDE);
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
      if (before(load<u64>(right + DUE), load<u32>(right + SEQUENCE), entry(child))) child++;
    }
    if (before(due, sequence, entry(child))) break;
    memory.copy(entry(i), entry(child), EVENT_STRIDE);
    i = child;
  }
  return entry(i);
}

function before(due: u64, sequence: u32, other: usize): bool {
  const otherDue = load<u64>(other + DUE);
  return due < otherDue || (due == otherDue && <i32>(sequence - load<u32>(other + SEQUENCE)) < 0);
}

function entry(i: u32): usize {
  return <usize>AT_EVENTS + i * EVENT_STRIDE;
}
