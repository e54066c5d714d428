// Queues: doorbells, arbitration and fetching ([1] 4.1, 4.13, 7.2), completions ([1] 4.6; references in controller.ts).
import { schedule } from '../bus/clock';
import { DMA_OK } from '../bus/codes';
import { dmaFetch, dmaStore } from '../bus/dma';
import { trace } from '../bus/trace';
import { TRACE_COMMAND, TRACE_COMPLETE } from '../bus/trace-codes';
import { runAdmin } from './admin';
import {
  bit,
  Command,
  Completions,
  commandAt,
  completionsAt,
  EVENT_WORK,
  freeCommand,
  NONE,
  Nvme,
  PAGE,
  Queue,
  queueAt,
  STATE_READY,
  STATE_STARTING,
  scratchOf,
  takeCommand,
} from './controller';
import { deliverEvents, doorbellError, logError } from './events';
import { feature } from './features';
import { taken } from './interrupt';
import { runIo } from './io';
import {
  NVME_CC_AMS,
  NVME_CQE_BYTES,
  NVME_CQE_PHASE,
  NVME_CQE_SHIFT,
  NVME_CQE_STATUS_SHIFT,
  NVME_CSTS_CFS,
  NVME_CSTS_SHST,
  NVME_CSTS_SHST_DONE,
  NVME_EVENT_DOORBELL_VALUE,
  NVME_EVENT_INVALID_DOORBELL,
  NVME_FEATURE_ARBITRATION,
  NVME_SQE_BYTES,
  NVME_SQE_CDW10,
  NVME_SQE_NSID,
  NVME_SQE_PRP1,
  NVME_SQE_PRP2,
  NVME_SQE_PSDT_SHIFT,
  NVME_SQE_SHIFT,
  NVME_STATUS_MASK,
  NVME_SUCCESS,
} from './regs';

/** Classes of weighted round robin ([1] 4.13.2). */
const URGENT: u32 = 0;
const HIGH: u32 = 1;
const MEDIUM: u32 = 2;
const LOW: u32 = 3;

/** A doorbell: tail of a submission queue or head of a completion queue ([1] 3.1.24, 3.1.25). */
export function doorbell(d: Nvme, number: u32, value: u32): void {
  if (d.state == STATE_STARTING) return doorbellError(d, NVME_EVENT_INVALID_DOORBELL);
  if (d.state != STATE_READY || (d.csts & NVME_CSTS_CFS) != 0) return;
  const id = number >>> 1;
  if (id > d.queueCount) return doorbellError(d, NVME_EVENT_INVALID_DOORBELL);
  if ((number & 1) != 0) return headDoorbell(d, id, value);
  const q = queueAt(d, id);
  if (q.exists == 0) return doorbellError(d, NVME_EVENT_INVALID_DOORBELL);
  if (value >= q.size) return doorbellError(d, NVME_EVENT_DOORBELL_VALUE);
  q.tail = value;
  if (q.head == value) d.work &= ~bit(id);
  else {
    d.work |= bit(id);
    wake(d);
  }
}

function headDoorbell(d: Nvme, id: u32, value: u32): void {
  const q = completionsAt(d, id);
  if (q.exists == 0) return doorbellError(d, NVME_EVENT_INVALID_DOORBELL);
  // The head never passes the tail.
  const behind = (q.tail + q.size - q.head) % q.size;
  if (value >= q.size || (value + q.size - q.head) % q.size > behind)
    return doorbellError(d, NVME_EVENT_DOORBELL_VALUE);
  q.head = value;
  taken(d, id);
  if ((d.full & bit(id)) != 0 || (id == 0 && d.eventCount != 0)) wake(d);
}

/** Has the controller look at its queues, from an event: a guest's register access ends before anything is done. */
export function wake(d: Nvme): void {
  if (d.working == 0 && schedule(d, EVENT_WORK, 0, 0)) d.working = 1;
}

/** EVENT_WORK: posts what found no room, fetches and starts what the queues hold. */
export function work(d: Nvme): void {
  d.working = 0;
  if (d.state != STATE_READY || (d.csts & NVME_CSTS_SHST) == NVME_CSTS_SHST_DONE) return;
  drain(d);
  deliverEvents(d);
  const weighted = (d.cc & NVME_CC_AMS) != 0;
  // Every turn fetches a command, and no queue grows meanwhile.
  while (isRunning(d) && (weighted ? weightedTurn(d) : turnOf(d, d.work))) {}
}

function isRunning(d: Nvme): bool {
  return d.state == STATE_READY && (d.csts & (NVME_CSTS_CFS | NVME_CSTS_SHST)) == 0;
}

/** Gives the next of `queues` that can go a burst of commands; false when none can. */
function turnOf(d: Nvme, queues: u64): bool {
  let left = queues;
  while (left != 0) {
    const next = <u64>d.turn + 1;
    const later = next == 64 ? 0 : left & (u64.MAX_VALUE << next);
    const id = <u32>ctz(later != 0 ? later : left);
    left &= ~bit(id);
    if (!canFetch(d, id)) continue;
    d.turn = id;
    fetchBurst(d, id, burst(d));
    return true;
  }
  return false;
}

/** [1] 4.13.2: admin before urgent before the weighted classes. */
function weightedTurn(d: Nvme): bool {
  if ((d.work & 1) != 0 && turnOf(d, 1)) return true;
  if (turnOf(d, classOf(d, URGENT))) return true;
  for (let refilled = 0; refilled < 2; refilled++) {
    if (d.creditHigh > 0 && turnOf(d, classOf(d, HIGH))) {
      d.creditHigh--;
      return true;
    }
    if (d.creditMedium > 0 && turnOf(d, classOf(d, MEDIUM))) {
      d.creditMedium--;
      return true;
    }
    if (d.creditLow > 0 && turnOf(d, classOf(d, LOW))) {
      d.creditLow--;
      return true;
    }
    const setting = feature(d, NVME_FEATURE_ARBITRATION);
    d.creditHigh = (setting >>> 24) + 1;
    d.creditMedium = ((setting >>> 16) & 0xff) + 1;
    d.creditLow = ((setting >>> 8) & 0xff) + 1;
  }
  return false;
}

function classOf(d: Nvme, priority: u32): u64 {
  let found: u64 = 0;
  let left = d.work & ~1;
  while (left != 0) {
    const id = <u32>ctz(left);
    left &= left - 1;
    if (queueAt(d, id).priority == priority) found |= bit(id);
  }
  return found;
}

/** Arbitration burst, 2^AB; 7: no limit ([1] 5.21.1.1). */
function burst(d: Nvme): u32 {
  const ab = feature(d, NVME_FEATURE_ARBITRATION) & 7;
  return ab == 7 ? 0x10000 : (<u32>1) << ab;
}

/** A queue whose completion queue overflows waits, and so does one that finds no slot. */
function canFetch(d: Nvme, id: u32): bool {
  const q = queueAt(d, id);
  if (q.exists == 0 || q.head == q.tail || (d.full & bit(q.cq)) != 0) return false;
  return (id == 0 ? d.freeAdmin : d.freeIo) != NONE;
}

function fetchBurst(d: Nvme, id: u32, most: u32): void {
  const q = queueAt(d, id);
  for (let n: u32 = 0; n < most && isRunning(d) && canFetch(d, id); n++) {
    const c = takeCommand(d, id == 0);
    if (c === null) return;
    fetch(d, q, id, c);
  }
  if (q.head == q.tail) d.work &= ~bit(id);
}

/** Fetches one entry, once, and starts it. Memory that is not there is fatal ([1] 3.1.6, CFS). */
function fetch(d: Nvme, q: Queue, id: u32, c: Command): void {
  const entry = scratchOf(d);
  const at = q.base + ((<u64>q.head) << NVME_SQE_SHIFT);
  q.head = q.head + 1 == q.size ? 0 : q.head + 1;
  if (dmaFetch(d, at, entry, NVME_SQE_BYTES) != DMA_OK) {
    freeCommand(d, c);
    d.csts |= NVME_CSTS_CFS;
    return;
  }
  const first = load<u32>(entry);
  c.sq = id;
  c.cid = first >>> 16;
  c.opcode = first & 0xff;
  c.psdt = <u8>((first >>> (8 + NVME_SQE_PSDT_SHIFT)) & 3);
  c.nsid = load<u32>(entry, NVME_SQE_NSID);
  c.prp1 = load<u64>(entry, NVME_SQE_PRP1);
  c.prp2 = load<u64>(entry, NVME_SQE_PRP2);
  store<u64>(changetype<usize>(c) + offsetof<Command>('cdw10'), load<u64>(entry, NVME_SQE_CDW10));
  store<u64>(changetype<usize>(c) + offsetof<Command>('cdw12'), load<u64>(entry, 48));
  store<u64>(changetype<usize>(c) + offsetof<Command>('cdw14'), load<u64>(entry, 56));
  c.status = NVME_SUCCESS;
  c.result = 0;
  c.request = 0;
  c.step = 0;
  c.bytes = 0;
  c.buffer = NONE;
  d.commands++;
  d.command = (id << 16) | c.cid;
  trace(TRACE_COMMAND, d.id, d.command, c.opcode, c.cdw10, c.cdw12 & 0xffff);
  // Fused commands, and reserved bits beside them ([1] 4.2).
  const fused = (first >>> 8) & 0x3f;
  if (id == 0) runAdmin(d, c, fused != 0);
  else runIo(d, c, fused != 0);
}

/** Ends a command: `status` and whether it says Do Not Retry. Its slot is free when the entry is posted. */
export function complete(d: Nvme, c: Command, status: u32): void {
  c.status = status;
  if (status != NVME_SUCCESS) c.status |= logError(d, c, status & NVME_STATUS_MASK);
  const id = queueAt(d, c.sq).cq;
  const q = completionsAt(d, id);
  if ((d.full & bit(id)) == 0 && hasRoom(q)) {
    post(d, q, id, c);
    return;
  }
  c.next = NONE;
  c.busy = 2;
  if ((d.full & bit(id)) == 0) q.first = c.index;
  else commandAt(d, q.last).next = c.index;
  q.last = c.index;
  d.full |= bit(id);
}

export function hasRoom(q: Completions): bool {
  const next = q.tail + 1 == q.size ? 0 : q.tail + 1;
  return next != q.head;
}

function post(d: Nvme, q: Completions, id: u32, c: Command): void {
  d.completions++;
  trace(TRACE_COMPLETE, d.id, (c.sq << 16) | c.cid, c.status & NVME_STATUS_MASK, 0, 0);
  postEntry(d, q, id, c.result, c.sq, c.cid, c.status);
  freeCommand(d, c);
  // A queue may have waited for the slot.
  if (d.work != 0) wake(d);
}

/** Writes an entry to the tail; the caller knows that there is room. */
export function postEntry(
  d: Nvme,
  q: Completions,
  id: u32,
  result: u32,
  sq: u32,
  cid: u32,
  status: u32,
): void {
  const entry = scratchOf(d);
  store<u32>(entry, result);
  store<u32>(entry, 0, 4);
  store<u32>(entry, queueAt(d, sq).head | (sq << 16), 8);
  const phase: u32 = q.phase != 0 ? NVME_CQE_PHASE : 0;
  store<u32>(entry, cid | phase | (status << NVME_CQE_STATUS_SHIFT), 12);
  if (dmaStore(d, q.base + ((<u64>q.tail) << NVME_CQE_SHIFT), entry, NVME_CQE_BYTES) != DMA_OK)
    d.csts |= NVME_CSTS_CFS;
  q.tail++;
  if (q.tail == q.size) {
    q.tail = 0;
    q.phase ^= 1;
  }
  d.dirty |= bit(id);
}

/** Posts what waits for room, in order. */
function drain(d: Nvme): void {
  let left = d.full;
  while (left != 0) {
    const id = <u32>ctz(left);
    left &= left - 1;
    const q = completionsAt(d, id);
    while (q.first != NONE && hasRoom(q)) {
      const c = commandAt(d, q.first);
      q.first = c.next;
      post(d, q, id, c);
    }
    if (q.first == NONE) d.full &= ~bit(id);
  }
}

/** Makes a submission queue. */
export function openQueue(d: Nvme, id: u32, base: u64, size: u32, cq: u32, priority: u32): void {
  const q = queueAt(d, id);
  q.exists = 1;
  q.base = base & ~(<u64>PAGE - 1);
  q.size = size;
  q.head = 0;
  q.tail = 0;
  q.cq = cq;
  q.priority = priority;
  completionsAt(d, cq).users++;
}

/** Makes a completion queue. */
export function openCompletions(d: Nvme, id: u32, base: u64, size: u32, vector: u32, interrupts: bool): void {
  const q = completionsAt(d, id);
  q.exists = 1;
  q.base = base & ~(<u64>PAGE - 1);
  q.size = size;
  q.head = 0;
  q.tail = 0;
  q.phase = 1;
  q.vector = vector;
  q.interrupts = interrupts ? 1 : 0;
  q.users = 0;
  q.first = NONE;
  q.last = NONE;
}
