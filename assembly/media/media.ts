// Media: where a disk's sectors are. A controller begins a request, is told by EVENT_MEDIA_DATA when the
// medium can move data (its virtual time is fixed here, at submission), walks its scatter list through the
// mover, and finishes the request; if the medium is still busy then, EVENT_MEDIA_DONE follows.
import { reserve } from '../bus/arena';
import { cancel, schedule } from '../bus/clock';
import { EVENT_MEDIA_DATA, EVENT_MEDIA_DONE } from '../bus/codes';
import { Device } from '../bus/device';
import {
  AT_DISK_COUNT,
  AT_DISKS,
  AT_FAULT_COUNT,
  AT_FAULTS,
  AT_HOST_PENDING,
  AT_REQUEST_FREE,
  AT_RUNS,
  DISK_MAX,
  FAULT_STRIDE,
  RUN_STRIDE,
} from '../bus/layout';
import { trace } from '../bus/trace';
import { TRACE_MEDIA } from '../bus/trace-codes';
import { mediaDrop, mediaFinish, mediaStart, mediaTransfer } from '../host';
import {
  DISK_HOST,
  DISK_RAM,
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
  MEDIA_OK,
  MEDIA_PENDING,
  MEDIA_READ,
  MEDIA_READ_ONLY,
  MEDIA_VERIFY,
  MEDIA_WRITE,
  MEDIA_ZERO,
} from './codes';

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
  reserved: u32;
}

/** One request to a medium. `tag` is the controller's own; `errorSector` says where an error struck. */
@unmanaged
export class Request {
  nextFree: u32;
  disk: u32;
  device: u32;
  tag: u32;
  operation: u32;
  status: u32;
  sector: u64;
  errorSector: u64;
  sectors: u32;
  /** REQUEST_* of what the request is doing. */
  state: u32;
  /** Offset of the fault that strikes this request, 0: none. */
  fault: u32;
  reserved: u32;
}

const STATE_FREE: u32 = 0;
/** Its event is in the queue, and nothing is missing. */
const STATE_READY: u32 = 1;
/** Its event is in the queue, and the host has not answered yet. */
const STATE_HOST: u32 = 2;

/** A disk of `sectors` sectors; in RAM if `kind` is DISK_RAM, else in the host's hands. 0 when refused. */
export function createDisk(kind: u32, sectors: u64, sectorShift: u32): u32 {
  const count = load<u32>(AT_DISK_COUNT);
  if (count == DISK_MAX || sectors == 0 || sectorShift < 9 || sectorShift > 12) return 0;
  let data: u32 = 0;
  if (kind == DISK_RAM) {
    if (sectors > <u64>(u32.MAX_VALUE >>> sectorShift)) return 0;
    data = reserve((<u32>sectors) << sectorShift, 4096);
    if (data == 0) return 0;
  }
  const offset = reserve(offsetof<Disk>(), 16);
  if (offset == 0) return 0;
  const disk = changetype<Disk>(<usize>offset);
  disk.kind = kind;
  disk.id = count + 1;
  disk.sectors = sectors;
  disk.sectorShift = sectorShift;
  disk.data = data;
  disk.writeCache = 1;
  store<u32>(AT_DISKS + (count << 2), offset);
  store<u32>(AT_DISK_COUNT, count + 1);
  return offset;
}

/** Disk `id` (1 and up), null when there is none. */
export function diskById(id: u32): Disk | null {
  if (id == 0 || id > load<u32>(AT_DISK_COUNT)) return null;
  return changetype<Disk>(<usize>load<u32>(AT_DISKS + ((id - 1) << 2)));
}

/**
 * Begins a request; EVENT_MEDIA_DATA with the request's offset as tag comes to `d` at its time. The caller
 * has checked the range. Null when too many are in flight (REQUEST_MAX): the caller reports busy or waits.
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
  r.disk = changetype<usize>(disk);
  r.device = changetype<usize>(d);
  r.tag = tag;
  r.operation = operation;
  r.status = MEDIA_OK;
  r.sector = sector;
  r.sectors = sectors;
  r.errorSector = sector;
  r.fault = load<u32>(AT_FAULT_COUNT) == 0 ? 0 : strike(disk, operation, sector, sectors);
  r.state = STATE_READY;
  countOperation(disk, operation);
  trace(TRACE_MEDIA, d.id, operation, <u32>sector, <u32>(sector >> 32), sectors);
  checkRequest(r, disk);
  if (disk.kind == DISK_HOST && r.status == MEDIA_OK) {
    if (mediaStart(disk.id, offset, operation, <u32>sector, <u32>(sector >> 32), sectors) != 0)
      waitForHost(r);
  }
  schedule(d, EVENT_MEDIA_DATA, offset, duration(r, disk));
  return r;
}

/** Finishes a request whose data was moved. MEDIA_PENDING: EVENT_MEDIA_DONE comes; else endRequest() is due. */
export function finishRequest(r: Request): u32 {
  const disk = diskOf(r);
  if (r.status != MEDIA_OK) return fail(r, disk);
  if (disk.kind == DISK_HOST) {
    const status = mediaFinish(disk.id, changetype<usize>(r));
    if (status == MEDIA_PENDING) {
      waitForHost(r);
      schedule(changetype<Device>(<usize>r.device), EVENT_MEDIA_DONE, changetype<usize>(r), 0);
      return MEDIA_PENDING;
    }
    r.status = status;
  } else if (r.operation == MEDIA_DISCARD || r.operation == MEDIA_ZERO) {
    const at: usize = disk.data + ((<usize>r.sector) << disk.sectorShift);
    memory.fill(at, 0, r.sectors << disk.sectorShift);
  }
  return r.status == MEDIA_OK ? MEDIA_OK : fail(r, disk);
}

/** Gives the request back, once the controller has looked at its status. */
export function endRequest(r: Request): void {
  r.state = STATE_FREE;
  r.nextFree = load<u32>(AT_REQUEST_FREE);
  store<u32>(AT_REQUEST_FREE, <u32>changetype<usize>(r));
}

/** Gives up a request at any moment: no event comes any more, and the host forgets it. */
export function dropRequest(r: Request): void {
  const offset = <u32>changetype<usize>(r);
  const d = changetype<Device>(<usize>r.device);
  cancel(d, EVENT_MEDIA_DATA, offset);
  cancel(d, EVENT_MEDIA_DONE, offset);
  const disk = diskOf(r);
  if (r.state == STATE_HOST) store<u32>(AT_HOST_PENDING, load<u32>(AT_HOST_PENDING) - 1);
  if (disk.kind == DISK_HOST) mediaDrop(disk.id, offset);
  endRequest(r);
}

/** The host has what the request waits for; `failedAt` is the byte at which the medium failed, or all ones. */
export function hostReady(r: Request, failedAt: u64): void {
  if (r.state != STATE_HOST) return;
  r.state = STATE_READY;
  store<u32>(AT_HOST_PENDING, load<u32>(AT_HOST_PENDING) - 1);
  if (failedAt != u64.MAX_VALUE) failAt(r, diskOf(r), failedAt);
}

/** Whether the event at the head of the queue has to wait for the host. */
export function waitsForHost(r: Request): bool {
  return r.state == STATE_HOST;
}

/**
 * Moves `bytes` bytes from byte `offset` of the request on between the medium and the run list. The mover
 * calls it. Returns the request's status: bytes before the place of an error are moved.
 */
export function requestTransfer(r: Request, offset: u64, bytes: u32, runs: u32, toMemory: bool): u32 {
  const disk = diskOf(r);
  let good = bytes;
  const fault = r.fault;
  if (fault != 0) good = <u32>min(<u64>bytes, beforeFault(r, disk, fault, offset));
  if (r.status != MEDIA_OK && good == bytes) good = 0;
  let moved = good;
  if (disk.kind == DISK_RAM) {
    ramTransfer(disk.data + ((<usize>r.sector) << disk.sectorShift) + <usize>offset, runs, good, toMemory);
  } else if (good > 0) {
    if (good < bytes) trimRuns(good, runs);
    moved = mediaTransfer(
      disk.id,
      changetype<usize>(r),
      <u32>offset,
      <u32>(offset >> 32),
      good,
      runs,
      toMemory ? 1 : 0,
    );
  }
  if (moved < bytes && !(moved == good && fault != 0 && load<u32>(fault, FAULT_AT_KIND) == FAULT_TORN)) {
    failAt(r, disk, offset + moved);
  }
  return r.status;
}

export function diskOf(r: Request): Disk {
  return changetype<Disk>(<usize>r.disk);
}

function checkRequest(r: Request, disk: Disk): void {
  const writes = r.operation == MEDIA_WRITE || r.operation == MEDIA_DISCARD || r.operation == MEDIA_ZERO;
  if (writes && disk.readOnly != 0) r.status = MEDIA_READ_ONLY;
  else if (r.operation != MEDIA_FLUSH && (r.sector > disk.sectors || disk.sectors - r.sector < r.sectors)) {
    r.status = MEDIA_ERROR;
  } else if (r.fault != 0 && load<u32>(r.fault, FAULT_AT_KIND) == FAULT_ERROR) {
    const first = load<u64>(r.fault, FAULT_AT_FIRST);
    if (first > r.sector && r.operation != MEDIA_FLUSH) r.errorSector = first;
    if (r.operation != MEDIA_READ && r.operation != MEDIA_WRITE) r.status = MEDIA_ERROR;
  }
}

/** Bytes from `offset` on that are moved before the fault strikes. */
function beforeFault(r: Request, disk: Disk, fault: u32, offset: u64): u64 {
  const kind = load<u32>(fault, FAULT_AT_KIND);
  if (kind == FAULT_DELAY) return u64.MAX_VALUE;
  const limit =
    kind == FAULT_TORN ? load<u64>(fault, FAULT_AT_ARGUMENT) : (r.errorSector - r.sector) << disk.sectorShift;
  return offset < limit ? limit - offset : 0;
}

/** The first entry of the fault plan that strikes now; every entry that matches counts the request. */
function strike(disk: Disk, operation: u32, sector: u64, sectors: u32): u32 {
  let found: u32 = 0;
  const end: usize = AT_FAULTS + load<u32>(AT_FAULT_COUNT) * FAULT_STRIDE;
  for (let at: usize = AT_FAULTS; at < end; at += FAULT_STRIDE) {
    if (load<u32>(at, FAULT_AT_DISK) != disk.id) continue;
    if ((load<u32>(at, FAULT_AT_OPERATIONS) & (1 << operation)) == 0) continue;
    const last = sector + (sectors == 0 ? 0 : sectors - 1);
    const everywhere = operation == MEDIA_FLUSH;
    if (!everywhere && (sector > load<u64>(at, FAULT_AT_LAST) || last < load<u64>(at, FAULT_AT_FIRST)))
      continue;
    const matched = load<u32>(at, FAULT_AT_MATCHED);
    store<u32>(at, matched + 1, FAULT_AT_MATCHED);
    const times = load<u32>(at, FAULT_AT_TIMES);
    if (found != 0 || matched < load<u32>(at, FAULT_AT_SKIP)) continue;
    if (times != 0 && load<u32>(at, FAULT_AT_STRUCK) >= times) continue;
    store<u32>(at, load<u32>(at, FAULT_AT_STRUCK) + 1, FAULT_AT_STRUCK);
    found = <u32>at;
  }
  return found;
}

function duration(r: Request, disk: Disk): u64 {
  const bytes: u64 =
    r.operation == MEDIA_READ || r.operation == MEDIA_WRITE ? (<u64>r.sectors) << disk.sectorShift : 0;
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

function waitForHost(r: Request): void {
  r.state = STATE_HOST;
  store<u32>(AT_HOST_PENDING, load<u32>(AT_HOST_PENDING) + 1);
}

function failAt(r: Request, disk: Disk, byte: u64): void {
  if (r.status == MEDIA_OK) r.status = MEDIA_ERROR;
  r.errorSector = r.sector + (byte >> disk.sectorShift);
}

function fail(r: Request, disk: Disk): u32 {
  disk.errors++;
  return r.status;
}

/** Shortens the run list to `bytes` bytes, by filling what is over with empty runs. */
function trimRuns(bytes: u32, runs: u32): void {
  for (let i: u32 = 0; i < runs; i++) {
    const run: usize = AT_RUNS + i * RUN_STRIDE;
    const n = min(load<u32>(run, 4), bytes);
    store<u32>(run, n, 4);
    bytes -= n;
  }
}

function ramTransfer(at: usize, runs: u32, bytes: u32, toMemory: bool): void {
  for (
    let run: usize = AT_RUNS, end: usize = AT_RUNS + runs * RUN_STRIDE;
    run < end && bytes > 0;
    run += RUN_STRIDE
  ) {
    const memoryAt: usize = load<u32>(run);
    const n = min(load<u32>(run, 4), bytes);
    if (toMemory) memory.copy(memoryAt, at, n);
    else memory.copy(at, memoryAt, n);
    at += n;
    bytes -= n;
  }
}
