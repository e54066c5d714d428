// Asynchronous events ([1] 5.2) and the error log behind them ([1] 5.14.1.1; references in controller.ts).
import { Command, completionsAt, ERROR_ENTRIES, EVENTS_MAX, freeCommand, Nvme } from './controller';
import { feature } from './features';
import { complete, hasRoom, postEntry, wake } from './queue';
import {
  NVME_ABORT_REQUESTED,
  NVME_ADMIN_FORMAT,
  NVME_AER_LIMIT,
  NVME_EVENT_ERROR,
  NVME_EVENT_FIRMWARE,
  NVME_EVENT_NOTICE,
  NVME_EVENT_SMART,
  NVME_FEATURE_EVENTS,
  NVME_FORMAT_IN_PROGRESS,
  NVME_INTERNAL,
  NVME_LOG_CHANGED_NAMESPACES,
  NVME_LOG_ERROR,
  NVME_LOG_FIRMWARE,
  NVME_LOG_SMART,
  NVME_SEQUENCE,
  NVME_STATUS_DNR,
  NVME_STATUS_MORE,
} from './regs';

const ENTRY_BYTES: u32 = 64;

/** Asynchronous Event Request: waits for an event, outside of the slots. */
export function requestEvent(d: Nvme, c: Command): void {
  if (d.eventCount == EVENTS_MAX) return complete(d, c, NVME_AER_LIMIT);
  const shift = <u64>(d.eventCount << 4);
  d.eventIds |= (<u64>c.cid) << shift;
  d.eventCount++;
  freeCommand(d, c);
  deliverEvents(d);
}

/** Something happened: reported once a request is there, once until the log was read. */
export function raiseEvent(d: Nvme, type: u32, info: u32): void {
  if (type == <u32>NVME_EVENT_ERROR) d.eventPending0 |= 1 << info;
  else if (type == <u32>NVME_EVENT_SMART) d.eventPending1 |= 1 << info;
  else if ((feature(d, NVME_FEATURE_EVENTS) & (0x100 << info)) != 0) d.eventPending2 |= 1 << info;
  wake(d);
}

/** Completes requests with what is pending, as far as there are requests and room. */
export function deliverEvents(d: Nvme): void {
  while (d.eventCount > 0 && hasRoom(completionsAt(d, 0)) && (d.full & 1) == 0) {
    const type = nextType(d);
    if (type > <u32>NVME_EVENT_NOTICE) return;
    const pending = pendingOf(d, type);
    const info = <u32>ctz(pending);
    setPending(d, type, pending & (pending - 1));
    d.eventMasked |= 1 << type;
    const cid = <u32>d.eventIds & 0xffff;
    d.eventIds >>= 16;
    d.eventCount--;
    d.completions++;
    postEntry(d, completionsAt(d, 0), 0, type | (info << 8) | (logOf(type, info) << 16), 0, cid, 0);
  }
}

function nextType(d: Nvme): u32 {
  for (let type: u32 = 0; type <= <u32>NVME_EVENT_NOTICE; type++) {
    if ((d.eventMasked & (1 << type)) == 0 && pendingOf(d, type) != 0) return type;
  }
  return 8;
}

function pendingOf(d: Nvme, type: u32): u32 {
  if (type == <u32>NVME_EVENT_ERROR) return d.eventPending0;
  return type == <u32>NVME_EVENT_SMART ? d.eventPending1 : d.eventPending2;
}

function setPending(d: Nvme, type: u32, bits: u32): void {
  if (type == <u32>NVME_EVENT_ERROR) d.eventPending0 = bits;
  else if (type == <u32>NVME_EVENT_SMART) d.eventPending1 = bits;
  else d.eventPending2 = bits;
}

function logOf(type: u32, info: u32): u32 {
  if (type == <u32>NVME_EVENT_ERROR) return NVME_LOG_ERROR;
  if (type == <u32>NVME_EVENT_SMART) return NVME_LOG_SMART;
  return info == <u32>NVME_EVENT_FIRMWARE ? NVME_LOG_FIRMWARE : NVME_LOG_CHANGED_NAMESPACES;
}

/** A log was read without Retain Asynchronous Event: its type may be reported again. */
export function clearEvent(d: Nvme, log: u32): void {
  if (log == <u32>NVME_LOG_ERROR) d.eventMasked &= ~(1 << NVME_EVENT_ERROR);
  else if (log == <u32>NVME_LOG_SMART) d.eventMasked &= ~(1 << NVME_EVENT_SMART);
  else if (log == <u32>NVME_LOG_CHANGED_NAMESPACES || log == <u32>NVME_LOG_FIRMWARE) {
    if (log == <u32>NVME_LOG_CHANGED_NAMESPACES) d.changed = 0;
    d.eventMasked &= ~(1 << NVME_EVENT_NOTICE);
  } else return;
  deliverEvents(d);
}

/** Takes back the request with this id; false when there is none. */
export function abortEvent(d: Nvme, cid: u32): bool {
  for (let i: u32 = 0; i < d.eventCount; i++) {
    const shift = <u64>(i << 4);
    if ((<u32>(d.eventIds >> shift) & 0xffff) != cid) continue;
    const below = d.eventIds & (((<u64>1) << shift) - 1);
    const above = i == 3 ? 0 : (d.eventIds >> (shift + 16)) << shift;
    d.eventIds = above | below;
    d.eventCount--;
    return true;
  }
  return false;
}

/** Writes a failed command into the error log; the bits that its status gets besides. */
export function logError(d: Nvme, c: Command, status: u32): u32 {
  // What may go well another time, and what the host itself asked for.
  const busy = status == <u32>NVME_SEQUENCE && c.sq == 0 && c.opcode == <u32>NVME_ADMIN_FORMAT;
  const later = status == <u32>NVME_INTERNAL || status == <u32>NVME_FORMAT_IN_PROGRESS || busy;
  const again: u32 = later ? 0 : NVME_STATUS_DNR;
  if (status == <u32>NVME_ABORT_REQUESTED || status == <u32>NVME_ABORT_REQUESTED + 1) return 0;
  const at = newEntry(d, c.sq, c.cid, status | NVME_STATUS_MORE | again);
  store<u64>(at, c.sq == 0 ? 0 : c.lba, 16);
  store<u32>(at, c.nsid, 24);
  return NVME_STATUS_MORE | again;
}

function newEntry(d: Nvme, sq: u32, cid: u32, status: u32): usize {
  const at: usize = d.errors + <u32>(d.errorCount % <u64>ERROR_ENTRIES) * ENTRY_BYTES;
  d.errorCount++;
  memory.fill(at, 0, ENTRY_BYTES);
  store<u64>(at, d.errorCount);
  store<u16>(at, <u16>sq, 8);
  store<u16>(at, <u16>cid, 10);
  store<u16>(at, <u16>(status << 1), 12);
  store<u16>(at, 0xffff, 14);
  return at;
}

/** A doorbell that is not there, or a value that it does not take: of no command ([1] 5.14.1.1). */
export function doorbellError(d: Nvme, info: u32): void {
  newEntry(d, 0xffff, 0xffff, 0);
  raiseEvent(d, NVME_EVENT_ERROR, info);
}

/** The queues, and with them every request and event, are gone. */
export function forgetEvents(d: Nvme): void {
  d.eventCount = 0;
  d.eventIds = 0;
  d.eventPending0 = 0;
  d.eventPending1 = 0;
  d.eventPending2 = 0;
  d.eventMasked = 0;
}
