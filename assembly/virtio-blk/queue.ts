// Virtqueues ([1] 2.7, 2.8; references in state.ts): what the driver made available, and what the device used. Used
// buffers are gathered, and written with one interrupt for all that end at the same moment.
import { schedule } from '../bus/clock';
import { DMA_OK } from '../bus/codes';
import { dmaFetch, dmaStore } from '../bus/dma';
import { readPackedChain, readSplitChain } from './chain';
import {
  AVAIL_F_NO_INTERRUPT,
  DESC_BYTES,
  DESC_F_AVAIL,
  DESC_F_USED,
  DESC_F_WRITE,
  DESC_LENGTH,
  EVENT_DESC,
  EVENT_DISABLE,
  EVENT_FLAGS,
  EVENT_WRAP,
  PACKED_FLAGS,
  RING_ENTRIES,
  RING_INDEX,
} from './regs';
import { startRequest } from './request';
import {
  descScratch,
  EVENT_USED,
  HEADS,
  hasEvents,
  headScratch,
  interruptQueue,
  isPacked,
  isRunning,
  needReset,
  Queue,
  queueAt,
  Slot,
  smallScratch,
  takeSlot,
  usedAt,
  VirtioBlk,
} from './state';

const USED_ELEMENT: u32 = 8;

/** The doorbell: takes what is available, as far as there are slots. */
export function runQueue(d: VirtioBlk, q: Queue): void {
  if (q.enabled == 0 || !isRunning(d)) return;
  q.stalled = 0;
  const good = isPacked(d) ? runPacked(d, q) : runSplit(d, q);
  if (!good) needReset(d);
}

function runSplit(d: VirtioBlk, q: Queue): bool {
  const small = smallScratch(d);
  if (dmaFetch(d, q.driver + RING_INDEX, small, 2) != DMA_OK) return false;
  let left = (<u32>load<u16>(small) - q.next) & 0xffff;
  if (left > q.size) return false;
  const heads = headScratch(d);
  while (left > 0 && d.freeSlot != 0) {
    const at = q.next & (q.size - 1);
    const n = min(min(left, q.size - at), HEADS);
    if (dmaFetch(d, q.driver + RING_ENTRIES + 2 * at, heads, 2 * n) != DMA_OK) return false;
    for (let i: u32 = 0; i < n && d.freeSlot != 0; i++) {
      const head: u32 = load<u16>(heads + 2 * i);
      const s = takeSlot(d, q, head);
      q.next = (q.next + 1) & 0xffff;
      left--;
      if (!readSplitChain(d, q, s, head)) return false;
      startRequest(d, s);
      if (!isRunning(d)) return true;
    }
  }
  if (left > 0) q.stalled = 1;
  if (!hasEvents(d)) return true;
  store<u16>(small, <u16>q.next);
  return dmaStore(d, q.device + RING_ENTRIES + USED_ELEMENT * q.size, small, 2) == DMA_OK;
}

/** At most as many chains as there are descriptors: a driver has no more. */
function runPacked(d: VirtioBlk, q: Queue): bool {
  const entry = descScratch(d);
  for (let n: u32 = 0; n < q.size; n++) {
    if (dmaFetch(d, q.desc + q.next * DESC_BYTES, entry, DESC_BYTES) != DMA_OK) return false;
    if (!isAvailable(q, load<u16>(entry, PACKED_FLAGS))) break;
    if (d.freeSlot == 0) {
      q.stalled = 1;
      break;
    }
    const s = takeSlot(d, q, 0);
    if (!readPackedChain(d, q, s)) return false;
    q.next += s.descriptors;
    if (q.next >= q.size) {
      q.next -= q.size;
      q.nextWrap ^= 1;
    }
    startRequest(d, s);
    if (!isRunning(d)) return true;
  }
  if (!hasEvents(d)) return true;
  const small = smallScratch(d);
  store<u16>(small, <u16>(q.next | (q.nextWrap != 0 ? EVENT_WRAP : 0)));
  store<u16>(small, EVENT_DESC, EVENT_FLAGS);
  return dmaStore(d, q.device, small, 4) == DMA_OK;
}

/** [1] 2.8.1: the available bit is the wrap counter, the used bit is not. */
function isAvailable(q: Queue, flags: u32): bool {
  const available = (flags & DESC_F_AVAIL) != 0;
  return available == (q.nextWrap != 0) && available != ((flags & DESC_F_USED) != 0);
}

/** A request is over; `bytes` bytes were written to it, from its first writable byte on. */
export function useBuffer(d: VirtioBlk, q: Queue, s: Slot, bytes: u32): void {
  if (q.pending == d.queueMax) flushUsed(d, q);
  const at = usedAt(q, q.pending++);
  store<u32>(at, s.head | (s.descriptors << 16));
  store<u32>(at, bytes, 4);
  if (q.due != 0) return;
  q.due = 1;
  if (!schedule(d, EVENT_USED, q.index, 0)) flushUsed(d, q);
}

/** EVENT_USED: everything that was due at this moment has ended. */
export function usedDue(d: VirtioBlk, q: Queue): void {
  flushUsed(d, q);
  for (let i: u32 = 0; i < d.queueCount; i++) {
    const other = queueAt(d, i);
    if (other.stalled != 0) runQueue(d, other);
  }
}

function flushUsed(d: VirtioBlk, q: Queue): void {
  const n = q.pending;
  q.pending = 0;
  q.due = 0;
  if (n == 0 || !isRunning(d)) return;
  const good = isPacked(d) ? writePacked(d, q, n) : writeSplit(d, q, n);
  if (!good) needReset(d);
}

function writeSplit(d: VirtioBlk, q: Queue, n: u32): bool {
  const before = q.used;
  let done: u32 = 0;
  while (done < n) {
    const at = (before + done) & (q.size - 1);
    const part = min(n - done, q.size - at);
    if (
      dmaStore(d, q.device + RING_ENTRIES + USED_ELEMENT * at, usedAt(q, done), USED_ELEMENT * part) != DMA_OK
    )
      return false;
    done += part;
  }
  q.used = (before + n) & 0xffff;
  const small = smallScratch(d);
  store<u16>(small, <u16>q.used);
  if (dmaStore(d, q.device + RING_INDEX, small, 2) != DMA_OK) return false;
  const events = hasEvents(d);
  const wish = events ? q.driver + RING_ENTRIES + 2 * q.size : q.driver;
  if (dmaFetch(d, wish, small, 2) != DMA_OK) return false;
  const word: u32 = load<u16>(small);
  if (events ? isPassed(word, q.used, before) : (word & AVAIL_F_NO_INTERRUPT) == 0) interruptQueue(d, q);
  return true;
}

function writePacked(d: VirtioBlk, q: Queue, n: u32): bool {
  const small = smallScratch(d);
  let before = q.used;
  for (let i: u32 = 0; i < n; i++) {
    const id = load<u32>(usedAt(q, i));
    const bytes = load<u32>(usedAt(q, i), 4);
    const flags: u32 = (q.usedWrap != 0 ? DESC_F_AVAIL | DESC_F_USED : 0) | (bytes != 0 ? DESC_F_WRITE : 0);
    store<u32>(small, bytes);
    store<u32>(small, (id & 0xffff) | (flags << 16), 4);
    if (dmaStore(d, q.desc + q.used * DESC_BYTES + DESC_LENGTH, small, 8) != DMA_OK) return false;
    q.used += id >>> 16;
    if (q.used >= q.size) {
      q.used -= q.size;
      q.usedWrap ^= 1;
      before -= q.size;
    }
  }
  if (dmaFetch(d, q.driver, small, 4) != DMA_OK) return false;
  const flags: u32 = load<u16>(small, EVENT_FLAGS);
  if (flags == EVENT_DISABLE) return true;
  if (flags == EVENT_DESC && hasEvents(d)) {
    const word: u32 = load<u16>(small);
    let at = word & ~EVENT_WRAP;
    if (((word & EVENT_WRAP) != 0) != (q.usedWrap != 0)) at -= q.size;
    if (!isPassed(at, q.used, before)) return true;
  }
  interruptQueue(d, q);
  return true;
}

/** [1] 2.7.10: an index moved from `before` to `now`; did it pass `event`? */
function isPassed(event: u32, now: u32, before: u32): bool {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}
