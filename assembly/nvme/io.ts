// The NVM command set ([1] 6; references in controller.ts), and what commands of both sets ask of the medium.
import { cancel, schedule } from '../bus/clock';
import { Device } from '../bus/device';
import { moveBuffer, moveEnd, moveInside, moveRequest } from '../bus/mover';
import {
  MEDIA_DISCARD,
  MEDIA_FLUSH,
  MEDIA_NO_SPACE,
  MEDIA_OK,
  MEDIA_PENDING,
  MEDIA_RANGE,
  MEDIA_READ,
  MEDIA_READ_ONLY,
  MEDIA_VERIFY,
  MEDIA_WRITE,
  MEDIA_ZERO,
} from '../media/codes';
import { beginRequest, dropRequest, endRequest, finishRequest, Request } from '../media/media';
import {
  blocksOf,
  Command,
  commandAt,
  diskAt,
  EVENT_RETRY,
  isActive,
  Namespace,
  NONE,
  Nvme,
  namespaceAt,
  PAGE,
  RANGE_BUFFERS,
} from './controller';
import { walkData } from './data';
import { feature } from './features';
import { formatNext } from './format';
import { complete } from './queue';
import {
  NVME_CAPACITY_EXCEEDED,
  NVME_COMPARE,
  NVME_COMPARE_FAILURE,
  NVME_DSM,
  NVME_DSM_DEALLOCATE,
  NVME_DSM_RANGE_BYTES,
  NVME_FEATURE_WRITE_CACHE,
  NVME_FLUSH,
  NVME_FORMAT_IN_PROGRESS,
  NVME_FUA,
  NVME_INVALID_FIELD,
  NVME_INVALID_NAMESPACE,
  NVME_INVALID_OPCODE,
  NVME_LBA_RANGE,
  NVME_NLB_MASK,
  NVME_PSDT_PRP,
  NVME_READ,
  NVME_READ_ERROR,
  NVME_SUCCESS,
  NVME_VERIFY,
  NVME_WRITE,
  NVME_WRITE_FAULT,
  NVME_WRITE_PROTECTED,
  NVME_WRITE_ZEROES,
} from './regs';

/** How long a command waits before it asks again for a media request, or for a buffer of ranges. */
const RETRY_NS: u64 = 10_000;
/** Sectors of one request that has no data. */
export const CHUNK_SECTORS: u32 = 0x10000000;

// Command.step of I/O commands.
const STEP_DATA: u8 = 0;
const STEP_FLUSH: u8 = 1;
const STEP_RANGES: u8 = 2;
const STEP_BUFFER: u8 = 3;

/** Starts a command that was fetched from an I/O queue. */
export function runIo(d: Nvme, c: Command, fused: bool): void {
  const status = check(d, c, fused);
  if (status != NVME_SUCCESS) return complete(d, c, status);
  const n = namespaceAt(d, c.nsid);
  c.lba = ((<u64>c.cdw11) << 32) | c.cdw10;
  switch (c.opcode) {
    case NVME_FLUSH:
      return begin(d, c, n, MEDIA_FLUSH, 0, 0);
    case NVME_READ:
    case NVME_COMPARE:
      return transfer(d, c, n, MEDIA_READ, true);
    case NVME_WRITE:
      return transfer(d, c, n, MEDIA_WRITE, true);
    case NVME_WRITE_ZEROES:
      return transfer(d, c, n, MEDIA_ZERO, false);
    case NVME_VERIFY:
      return transfer(d, c, n, MEDIA_VERIFY, false);
    default:
      return startRanges(d, c);
  }
}

function check(d: Nvme, c: Command, fused: bool): u32 {
  if (fused) return NVME_INVALID_FIELD;
  switch (c.opcode) {
    case NVME_FLUSH:
    case NVME_READ:
    case NVME_COMPARE:
    case NVME_WRITE:
    case NVME_WRITE_ZEROES:
    case NVME_VERIFY:
    case NVME_DSM:
      break;
    default:
      return NVME_INVALID_OPCODE;
  }
  if (c.psdt == 3 || (c.psdt != <u32>NVME_PSDT_PRP && d.sgl == 0)) return NVME_INVALID_FIELD;
  if (c.nsid - 1 >= d.namespaceCount) return NVME_INVALID_NAMESPACE;
  if (!isActive(d, c.nsid)) return NVME_INVALID_FIELD;
  return namespaceAt(d, c.nsid).formatting != 0 ? <u32>NVME_FORMAT_IN_PROGRESS : NVME_SUCCESS;
}

function transfer(d: Nvme, c: Command, n: Namespace, operation: u32, hasData: bool): void {
  const count = (c.cdw12 & NVME_NLB_MASK) + 1;
  const bytes = count << n.lbaShift;
  if (hasData && bytes > PAGE << d.mdts) return complete(d, c, NVME_INVALID_FIELD);
  const blocks = blocksOf(n);
  if (c.lba >= blocks || blocks - c.lba < count) return complete(d, c, NVME_LBA_RANGE);
  c.bytes = hasData ? bytes : 0;
  const shift = n.lbaShift - diskAt(n).sectorShift;
  begin(d, c, n, operation, c.lba << shift, count << shift);
}

/** Asks the medium; where no request is free, again later. */
export function begin(d: Nvme, c: Command, n: Namespace, operation: u32, sector: u64, sectors: u32): void {
  c.operation = operation;
  c.sector = sector;
  c.sectors = sectors;
  const r = beginRequest(
    changetype<Device>(changetype<usize>(d)),
    diskAt(n),
    operation,
    sector,
    sectors,
    c.index,
  );
  if (r === null) wait(d, c);
  else c.request = <u32>changetype<usize>(r);
}

function wait(d: Nvme, c: Command): void {
  c.next = d.waiting;
  d.waiting = c.index;
  if (d.retrying == 0 && schedule(d, EVENT_RETRY, 0, RETRY_NS)) d.retrying = 1;
}

/** EVENT_RETRY: every command that waits asks again. */
export function retry(d: Nvme): void {
  d.retrying = 0;
  let index = d.waiting;
  d.waiting = NONE;
  while (index != NONE) {
    const c = commandAt(d, index);
    index = c.next;
    c.next = NONE;
    if (c.step == STEP_BUFFER && c.sq != 0) startRanges(d, c);
    else begin(d, c, namespaceAt(d, c.sq == 0 ? c.at : c.nsid), c.operation, c.sector, c.sectors);
  }
}

/** EVENT_MEDIA_DATA. */
export function moveMedia(d: Nvme, r: Request): void {
  const c = commandAt(d, r.tag);
  d.command = (c.sq << 16) | c.cid;
  let status: u32 = NVME_SUCCESS;
  if (c.sq != 0 && c.step == STEP_DATA && c.bytes > 0)
    status = c.opcode == <u32>NVME_COMPARE ? compare(d, c, r) : move(d, c, r);
  if (status != NVME_SUCCESS) {
    // What did not come whole never reaches the medium.
    dropRequest(r);
    c.request = 0;
    complete(d, c, status);
    return;
  }
  const outcome = finishRequest(r);
  if (outcome != MEDIA_PENDING) endMedia(d, r, outcome);
}

function move(d: Nvme, c: Command, r: Request): u32 {
  const toMemory = c.opcode == <u32>NVME_READ;
  moveRequest(r, 0, toMemory);
  const status = walkData(d, c, c.bytes, c.bytes, toMemory);
  if (toMemory || status == NVME_SUCCESS) moveEnd();
  return status;
}

/** Both sides go into buffers. A medium error shows in the request. */
function compare(d: Nvme, c: Command, r: Request): u32 {
  const ours: usize = d.compare;
  const theirs: usize = ours + (PAGE << d.mdts);
  moveBuffer(theirs, false);
  const status = walkData(d, c, c.bytes, c.bytes, false);
  if (status != NVME_SUCCESS) return status;
  moveEnd();
  moveRequest(r, 0, true);
  moveInside(ours, c.bytes);
  if (moveEnd() != MEDIA_OK) return NVME_SUCCESS;
  return memory.compare(ours, theirs, c.bytes) == 0 ? NVME_SUCCESS : <u32>NVME_COMPARE_FAILURE;
}

/** A request is over, by EVENT_MEDIA_DONE or at once: the next one of its command, or the end. */
export function endMedia(d: Nvme, r: Request, outcome: u32): void {
  const c = commandAt(d, r.tag);
  const failed = r.errorSector;
  endRequest(r);
  c.request = 0;
  if (c.sq == 0) return formatNext(d, c, statusOf(c, outcome));
  const n = namespaceAt(d, c.nsid);
  if (outcome != MEDIA_OK) {
    c.lba = failed >> <u64>(n.lbaShift - diskAt(n).sectorShift);
    releaseRanges(d, c);
    d.mediaErrors++;
    return complete(d, c, statusOf(c, outcome));
  }
  if (c.step == STEP_RANGES) return nextRange(d, c, n);
  if (c.step == STEP_DATA) {
    count(d, c);
    if (writesThrough(d, c) && diskAt(n).writeCache != 0) {
      c.step = STEP_FLUSH;
      return begin(d, c, n, MEDIA_FLUSH, 0, 0);
    }
  }
  complete(d, c, NVME_SUCCESS);
}

function writesThrough(d: Nvme, c: Command): bool {
  if (c.opcode != <u32>NVME_WRITE && c.opcode != <u32>NVME_WRITE_ZEROES) return false;
  return (c.cdw12 & NVME_FUA) != 0 || feature(d, NVME_FEATURE_WRITE_CACHE) == 0;
}

function count(d: Nvme, c: Command): void {
  const units = c.bytes >>> 9;
  if (c.opcode == <u32>NVME_READ || c.opcode == <u32>NVME_COMPARE) {
    d.reads++;
    d.blocksRead += units;
  } else if (c.opcode == <u32>NVME_WRITE) {
    d.writes++;
    d.blocksWritten += units;
  }
}

function statusOf(c: Command, outcome: u32): u32 {
  if (outcome == MEDIA_OK) return NVME_SUCCESS;
  if (outcome == MEDIA_READ_ONLY) return NVME_WRITE_PROTECTED;
  if (outcome == MEDIA_NO_SPACE) return NVME_CAPACITY_EXCEEDED;
  if (outcome == MEDIA_RANGE) return NVME_LBA_RANGE;
  return c.operation == MEDIA_READ || c.operation == MEDIA_VERIFY ? NVME_READ_ERROR : <u32>NVME_WRITE_FAULT;
}

// Dataset Management ([1] 6.7): all ranges are fetched once, checked, and deallocated one by one.

function startRanges(d: Nvme, c: Command): void {
  const free = <u32>ctz(~d.rangesTaken);
  if (free >= RANGE_BUFFERS) {
    c.step = STEP_BUFFER;
    return wait(d, c);
  }
  const n = namespaceAt(d, c.nsid);
  const ranges = (c.cdw10 & 0xff) + 1;
  const bytes = ranges * NVME_DSM_RANGE_BYTES;
  const buffer: usize = d.ranges + free * PAGE;
  moveBuffer(buffer, false);
  const status = walkData(d, c, bytes, bytes, false);
  if (status != NVME_SUCCESS) return complete(d, c, status);
  moveEnd();
  const blocks = blocksOf(n);
  for (let i: u32 = 0; i < ranges; i++) {
    const range = buffer + i * NVME_DSM_RANGE_BYTES;
    const first = load<u64>(range, 8);
    if (first > blocks || blocks - first < load<u32>(range, 4)) return complete(d, c, NVME_LBA_RANGE);
  }
  // Without Deallocate the ranges are hints.
  if ((c.cdw11 & NVME_DSM_DEALLOCATE) == 0) return complete(d, c, NVME_SUCCESS);
  d.rangesTaken |= 1 << free;
  c.buffer = free;
  c.at = 0;
  c.step = STEP_RANGES;
  nextRange(d, c, n);
}

function nextRange(d: Nvme, c: Command, n: Namespace): void {
  const ranges = (c.cdw10 & 0xff) + 1;
  const shift = n.lbaShift - diskAt(n).sectorShift;
  for (; c.at < ranges; c.at++) {
    const range: usize = d.ranges + c.buffer * PAGE + c.at * NVME_DSM_RANGE_BYTES;
    const left = load<u32>(range, 4);
    if (left == 0) continue;
    const first = load<u64>(range, 8);
    const blocks = min(left, CHUNK_SECTORS >>> shift);
    // What is left of the range.
    store<u32>(range, left - blocks, 4);
    store<u64>(range, first + blocks, 8);
    return begin(d, c, n, MEDIA_DISCARD, first << shift, blocks << shift);
  }
  releaseRanges(d, c);
  complete(d, c, NVME_SUCCESS);
}

function releaseRanges(d: Nvme, c: Command): void {
  if (c.buffer == NONE) return;
  d.rangesTaken &= ~(1 << c.buffer);
  c.buffer = NONE;
}

/** Takes a command away from the medium: abort, deleted queue, reset. The caller completes or frees it. */
export function giveUp(d: Nvme, c: Command): void {
  if (c.request != 0) dropRequest(changetype<Request>(<usize>c.request));
  c.request = 0;
  releaseRanges(d, c);
  unwait(d, c);
}

function unwait(d: Nvme, c: Command): void {
  if (d.waiting == c.index) d.waiting = c.next;
  let index = d.waiting;
  while (index != NONE) {
    const other = commandAt(d, index);
    if (other.next == c.index) other.next = c.next;
    index = other.next;
  }
}

/** Nothing waits any more. */
export function stopRetrying(d: Nvme): void {
  if (d.retrying != 0) cancel(d, EVENT_RETRY, 0);
  d.retrying = 0;
  d.rangesTaken = 0;
}
