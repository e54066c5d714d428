// Requests that are parked: they wait without an event until the host has them go on. Either the medium failed and the
// disk's policy is that the host hears of it instead of the guest (which stops the machine, mends the medium and has
// the request tried again), or the fault plan holds them. To the guest both are a medium that takes long: a reset ends
// the wait, and a snapshot holds them like any other request.
import { schedule } from '../bus/clock';
import { EVENT_MEDIA_DATA, EVENT_MEDIA_DONE } from '../bus/codes';
import { Device } from '../bus/device';
import {
  AT_FAULT_COUNT,
  AT_FAULTS,
  AT_PARKED_COUNT,
  AT_PARKED_SEQUENCE,
  AT_REQUEST_USED,
  AT_REQUESTS,
  FAULT_STRIDE,
  REQUEST_STRIDE,
} from '../bus/layout';
import {
  FAULT_AT_ARGUMENT,
  FAULT_AT_DISK,
  FAULT_AT_KIND,
  FAULT_AT_OPERATIONS,
  FAULT_HOLD,
  MEDIA_ERROR,
  MEDIA_NO_SPACE,
  MEDIA_OK,
  MEDIA_READ,
  MEDIA_VERIFY,
  NOTICE_PARKED,
  PARKED_DATA,
  PARKED_END,
  PARKED_HOLD,
  POLICY_NO_SPACE,
  POLICY_STOP,
} from './codes';
import {
  diskOf,
  finishHeld,
  forgetHost,
  Request,
  requestBytes,
  STATE_PARKED,
  STATE_READY,
  startRequest,
} from './media';
import { notice } from './notice';

/** Parks a request whose event is at the head of the queue, if it has to wait: PARKED_* or 0. */
export function parkDue(r: Request, code: u32): u32 {
  // Most requests are good, and every one comes here.
  if (r.fault == 0 && r.status == MEDIA_OK && r.limitStatus == MEDIA_OK) return 0;
  let why: u32 = 0;
  if (code == <u32>EVENT_MEDIA_DONE) why = parksAtEnd(r) ? PARKED_END : 0;
  else if (isHeldBack(r)) why = PARKED_HOLD;
  else why = stopsFor(r, dataStatus(r)) ? PARKED_DATA : 0;
  if (why != 0) park(r, why);
  return why;
}

/** Whether a request that the host could not end is to be tried again. */
export function parksAtEnd(r: Request): bool {
  return r.held != 0 && stopsFor(r, r.status);
}

export function park(r: Request, why: u32): void {
  r.state = STATE_PARKED;
  r.parked = why;
  const sequence = load<u32>(AT_PARKED_SEQUENCE) + 1;
  store<u32>(AT_PARKED_SEQUENCE, sequence);
  r.nextFree = sequence;
  store<u32>(AT_PARKED_COUNT, load<u32>(AT_PARKED_COUNT) + 1);
  if (why == <u32>PARKED_HOLD) return;
  notice(NOTICE_PARKED, diskOf(r).id, r.operation, why == <u32>PARKED_DATA ? dataStatus(r) : <u32>r.status);
}

/** Has everything go on that was parked for an error, in the order in which it was; on all disks. */
export function retryParked(): void {
  // What fails again is parked anew, behind this.
  const last = load<u32>(AT_PARKED_SEQUENCE);
  let r = firstParked(last, 0, 0);
  while (r !== null) {
    unpark(r);
    r = firstParked(last, 0, 0);
  }
}

/** Has everything go on that the fault plan holds under the number `tag` for the disk, and holds no more for it. */
export function releaseHeld(disk: u32, tag: u64): void {
  const end: usize = AT_FAULTS + load<u32>(AT_FAULT_COUNT) * FAULT_STRIDE;
  for (let at: usize = AT_FAULTS; at < end; at += FAULT_STRIDE) {
    const holds = load<u32>(at, FAULT_AT_KIND) == FAULT_HOLD && load<u32>(at, FAULT_AT_DISK) == disk;
    if (holds && load<u64>(at, FAULT_AT_ARGUMENT) == tag) store<u32>(at, 0, FAULT_AT_OPERATIONS);
  }
  const last = load<u32>(AT_PARKED_SEQUENCE);
  let r = firstParked(last, disk, tag);
  while (r !== null) {
    unpark(r);
    r = firstParked(last, disk, tag);
  }
}

/** The oldest request up to number `last` that is parked for an error, or for `disk` held under `tag`. */
function firstParked(last: u32, disk: u32, tag: u64): Request | null {
  if (load<u32>(AT_PARKED_COUNT) == 0) return null;
  let found: Request | null = null;
  let age: u32 = 0;
  const end: usize = load<u32>(AT_REQUEST_USED);
  for (let at: usize = AT_REQUESTS; at < end; at += REQUEST_STRIDE) {
    const r = changetype<Request>(at);
    if (r.state != STATE_PARKED || (r.parked == <u32>PARKED_HOLD) != (disk != 0)) continue;
    if (disk != 0 && (diskOf(r).id != disk || load<u64>(r.fault, FAULT_AT_ARGUMENT) != tag)) continue;
    // How long ago, so that the count may go round.
    const old = last - r.nextFree;
    if (<i32>old < 0 || (found !== null && old <= age)) continue;
    found = r;
    age = old;
  }
  return found;
}

function unpark(r: Request): void {
  const why = r.parked;
  store<u32>(AT_PARKED_COUNT, load<u32>(AT_PARKED_COUNT) - 1);
  r.state = STATE_READY;
  r.parked = 0;
  const d = changetype<Device>(<usize>r.device);
  if (why == <u32>PARKED_HOLD) {
    r.fault = 0;
    schedule(d, EVENT_MEDIA_DATA, <u32>changetype<usize>(r), 0);
  } else if (why == <u32>PARKED_DATA) {
    forgetHost(r);
    startRequest(r);
  } else {
    r.status = <u8>MEDIA_OK;
    const ended = finishHeld(r);
    if (ended && parksAtEnd(r)) return park(r, PARKED_END);
    if (ended) r.held = 0;
    schedule(d, EVENT_MEDIA_DONE, <u32>changetype<usize>(r), 0);
  }
}

function isHeldBack(r: Request): bool {
  return r.fault != 0 && load<u32>(r.fault, FAULT_AT_KIND) == FAULT_HOLD;
}

/** How the request will end as far as is known before its data moves. */
function dataStatus(r: Request): u32 {
  if (r.status != MEDIA_OK) return r.status;
  return r.limit < requestBytes(r) ? r.limitStatus : MEDIA_OK;
}

/** Whether a failure is the host's to see. A read-only disk, or a medium that is gone, is the guest's. */
function stopsFor(r: Request, status: u32): bool {
  if (status != MEDIA_ERROR && status != MEDIA_NO_SPACE) return false;
  const disk = diskOf(r);
  const reads = r.operation == MEDIA_READ || r.operation == MEDIA_VERIFY;
  const policy = reads ? disk.readPolicy : disk.writePolicy;
  return policy == POLICY_STOP || (policy == POLICY_NO_SPACE && status == MEDIA_NO_SPACE);
}
