// Media: where a disk's sectors are. A controller begins a request, is told by EVENT_MEDIA_DATA when the
// medium can move data (its virtual time is fixed here, at submission), walks its scatter list through the
// mover, and finishes the request, after an error too: what was moved before it still has to reach the
// medium. If the medium is still busy then, EVENT_MEDIA_DONE follows, at the same virtual time and before
// everything else that is due. It finishes from its events, not from a register access: a medium that answers
// at once and one that answers later then look the same to the guest.
//
// A snapshot holds the requests and their events as they are; what it cannot hold is the host's half of those
// whose `held` is set. Whoever restores one has the host begin again: for every request with `held` set,
// mediaStart() with the handle that it has now, and where its state is STATE_STORE the bytes that were
// gathered (the host saves them with the snapshot) and mediaFinish(). The virtual times are fixed already,
// so the answer may come whenever it does. Answers from before the restore must not reach the module.
import { reserve, reserveTracked } from '../bus/arena';
import { cancel, schedule, scheduleNext } from '../bus/clock';
import { EVENT_MEDIA_DATA, EVENT_MEDIA_DONE } from '../bus/codes';
import { Device } from '../bus/device';
import { markDirty } from '../bus/dirty';
import {
  AT_DISK_COUNT,
  AT_DISKS,
  AT_FAULT_COUNT,
  AT_FAULTS,
  AT_HOST_PENDING,
  AT_PARKED_COUNT,
  AT_REQUEST_FREE,
  AT_REQUEST_USED,
  AT_REQUESTS,
  DISK_MAX,
  FAULT_STRIDE,
  REQUEST_BITS,
  REQUEST_MAX,
  REQUEST_STRIDE,
} from '../bus/layout';
import { copyRuns, trimRuns } from '../bus/runs';
import { trace } from '../bus/trace';
import { TRACE_MEDIA } from '../bus/trace-codes';
import { mediaDrop, mediaFinish, mediaStart, mediaTransfer } from '../host';
import {
  DISK_HOST,
  DISK_RAM,
  DISK_TEXT_BYTES,
  FAULT_AT_ARGUMENT,
  FAULT_AT_DISK,
  FAULT_AT_FIRST,
  FAULT_AT_KIND,
  FAULT_AT_LAST,
  FAULT_AT_MATCHED,
  FAULT_AT_OPERATIONS,
  FAULT_AT_SKIP,
  FAULT_AT_STRUCK,
  FAULT_AT_TIMES,
  FAULT_DELAY,
  FAULT_ERROR,
  FAULT_TORN,
  MEDIA_DISCARD,
  MEDIA_ERROR,
  MEDIA_FLUSH,
  MEDIA_GONE,
  MEDIA_NO_SPACE,
  MEDIA_OK,
  MEDIA_PENDING,
  MEDIA_RANGE,
  MEDIA_READ,
  MEDIA_READ_ONLY,
  MEDIA_VERIFY,
  MEDIA_WRITE,
  MEDIA_ZERO,
  PARKED_END,
} from './codes';
import { park, parksAtEnd } from './park';

@unmanaged
export class Disk {
  kind: u32;
  /** 1 and up, in the order of creation. */
  id: u32;
  /** Sectors of `1 << sectorShift` bytes. */
  sectors: u64;
  sectorShift: u32;
  /** DISK_RAM: offset of the first byte. */
  data: u32;
  readOnly: u32;
  /** Non-zero: writes may be lost until a flush, and the disk says that it has a volatile cache. */
  writeCache: u32;
  /** Virtual time: every request takes `latency` ns and `picosecondsPerByte` ps for each byte. */
  latency: u64;
  picosecondsPerByte: u32;
  reads: u32;
  writes: u32;
  flushes: u32;
  errors: u32;
  /** DISK_RAM: bytes that there is memory for. */
  room: u32;
  /** POLICY_* of reads, and of what changes the medium or flushes it. */
  readPolicy: u32;
  writePolicy: u32;

  // A drive whose medium comes and goes (drive.ts).
  /**
   * An optical drive: offset of its buffer, else 0. The medium's fields above are those of what is in it; without one
   * it has no sectors.
   */
  optical: u32;
  loaded: u32;
  open: u32;
  /** Non-zero: software prevents the medium's removal. */
  locked: u32;
  /** SETTLING_*: what software has not heard of the medium that came. */
  settling: u32;
  /** Media event that software has not fetched yet, as GET EVENT STATUS NOTIFICATION codes it. */
  event: u32;
}

/** One request to a medium. `tag` is the controller's own; `errorSector` says where an error struck. */
@unmanaged
export class Request {
  nextFree: u32;
  disk: u32;
  device: u32;
  tag: u32;
  sector: u64;
  errorSector: u64;
  /** The byte at which moving data ends, at most the request's length, and what the status is from there on. */
  limit: u64;
  limitStatus: u8;
  operation: u8;
  status: u8;
  /** STATE_* of what the request is doing. */
  state: u8;
  sectors: u32;
  /** Offset of the fault that strikes this request, 0: none. */
  fault: u32;
  /** Non-zero while the host knows the request. */
  held: u32;
  /** How often the request was given away, in REQUEST_BITS less than 32: an answer to an older one is void. */
  generation: u32;
  /** PARKED_* while its state is STATE_PARKED; nextFree then says when it was parked, in order (park.ts). */
  parked: u32;
}

export const STATE_FREE: u8 = 0;
/** Nothing is missing. */
export const STATE_READY: u8 = 1;
/** EVENT_MEDIA_DATA is in the queue, and the host still fetches. */
const STATE_FETCH: u8 = 2;
/** EVENT_MEDIA_DONE is in the queue, and the host still stores. */
const STATE_STORE: u8 = 3;
/** No event is in the queue: the request goes on when the host says so. */
export const STATE_PARKED: u8 = 4;

/** A disk of `sectors` sectors; in RAM if `kind` is DISK_RAM, else in the host's hands. 0 when refused. */
export function createDisk(kind: u32, sectors: u64, sectorShift: u32): u32 {
  const count = load<u32>(AT_DISK_COUNT);
  if (count == DISK_MAX || sectors == 0 || sectorShift < 9 || sectorShift > 12) return 0;
  let data: u32 = 0;
  if (kind == DISK_RAM) {
    if (sectors > <u64>(u32.MAX_VALUE >>> sectorShift)) return 0;
    data = reserveTracked((<u32>sectors) << sectorShift, 4096);
    if (data == 0) return 0;
  }
  const offset = enterDisk(kind, sectorShift);
  if (offset == 0) return 0;
  const disk = changetype<Disk>(<usize>offset);
  disk.sectors = sectors;
  disk.data = data;
  if (kind == DISK_RAM) disk.room = (<u32>sectors) << sectorShift;
  disk.writeCache = 1;
  return offset;
}

/** Enters a disk without sectors; 0 when the table or the memory is full. */
export function enterDisk(kind: u32, sectorShift: u32): u32 {
  const count = load<u32>(AT_DISK_COUNT);
  if (count == DISK_MAX) return 0;
  const offset = reserve(offsetof<Disk>() + DISK_TEXT_BYTES, 16);
  if (offset == 0) return 0;
  const disk = changetype<Disk>(<usize>offset);
  disk.kind = kind;
  disk.id = count + 1;
  disk.sectorShift = sectorShift;
  store<u32>(AT_DISKS + (count << 2), offset);
  store<u32>(AT_DISK_COUNT, count + 1);
  return offset;
}

/**
 * Gives the disk another size; the controllers are told by the caller. A RAM disk that outgrows its memory moves. What
 * it did not have before is zeroes; requests under way have their bytes still, as far as the disk does. False: there is
 * no memory.
 */
export function resizeDisk(disk: Disk, sectors: u64): bool {
  if (sectors == 0) return false;
  if (disk.kind == DISK_RAM) {
    if (sectors > <u64>(u32.MAX_VALUE >>> disk.sectorShift)) return false;
    const bytes = (<u32>sectors) << disk.sectorShift;
    if (bytes > disk.room) {
      const data = reserveTracked(bytes, 4096);
      if (data == 0) return false;
      markDirty(data, bytes);
      memory.copy(data, disk.data, disk.room);
      disk.data = data;
      disk.room = bytes;
    }
    const before = (<u32>disk.sectors) << disk.sectorShift;
    if (bytes > before) {
      markDirty(<usize>disk.data + before, bytes - before);
      memory.fill(<usize>disk.data + before, 0, bytes - before);
    }
  }
  const shrinks = sectors < disk.sectors;
  disk.sectors = sectors;
  if (shrinks) cutRequests(disk);
  return true;
}

/** The disk is shorter: what is under way ends there, but for what is moved already. */
function cutRequests(disk: Disk): void {
  const end: usize = load<u32>(AT_REQUEST_USED);
  for (let at: usize = AT_REQUESTS; at < end; at += REQUEST_STRIDE) {
    const r = changetype<Request>(at);
    if (r.state == STATE_FREE || diskOf(r) != disk || r.operation == MEDIA_FLUSH || isInRange(r, disk))
      continue;
    if (r.state == STATE_STORE || (r.state == STATE_PARKED && r.parked == <u32>PARKED_END)) continue;
    const good = r.sector < disk.sectors ? (disk.sectors - r.sector) << disk.sectorShift : 0;
    if (r.operation != MEDIA_READ && r.operation != MEDIA_WRITE) {
      forgetHost(r);
      failAt(r, disk, MEDIA_RANGE, good);
    } else if (good < r.limit) {
      r.limit = good;
      r.limitStatus = <u8>MEDIA_RANGE;
    }
  }
}

/**
 * What the host calls the disk: a text of the place DISK_SERIAL, DISK_MODEL or DISK_FIRMWARE; its first byte 0:
 * nothing.
 */
export function diskText(disk: Disk, place: u32): usize {
  return changetype<usize>(disk) + offsetof<Disk>() + place;
}

/** Puts such a text into a field of `bytes` blanks; false where the host said nothing. */
export function putDiskText(disk: Disk, place: u32, most: u32, to: usize, bytes: u32): bool {
  const from = diskText(disk, place);
  if (load<u8>(from) == 0) return false;
  memory.fill(to, 0x20, bytes);
  for (let i: u32 = 0; i < min(bytes, most) && load<u8>(from + i) != 0; i++)
    store<u8>(to + i, load<u8>(from + i));
  return true;
}

/**
 * Begins a request; EVENT_MEDIA_DATA with the request's offset as tag comes to `d` at its time. Null when too
 * many are in flight (REQUEST_MAX): the caller reports busy or waits.
 */
export function beginRequest(
  d: Device,
  disk: Disk,
  operation: u32,
  sector: u64,
  sectors: u32,
  tag: u32,
): Request | null {
  const offset = load<u32>(AT_REQUEST_FREE);
  if (offset == 0) return null;
  const r = changetype<Request>(<usize>offset);
  store<u32>(AT_REQUEST_FREE, r.nextFree);
  if (offset >= load<u32>(AT_REQUEST_USED)) store<u32>(AT_REQUEST_USED, offset + REQUEST_STRIDE);
  r.disk = changetype<usize>(disk);
  r.device = changetype<usize>(d);
  r.tag = tag;
  r.operation = <u8>operation;
  r.sector = sector;
  r.sectors = sectors;
  r.held = 0;
  countOperation(disk, operation);
  trace(TRACE_MEDIA, d.id, operation, <u32>sector, <u32>(sector >> 32), sectors);
  startRequest(r);
  return r;
}

/** What becomes of the request is decided, and its time: when it begins, and when it is tried again (park.ts). */
export function startRequest(r: Request): void {
  const disk = diskOf(r);
  r.errorSector = r.sector;
  r.state = STATE_READY;
  r.limit = bytesOf(r, disk);
  r.limitStatus = <u8>MEDIA_OK;
  r.status = <u8>refusal(r, disk);
  r.fault = load<u32>(AT_FAULT_COUNT) == 0 || r.status != MEDIA_OK ? 0 : strike(r, disk);
  if (r.fault != 0) applyFault(r, disk);
  if (disk.kind == DISK_HOST && r.status == MEDIA_OK && r.operation != MEDIA_VERIFY) {
    r.held = 1;
    const handle = handleOf(r);
    const low = <u32>r.sector;
    const high = <u32>(r.sector >> 32);
    if (mediaStart(disk.id, handle, r.operation, low, high, r.sectors) != 0) waitForHost(r, STATE_FETCH);
  }
  const offset = <u32>changetype<usize>(r);
  schedule(changetype<Device>(<usize>r.device), EVENT_MEDIA_DATA, offset, duration(r, disk));
}

/**
 * Finishes a request whose data was moved, or failed to. MEDIA_PENDING: EVENT_MEDIA_DONE comes, and
 * Request.status says then how it ended; else endRequest() is due.
 */
export function finishRequest(r: Request): u32 {
  const disk = diskOf(r);
  if (r.held != 0) {
    if (!finishHeld(r)) {
      scheduleNext(changetype<Device>(<usize>r.device), EVENT_MEDIA_DONE, changetype<usize>(r));
      return MEDIA_PENDING;
    }
    if (parksAtEnd(r)) {
      park(r, PARKED_END);
      return MEDIA_PENDING;
    }
    r.held = 0;
  } else if (
    disk.kind == DISK_RAM &&
    r.status == MEDIA_OK &&
    (r.operation == MEDIA_DISCARD || r.operation == MEDIA_ZERO)
  ) {
    const at: usize = disk.data + ((<usize>r.sector) << disk.sectorShift);
    const bytes = <u32>bytesOf(r, disk);
    if (bytes > 0) markDirty(at, bytes);
    memory.fill(at, 0, bytes);
  }
  return r.status;
}

/**
 * Has the host end a request that it knows; false: it needs time for that, and the event is the caller's to schedule.
 */
export function finishHeld(r: Request): bool {
  const disk = diskOf(r);
  const status = mediaFinish(disk.id, handleOf(r));
  if (status == MEDIA_PENDING) {
    waitForHost(r, STATE_STORE);
    return false;
  }
  if (status != MEDIA_OK && r.status == MEDIA_OK) failAt(r, disk, status, 0);
  return true;
}

/** Gives the request back, once the controller has looked at its status. */
export function endRequest(r: Request): void {
  assert(r.state == STATE_READY);
  const disk = diskOf(r);
  if (r.status != MEDIA_OK) disk.errors++;
  if (r.held != 0) mediaDrop(disk.id, handleOf(r));
  release(r);
}

/** Gives up a request at any moment: no event comes any more, and the host forgets it. */
export function dropRequest(r: Request): void {
  assert(r.state != STATE_FREE);
  const offset = <u32>changetype<usize>(r);
  const d = changetype<Device>(<usize>r.device);
  cancel(d, EVENT_MEDIA_DATA, offset);
  cancel(d, EVENT_MEDIA_DONE, offset);
  if (waitsForHost(r)) store<u32>(AT_HOST_PENDING, load<u32>(AT_HOST_PENDING) - 1);
  if (r.state == STATE_PARKED) store<u32>(AT_PARKED_COUNT, load<u32>(AT_PARKED_COUNT) - 1);
  forgetHost(r);
  release(r);
}

/** The host forgets the request, if it knows it. */
export function forgetHost(r: Request): void {
  if (r.held != 0) mediaDrop(diskOf(r).id, handleOf(r));
  r.held = 0;
}

/** The host has done what the request waits for. Void for a request that was given up. */
export function hostReady(handle: u32): void {
  const r = byHandle(handle);
  if (!waitsForHost(r) || handleOf(r) != handle) return;
  // One that failed and will be tried again stays the host's.
  if (r.state == STATE_STORE && !parksAtEnd(r)) r.held = 0;
  r.state = STATE_READY;
  store<u32>(AT_HOST_PENDING, load<u32>(AT_HOST_PENDING) - 1);
}

/** The medium failed at byte `failedAt` of the request with `status`. What cannot be read shows when moved. */
export function hostFail(handle: u32, status: u32, failedAt: u64): void {
  const r = byHandle(handle);
  if (r.state == STATE_FREE || handleOf(r) != handle) return;
  if (r.operation != MEDIA_READ || r.state != STATE_FETCH) {
    failAt(r, diskOf(r), status, failedAt);
  } else if (failedAt < r.limit) {
    r.limit = failedAt;
    r.limitStatus = <u8>failure(status);
  }
}

/** Whether the event at the head of the queue has to wait for the host. */
export function waitsForHost(r: Request): bool {
  return r.state == STATE_FETCH || r.state == STATE_STORE;
}

/**
 * Moves `bytes` bytes from byte `offset` of the request on between the medium and the run list. The mover
 * calls it. Returns the request's status: bytes before the place of an error are moved, none after it.
 */
export function requestTransfer(r: Request, offset: u64, bytes: u32, runs: u32, toMemory: bool): u32 {
  if (r.status != MEDIA_OK) return r.status;
  const disk = diskOf(r);
  assert(offset + bytes <= bytesOf(r, disk));
  const good: u32 = offset >= r.limit ? 0 : <u32>min(<u64>bytes, r.limit - offset);
  if (disk.kind == DISK_RAM) {
    const at = disk.data + ((<usize>r.sector) << disk.sectorShift) + <usize>offset;
    if (!toMemory && good > 0) markDirty(at, good);
    copyRuns(at, runs, good, toMemory);
  } else if (good > 0) {
    const moved = mediaTransfer(
      disk.id,
      handleOf(r),
      <u32>offset,
      <u32>(offset >> 32),
      good,
      good < bytes ? trimRuns(good, runs) : runs,
      toMemory ? 1 : 0,
    );
    if (moved < good && r.status == MEDIA_OK) failAt(r, disk, MEDIA_ERROR, offset + moved);
  }
  return good < bytes ? reachLimit(r) : r.status;
}

/** Moving data has come to the request's end before its time: an error, or where a write is torn nothing. */
export function reachLimit(r: Request): u32 {
  if (r.limitStatus != MEDIA_OK) failAt(r, diskOf(r), r.limitStatus, r.limit);
  return r.status;
}

/**
 * The byte from which on the medium has nothing to give, so that a controller never puts it into memory: by the fault
 * plan, or because the disk ends there. Other failures show when the data is asked for.
 */
export function readableEnd(r: Request): u64 {
  const planned = r.fault != 0 && load<u32>(r.fault, FAULT_AT_KIND) == FAULT_ERROR;
  const ends = planned || r.limitStatus == MEDIA_RANGE;
  return ends && r.operation == MEDIA_READ ? r.limit : u64.MAX_VALUE;
}

export function diskOf(r: Request): Disk {
  return changetype<Disk>(<usize>r.disk);
}

export function requestBytes(r: Request): u64 {
  return bytesOf(r, diskOf(r));
}

/** Bytes of data; what a flush does has none. */
function bytesOf(r: Request, disk: Disk): u64 {
  return (<u64>r.sectors) << disk.sectorShift;
}

/** What the host calls the request. */
function handleOf(r: Request): u32 {
  const index = (<u32>changetype<usize>(r) - AT_REQUESTS) / REQUEST_STRIDE;
  return (r.generation << REQUEST_BITS) | index;
}

function byHandle(handle: u32): Request {
  return changetype<Request>(<usize>(AT_REQUESTS + (handle & (REQUEST_MAX - 1)) * REQUEST_STRIDE));
}

function release(r: Request): void {
  r.state = STATE_FREE;
  r.generation = (r.generation + 1) & (u32.MAX_VALUE >>> REQUEST_BITS);
  r.nextFree = load<u32>(AT_REQUEST_FREE);
  store<u32>(AT_REQUEST_FREE, <u32>changetype<usize>(r));
}

/** Why the disk refuses the request, MEDIA_OK if it does not. */
function refusal(r: Request, disk: Disk): u32 {
  const writes = r.operation == MEDIA_WRITE || r.operation == MEDIA_DISCARD || r.operation == MEDIA_ZERO;
  if (writes && disk.readOnly != 0) return MEDIA_READ_ONLY;
  if (r.operation == MEDIA_FLUSH) return MEDIA_OK;
  if (disk.optical != 0 && disk.loaded == 0) return MEDIA_GONE;
  return isInRange(r, disk) ? MEDIA_OK : MEDIA_RANGE;
}

function isInRange(r: Request, disk: Disk): bool {
  return r.sector <= disk.sectors && disk.sectors - r.sector >= r.sectors;
}

function applyFault(r: Request, disk: Disk): void {
  const kind = load<u32>(r.fault, FAULT_AT_KIND);
  const moves = r.operation == MEDIA_READ || r.operation == MEDIA_WRITE;
  if (kind == FAULT_TORN) {
    if (r.operation == MEDIA_WRITE) r.limit = min(r.limit, load<u64>(r.fault, FAULT_AT_ARGUMENT));
  } else if (kind == FAULT_ERROR) {
    const first = load<u64>(r.fault, FAULT_AT_FIRST);
    const at = r.operation == MEDIA_FLUSH || first < r.sector ? 0 : (first - r.sector) << disk.sectorShift;
    if (moves) {
      r.limit = at;
      r.limitStatus = <u8>MEDIA_ERROR;
    } else {
      failAt(r, disk, MEDIA_ERROR, at);
    }
  }
}

/**
 * The first entry of the fault plan that strikes now, of errors the one that the request meets first; every entry that
 * matches counts the request.
 */
function strike(r: Request, disk: Disk): u32 {
  let found: u32 = 0;
  const last = r.sector + (r.sectors == 0 ? 0 : r.sectors - 1);
  const end: usize = AT_FAULTS + load<u32>(AT_FAULT_COUNT) * FAULT_STRIDE;
  for (let at: usize = AT_FAULTS; at < end; at += FAULT_STRIDE) {
    if (load<u32>(at, FAULT_AT_DISK) != disk.id) continue;
    if ((load<u32>(at, FAULT_AT_OPERATIONS) & (1 << r.operation)) == 0) continue;
    const everywhere = r.operation == MEDIA_FLUSH;
    if (!everywhere && (r.sector > load<u64>(at, FAULT_AT_LAST) || last < load<u64>(at, FAULT_AT_FIRST)))
      continue;
    const matched = load<u32>(at, FAULT_AT_MATCHED);
    store<u32>(at, matched + 1, FAULT_AT_MATCHED);
    const times = load<u32>(at, FAULT_AT_TIMES);
    if (matched < load<u32>(at, FAULT_AT_SKIP)) continue;
    if (times != 0 && load<u32>(at, FAULT_AT_STRUCK) >= times) continue;
    if (found == 0 || isErrorBefore(at, found)) found = <u32>at;
  }
  if (found != 0) store<u32>(found, load<u32>(found, FAULT_AT_STRUCK) + 1, FAULT_AT_STRUCK);
  return found;
}

function isErrorBefore(at: usize, other: usize): bool {
  if (load<u32>(at, FAULT_AT_KIND) != FAULT_ERROR || load<u32>(other, FAULT_AT_KIND) != FAULT_ERROR)
    return false;
  return load<u64>(at, FAULT_AT_FIRST) < load<u64>(other, FAULT_AT_FIRST);
}

function duration(r: Request, disk: Disk): u64 {
  const bytes: u64 = r.operation == MEDIA_READ || r.operation == MEDIA_WRITE ? bytesOf(r, disk) : 0;
  const delay: u64 =
    r.fault != 0 && load<u32>(r.fault, FAULT_AT_KIND) == FAULT_DELAY
      ? load<u64>(r.fault, FAULT_AT_ARGUMENT)
      : 0;
  return disk.latency + (bytes * disk.picosecondsPerByte) / 1000 + delay;
}

function countOperation(disk: Disk, operation: u32): void {
  if (operation == MEDIA_READ || operation == MEDIA_VERIFY) disk.reads++;
  else if (operation == MEDIA_FLUSH) disk.flushes++;
  else disk.writes++;
}

function waitForHost(r: Request, state: u8): void {
  r.state = state;
  store<u32>(AT_HOST_PENDING, load<u32>(AT_HOST_PENDING) + 1);
}

/** The request failed at byte `at`; of two failures the one at the lower sector counts. */
export function failAt(r: Request, disk: Disk, status: u32, at: u64): void {
  const index = min(at >> disk.sectorShift, r.sectors == 0 ? 0 : <u64>r.sectors - 1);
  if (r.status != MEDIA_OK && r.sector + index >= r.errorSector) return;
  r.status = <u8>failure(status);
  r.errorSector = r.sector + index;
}

/** A status that says that something failed, whatever the host returned. */
function failure(status: u32): u32 {
  switch (status) {
    case MEDIA_READ_ONLY:
    case MEDIA_NO_SPACE:
    case MEDIA_GONE:
    case MEDIA_RANGE:
      return status;
    default:
      return MEDIA_ERROR;
  }
}
